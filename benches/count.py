#!/usr/bin/env python3
"""Counts the instructions of our own work under callgrind, and says what changed since the commit that was counted before.

    cargo build --release -p benches --bin once && python3 benches/count.py [NAME...]

Written to target/instructions/COMMIT.json. A report: nothing fails because of it. Valgrind hides the SHA instructions and
AVX-512, so the hashes are those of the portable code: compare with other counts, never with times.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ONCE = TARGET / "release" / "once"
TIMES = {"split-1MiB": 2, "combine-1MiB": 4, "dske-16-of-31": 8, "relay": 16}
# Where not all of the work is counted: the part that is, and how many of it are made at once (256 keys by two hubs).
PARTS = {"relay": ("*Mesh*serve*", 512)}


def collected(name, times, part):
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}", "--collect-atstart=no",
               f"--toggle-collect={part}", ONCE, name, str(times)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    total = int(re.search(r"Collected : (\d+)", said).group(1))
    if total == 0:
        sys.exit(f"{name}: nothing was counted")
    return total


def counted(name):
    times = TIMES.get(name, 32)
    if name not in PARTS:
        return collected(name, times, "benches::work::again") // times
    # What makes everything ready has such parts too.
    part, together = PARTS[name]
    with ThreadPoolExecutor() as both:
        twice, once = both.map(lambda times: collected(name, times, part), [2 * times, times])
    return (twice - once) // times // together


def main():
    names = sys.argv[1:] or subprocess.run([ONCE], check=True, capture_output=True, text=True).stdout.split()
    git = ["git", "-C", ROOT, "describe", "--always", "--exclude=*", "--dirty=-changed"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    folder = TARGET / "instructions"
    folder.mkdir(parents=True, exist_ok=True)
    earlier = [path for path in folder.glob("*.json") if path.stem != commit]
    last = max(earlier, key=lambda path: path.stat().st_mtime, default=None)
    before = json.loads(last.read_text()) if last else {}
    print(f"instructions of {commit}" + (f", and what changed since {last.stem}" if last else ""))
    # At once: what is counted does not depend on what else runs.
    with ThreadPoolExecutor(os.cpu_count()) as all_of_them:
        counts = dict(zip(names, all_of_them.map(counted, names)))
    for name in names:
        change = f"{100 * (counts[name] / before[name] - 1):+8.2f} %" if name in before else ""
        print(f"  {name:<16} {counts[name]:>12,} {change}")
    (folder / f"{commit}.json").write_text(json.dumps(counts, indent=1) + "\n")


if __name__ == "__main__":
    main()
