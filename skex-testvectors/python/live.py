"""Both protocols, live over UDP, between this implementation and the program `skex`.

    python3 live.py [--skex PROGRAM] [name of a test ...]

The program is looked for in the target directory of the repository, release before debug. Everything is on the
loopback interface and in a temporary directory. The exit status is 0 if all went well.
"""
from __future__ import annotations

import argparse
import os
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from live_runs.crashes import Crashes
from live_runs.dske import Dske
from live_runs.operators import Operators
from live_runs.process import Live
from live_runs.unmediated import Unmediated

ROOT = Path(__file__).resolve().parents[2]
AT_A_TIME = 6
# In this order: the longest first.
ALL = (Crashes, Operators, Dske, Unmediated)


def find_skex() -> str:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for profile in ("release", "debug"):
        program = target / profile / "skex"
        if program.exists():
            return str(program)
    sys.exit(f"there is no program skex in {target}: cargo build --release --bin skex")


def run(tests: unittest.TestSuite) -> bool:
    """All tests, some at a time: most of their time is waiting."""

    def run_one(test: unittest.TestCase) -> tuple[unittest.TestCase, unittest.TestResult, float]:
        result, start = unittest.TestResult(), time.monotonic()
        test.run(result)
        return test, result, time.monotonic() - start

    cases = [test for group in tests for test in flatten(group)]
    good, start = bool(cases), time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for test, result, seconds in pool.map(run_one, cases):
            print(f"{'ok' if result.wasSuccessful() else 'FAILED':<8}{seconds:5.1f} s  {test.id().split('.', 2)[-1]}", flush=True)
            for _, trace in [*result.errors, *result.failures]:
                print(trace)
            good = good and result.wasSuccessful()
    print(f"{len(cases)} live tests in {time.monotonic() - start:.0f} s: {'all good' if good else 'NOT GOOD'}")
    return good


def flatten(test: unittest.TestSuite | unittest.TestCase) -> list[unittest.TestCase]:
    if isinstance(test, unittest.TestSuite):
        return [case for part in test for case in flatten(part)]
    return [test]


def main() -> int:
    parser = argparse.ArgumentParser(description="Both protocols, live, against the program skex.")
    parser.add_argument("--skex", type=Path, help="the program")
    parser.add_argument("tests", nargs="*", help="such as Dske, or Unmediated.test_a_stateless_responder")
    arguments = parser.parse_args()
    Live.program = str(arguments.skex.resolve()) if arguments.skex else find_skex()
    print(f"against {Live.program}", flush=True)
    loader, own = unittest.defaultTestLoader, sys.modules[__name__]
    names = arguments.tests or [kind.__name__ for kind in ALL]
    return 0 if run(loader.loadTestsFromNames(names, own)) else 1


if __name__ == "__main__":
    sys.exit(main())
