"""The verbs about the machine and the library: doctor, demo."""

from __future__ import annotations

import argparse

from ..diagnose.doctor import doctor
from .parser import Parser


def _declare_doctor(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(verb=_doctor)


def _declare_demo(parser: Parser) -> None:
    parser.add_argument("--explain", action="store_true", help="print the reason for every step")
    parser.set_defaults(verb=_demo)


def _demo(options: argparse.Namespace) -> int:
    from . import demo

    return demo.demo(explain=options.explain)


def _doctor(options: argparse.Namespace) -> int:
    report = doctor()
    print(report.to_json() if options.json else report)
    return 0


VERBS = {"doctor": _declare_doctor, "demo": _declare_demo}
