"""Verifying files of test vectors, and making them.

A test's outputs, and the fields that follow from the seed, are taken away; then they are computed anew. `verify` holds
the result against the file and shows every test to the receiver; `generate` writes the result.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import (
    consumers,
    dske_epochs,
    dske_exchanges,
    dske_keys,
    dske_messages,
    seed,
    shared,
    unmediated_exchanges,
    unmediated_keys,
)
from .case import Case, Json, Kind, Unknown

FILES: dict[str, dict[str, Kind]] = (
    shared.FILES
    | dske_keys.FILES
    | dske_messages.FILES
    | dske_epochs.FILES
    | dske_exchanges.FILES
    | unmediated_keys.FILES
    | unmediated_exchanges.FILES
    | consumers.FILES
)

LAYERS = ("argument", "decode", "key", "authenticate", "state", "policy")


@dataclass
class Counts:
    valid: int = 0
    invalid: int = 0
    differences: list[str] = field(default_factory=list)


def kind_of(file: str, group: Json) -> Kind:
    if file not in FILES:
        raise Unknown(f"the file {file!r}")
    if group["type"] not in FILES[file]:
        raise Unknown(f"the type {group['type']!r} of group {group['name']!r}")
    return FILES[file][group["type"]]


def remake(file: str, group: Json, test: Json) -> Json:
    """The test made anew: nothing that is derived or computed is taken over, but how long it is."""
    kind = kind_of(file, group)
    whole = Case(file, group, test, _lengths(test, test["derived"]), [])
    outputs = kind.outputs(whole)
    lengths = _lengths(test, [*test["derived"], *outputs])
    hints = kind.hints(Case(file, group, test, lengths, []))

    stated = copy.deepcopy(test)
    for path in outputs:
        # What stands inside a list keeps its place.
        seed.put(stated, path, None)
    for path in test["derived"]:
        if path not in outputs:
            octets = seed.derive(file, group["name"], test["name"], path, lengths[path])
            seed.put(stated, path, octets.hex())
    computed = kind.compute(Case(file, group, stated, lengths, hints))
    if set(computed) != set(outputs):
        raise Unknown(f"outputs {sorted(computed)} where {sorted(outputs)} were to be computed")
    for path, value in computed.items():
        seed.put(stated, path, value)
    return stated


def _lengths(test: Json, paths: list[str]) -> dict[str, int]:
    values = {path: _get(test, path) for path in paths}
    return {path: len(value) // 2 for path, value in values.items() if isinstance(value, str)}


def _get(test: Json, path: str) -> Any:
    try:
        return seed.get(test, path)
    except (KeyError, IndexError, TypeError):
        # A path of the rule that is no field: `secret` of a test that nobody decodes.
        return None


def verify_file(path: Path) -> Counts:
    counts = Counts()
    text = path.read_text(encoding="utf-8")
    file = json.loads(text)
    name = path.stem
    if to_text(file) != text:
        counts.differences.append("not in canonical form")
    if file["schema"] != f"{name}.schema.json":
        counts.differences.append(f"names the schema {file['schema']!r}")
    tests = [(group, test) for group in file["testGroups"] for test in group["tests"]]
    if [test["tcId"] for _, test in tests] != list(range(1, file["numberOfTests"] + 1)):
        counts.differences.append("the tests are not numbered from 1 to their number")
    for group, test in tests:
        where = f"{test['tcId']} {group['name']!r} {test['name']!r}"
        counts.valid += test["result"] == "valid"
        counts.invalid += test["result"] == "invalid"
        try:
            counts.differences += [f"{where}: {what}" for what in verify_test(name, file, group, test)]
        except Exception as why:  # A test that cannot even be judged is a difference, whatever went wrong.
            counts.differences.append(f"{where}: {type(why).__name__}: {why}")
    if name == "labels" and not shared.all_labels_are_there(file["testGroups"]):
        counts.differences.append("the labels are not all that there are, once each")
    return counts


def verify_test(name: str, file: Json, group: Json, test: Json) -> list[str]:
    if test["result"] not in ("valid", "invalid") or (test["refusedBy"] is None) != (test["result"] == "valid"):
        raise Unknown(f"the result {test['result']!r} by {test['refusedBy']!r}")
    if test["refusedBy"] not in (None, *LAYERS):
        raise Unknown(f"the layer {test['refusedBy']!r}")
    if len(test["flags"]) != 1 or test["flags"][0] not in file["notes"]:
        raise Unknown(f"the flags {test['flags']}")
    differences = []
    made = remake(name, group, test)
    for field_name in test:
        if made[field_name] != test[field_name]:
            differences.append(f"{field_name} is {_short(test[field_name])}, computed {_short(made[field_name])}")
    lengths = _lengths(test, test["derived"])
    layer = kind_of(name, group).judge(Case(name, group, test, lengths, []))
    if layer != test["refusedBy"]:
        differences.append(f"refused by {layer}, not by {test['refusedBy']}")
    return differences


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def to_text(file: Json) -> str:
    """The canonical form."""
    return json.dumps(file, indent=2, ensure_ascii=False) + "\n"


def verify(folder: Path) -> bool:
    """Verifies every file of the folder, prints counts, and says whether all is as it must be."""
    good = True
    paths = sorted(folder.iterdir())
    missing = sorted(set(FILES) - {path.stem for path in paths})
    print(f"{'file':<24}{'valid':>8}{'invalid':>9}{'differ':>8}")
    total = Counts()
    for path in paths:
        if path.suffix != ".json" or path.stem not in FILES:
            print(f"{path.name:<24}  UNKNOWN: this program cannot verify it")
            good = False
            continue
        counts = verify_file(path)
        print(f"{path.stem:<24}{counts.valid:>8}{counts.invalid:>9}{len(counts.differences):>8}")
        for difference in counts.differences:
            print(f"    {difference}")
        total.valid += counts.valid
        total.invalid += counts.invalid
        total.differences += counts.differences
    for name in missing:
        print(f"{name:<24}  MISSING")
    print(f"{'all':<24}{total.valid:>8}{total.invalid:>9}{len(total.differences):>8}")
    return good and not missing and not total.differences


def generate(folder: Path, out: Path) -> None:
    """Writes every file anew. From `folder` come the cases: names, comments, what they state, and lengths."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.json")):
        file = json.loads(path.read_text(encoding="utf-8"))
        for group in file["testGroups"]:
            group["tests"] = [remake(path.stem, group, test) for test in group["tests"]]
        (out / path.name).write_text(to_text(file), encoding="utf-8")
