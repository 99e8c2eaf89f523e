"""A verification that cannot fail verifies nothing: each change of a file must be found."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import tempfile
import unittest
from pathlib import Path
from typing import Any

from skex_reference.vectors import files, seed

VECTORS = Path(__file__).resolve().parents[2] / "vectors"


def published() -> list[Path]:
    return sorted(VECTORS.glob("*.json"))


def run(folder: Path) -> bool:
    with contextlib.redirect_stdout(io.StringIO()):
        return files.verify(folder)


class Verify(unittest.TestCase):
    def test_the_published_files_hold(self) -> None:
        self.assertTrue(run(VECTORS))

    def test_one_digit_changed_in_a_test_is_found(self) -> None:
        """In a file of each name, in three tests, one digit of one octet string; and the result the other way."""
        choose = random.Random(1)
        for path in published():
            file = json.loads(path.read_text())
            tests = [(group, test) for group in file["testGroups"] for test in group["tests"]]
            for group, test in choose.sample(tests, 3):
                changed = copy.deepcopy(test)
                # Where nothing is stored, nothing can be another machine's.
                idle = ("tagInput", "machine") if {"Empty", "Blank"} & set(test["flags"]) else ("tagInput",)
                fields = [name for name, value in test.items() if _is_octets(value) and name not in idle]
                if fields and test["result"] == "valid":
                    name = choose.choice(fields)
                    at = choose.randrange(len(test[name]))
                    digit = "0" if test[name][at] != "0" else "1"
                    changed[name] = test[name][:at] + digit + test[name][at + 1 :]
                    with self.subTest(file=path.name, test=test["name"], field=name):
                        self.assertTrue(self._differs(path.stem, file, group, changed))
                turned = copy.deepcopy(test)
                turned["result"] = "invalid" if test["result"] == "valid" else "valid"
                turned["refusedBy"] = "decode" if turned["result"] == "invalid" else None
                with self.subTest(file=path.name, test=test["name"], turned=turned["result"]):
                    self.assertTrue(self._differs(path.stem, file, group, turned))

    def test_another_layer_is_found(self) -> None:
        for path in published():
            file = json.loads(path.read_text())
            for group in file["testGroups"]:
                for test in group["tests"]:
                    if test["result"] == "valid":
                        continue
                    other = dict(test, refusedBy="policy" if test["refusedBy"] != "policy" else "decode")
                    self.assertTrue(self._differs(path.stem, file, group, other), f"{path.name} {test['name']}")
                    break

    def test_what_is_not_known_fails(self) -> None:
        for change in ("file", "type", "flag", "number", "form"):
            with self.subTest(change=change), tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                for path in VECTORS.glob("*.json"):
                    (folder / path.name).write_bytes(path.read_bytes())
                target = folder / "tags.json"
                text = target.read_text()
                if change == "file":
                    target.rename(folder / "other.json")
                elif change == "form":
                    target.write_text(text.replace("  ", " ", 1))
                else:
                    old, new = {
                        "type": ('"type": "MessageTag"', '"type": "Other"'),
                        "flag": ('            "Padding"', '            "Other"'),
                        "number": ('"tcId": 2,', '"tcId": 1,'),
                    }[change]
                    self.assertIn(old, text)
                    target.write_text(text.replace(old, new, 1))
                self.assertFalse(run(folder))

    def test_the_seed_is_used_and_not_the_file(self) -> None:
        """What is derived is taken away before it is computed."""
        path = VECTORS / "tags.json"
        file = json.loads(path.read_text())
        group = file["testGroups"][0]
        test = next(test for test in group["tests"] if "key" in test["derived"] and test["result"] == "valid")
        changed = copy.deepcopy(test)
        seed.put(changed, "key", "00" * 31 + "01")
        changed["tag"] = "00" * 16
        self.assertEqual(files.remake("tags", group, changed), test)

    def _differs(self, name: str, file: dict[str, Any], group: dict[str, Any], test: dict[str, Any]) -> bool:
        try:
            return bool(files.verify_test(name, file, group, test))
        except Exception:  # Judged impossible: `verify` counts it as a difference.
            return True


def _is_octets(value: object) -> bool:
    return isinstance(value, str) and len(value) >= 2 and len(value) % 2 == 0 and set(value) <= set("0123456789abcdef")


if __name__ == "__main__":
    unittest.main()
