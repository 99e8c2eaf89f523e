"""What the corpora reach: lines of each module, by target, as a table.

    python3 coverage.py LLVM_DIRECTORY [TARGET...]

reads what `cargo fuzz coverage` left in coverage/. With `--missed MODULE`, the lines of that module that no target reaches.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CRATES = ("skex-wire", "skex-core", "skex-dske", "skex-unmediated")
# Of skex-core, what an attacker's octets come to; the rest is not theirs to reach, or is tested elsewhere.
CORE = ("record", "replay", "machine", "suite")
DSKE = ("hub_attack", "client_attack", "dske_network", "wire_dske", "stored", "shamir")
UNMEDIATED = ("peer_pair", "peer_table", "wire_unmediated", "wire_cursor", "stored")

Lines = dict[Path, dict[int, bool]]


def binary(target: str) -> Path:
    """The one that cargo fuzz built for the coverage of this target."""
    found = sorted(HERE.glob(f"target/*/coverage/*/release/{target}"))
    assert found, f"no binary of {target}: fuzz/run coverage builds it"
    return found[0]


def reached(llvm: Path, target: str) -> Lines:
    """Whether each line of the crates that has code was reached; tests are not among them."""
    profile = HERE / "coverage" / target / "coverage.profdata"
    command = [llvm / "llvm-cov", "export", "-format=lcov", f"-instr-profile={profile}", binary(target)]
    lcov = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines: Lines = defaultdict(dict)
    file = None
    for entry in lcov.splitlines():
        kind, _, value = entry.partition(":")
        if kind == "SF":
            path = Path(value)
            is_ours = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in CRATES
            file = path.relative_to(ROOT) if is_ours else None
        elif kind == "end_of_record":
            # A target that links a module and never comes there says nothing of it.
            if file is not None and not any(lines[file].values()):
                del lines[file]
        elif kind == "DA" and file is not None:
            number, count = value.split(",")[:2]
            lines[file][int(number)] = lines[file].get(int(number), False) or int(count) > 0
    return lines


def module(file: Path) -> str:
    """A crate's folder or file right below `src`, with one level more where there is one."""
    crate, _, *rest = file.with_suffix("").parts
    return "/".join([crate, *rest[:2]])


def table(by_target: dict[str, Lines], crates: tuple[str, ...], targets: tuple[str, ...]) -> None:
    shown = [target for target in targets if target in by_target]
    rows: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted({file for lines in by_target.values() for file in lines}):
        if file.parts[0] not in crates or (file.parts[0] == "skex-core" and file.with_suffix("").parts[2] not in CORE):
            continue
        numbers = sorted({number for lines in by_target.values() for number in lines.get(file, {})})
        for target in shown:
            own = by_target[target].get(file, {})
            rows[module(file)][target] += [own.get(number, False) for number in numbers]
        any_of = [any(by_target[target].get(file, {}).get(number, False) for target in by_target) for number in numbers]
        rows[module(file)]["all"] += any_of
    print("| module | lines | all | " + " | ".join(f"`{target}`" for target in shown) + " |")
    print("|---" * (3 + len(shown)) + "|")
    for name, row in sorted(rows.items()):
        every = row["all"]
        cells = [part(row[target]) for target in shown]
        print(f"| {name} | {len(every)} | {part(every)} | " + " | ".join(cells) + " |")


def part(lines: list[bool]) -> str:
    count = sum(lines)
    return f"{100 * count // len(lines)} %" if count else ""


def missed(by_target: dict[str, Lines], wanted: str) -> None:
    for file in sorted({file for lines in by_target.values() for file in lines}):
        if not module(file).startswith(wanted):
            continue
        numbers = sorted({number for lines in by_target.values() for number in lines.get(file, {})})
        text = (ROOT / file).read_text().splitlines()
        for number in numbers:
            if not any(lines.get(file, {}).get(number, False) for lines in by_target.values()):
                print(f"{file}:{number}: {text[number - 1]}")


def main() -> None:
    arguments = sys.argv[1:]
    wanted = None
    if "--missed" in arguments:
        at = arguments.index("--missed")
        wanted = arguments[at + 1]
        del arguments[at : at + 2]
    llvm, *targets = arguments
    found = [path.name for path in sorted((HERE / "coverage").iterdir())]
    by_target = {target: reached(Path(llvm), target) for target in targets or found}
    if wanted is not None:
        missed(by_target, wanted)
        return
    table(by_target, ("skex-dske",), DSKE)
    print()
    table(by_target, ("skex-unmediated",), UNMEDIATED)
    print()
    table(by_target, ("skex-wire", "skex-core"), (*DSKE[:4], *UNMEDIATED))


main()
