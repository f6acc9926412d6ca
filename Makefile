# Each target does its own set-up.  Try `make demo` first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INPUTS := pyproject.toml setup.py tools/syscall_numbers.py $(wildcard csrc/*.c csrc/*.h csrc/*.py)

PEERS := strace bubblewrap crun runc uidmap util-linux iproute2 nftables procps skopeo umoci
IMAGE_PEERS := docker-registry podman buildah docker.io nodejs mmdebstrap zstd isal
CROSS := qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
GUESTS := qemu-system-x86 busybox-static kmod
USER_FOR_TESTS := ckuser

# The tests run as root if possible: a test that must not be root drops it by itself.
AS_ROOT := $(shell [[ $$(id -u) == 0 ]] || ! sudo -n true 2>/dev/null || echo sudo -n env PYTHONDONTWRITEBYTECODE=1)
PYTEST_ARGS ?=

WARNINGS := -std=gnu11 -O2 -Wall -Wextra -Werror
FREESTANDING := -static -nostdlib -ffreestanding -fno-stack-protector -fno-pic -no-pie -Wl,--build-id=none -Wl,-z,noexecstack -s
ARM := build/aarch64
ARM_CC := aarch64-linux-gnu-gcc

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z0-9]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 10

.PHONY: venv
venv: $(STAMP) ## make the virtual environment and compile the extension

$(STAMP): $(INPUTS)
	tools/venv $@ $^

.PHONY: demo
demo: $(STAMP) ## show a container from nothing, step by step
	$(BIN)/containerkit demo

.PHONY: testenv
testenv: $(STAMP)
	tools/need --optional $(PEERS) $(CROSS)
	tools/need --optional $(IMAGE_PEERS)
	tools/need --optional $(GUESTS)
	tools/ordinary-user $(USER_FOR_TESTS)
	mkdir -p build

.PHONY: test
test: testenv ## run all tests, as root where possible
	$(AS_ROOT) $(BIN)/python -m pytest -p no:cacheprovider --junitxml=build/junit.xml $(PYTEST_ARGS)

.PHONY: guest
guest: testenv ## run the tests that need other kernels, in virtual machines
	$(AS_ROOT) $(BIN)/python -m pytest -p no:cacheprovider $(PYTEST_ARGS) tests/vm

FUZZ_SECONDS ?= 60

.PHONY: fuzz
fuzz: $(STAMP) ## fuzz the parsers of foreign bytes: FUZZ_SECONDS for each
	tools/fuzz $(FUZZ_SECONDS)

.PHONY: lint
lint: style types warnings ## check style, types and compiler warnings

.PHONY: style
style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/sentences.py

.PHONY: types
types: $(STAMP)
	$(BIN)/mypy --strict containerkit

.PHONY: warnings
warnings: $(STAMP)
	for source in csrc/*.c; do $(CC) $(WARNINGS) -fsyntax-only -Icsrc -Ibuild $$source; done

.PHONY: docs
docs: $(STAMP) ## build the book, running every script in it
	tools/need --optional $(GUESTS)
	tools/need --optional docker-registry nodejs
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs build/docs
	@echo "open build/docs/index.html"

.PHONY: bench
bench: $(STAMP) ## run the benchmarks: tables and plots of the costs
	tools/need --optional $(PEERS) $(IMAGE_PEERS)
	$(BIN)/python -m benchmarks

.PHONY: aarch64
aarch64: $(STAMP) ## compile the C parts for aarch64 and run them under qemu
	tools/need $(CROSS)
	CC=$(ARM_CC) $(BIN)/python tools/syscall_numbers.py $(ARM)/ck_numbers.h
	$(ARM_CC) $(WARNINGS) $(FREESTANDING) -Icsrc -o $(ARM)/ck-helper csrc/helper.c
	$(ARM_CC) $(WARNINGS) -static -Icsrc -I$(ARM) -o $(ARM)/test_spawn csrc/test_spawn.c csrc/spawn.c
	qemu-aarch64 $(ARM)/test_spawn

.PHONY: clean
clean: ## remove everything that make has made
	rm -rf build $(VENV) containerkit/libexec containerkit/_spawn*.so *.egg-info docs/scripts/*.out docs/scripts/*.svg
	find . -name __pycache__ -prune -exec rm -rf {} +
