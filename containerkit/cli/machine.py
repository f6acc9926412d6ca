"""Verbs about the machine and the library: doctor, demo."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..doctor import doctor
from . import demo


def add_verbs(verbs: Any) -> None:
    """Adds the verbs to the command line."""
    verb = verbs.add_parser("doctor", help="what this machine allows, and why not")
    verb.add_argument("--json", action="store_true", help="for other programs")
    verb.set_defaults(verb=_doctor)
    verb = verbs.add_parser("demo", help="a container from nothing, step by step")
    verb.add_argument("--explain", action="store_true", help="print the reason for every step")
    verb.set_defaults(verb=lambda options: demo.demo(explain=options.explain))


def _doctor(options: argparse.Namespace) -> int:
    report = doctor()
    print(json.dumps(report.to_json(), indent=2) if options.json else report)
    return 0
