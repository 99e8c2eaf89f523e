"""A local distributor (D "Portions"): `python3 -m skex_reference portion`.

It hands out ascending ranges of a provisioning file. How far it came stands beside the file, in FILE.handed.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .. import disk
from . import provision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="the provisioning file; what was handed out is overwritten in it")
    parser.add_argument("out", type=Path, help="the portion to make")
    parser.add_argument("--chunks", type=int, default=1, help="how many chunks of 4096 elements of each table")


def run(arguments: argparse.Namespace) -> int:
    file: Path = arguments.file
    note = file.with_name(file.name + ".handed")
    first = int(note.read_text()) if note.exists() else 0
    # What a crash kept from being overwritten.
    _overwrite(file, first)
    end = first + arguments.chunks * provision.CHUNK
    made = provision.portion(file.read_bytes(), first, end)
    # Durable before the portion can be taken: of one that is lost no second is made.
    disk.write(note, str(end).encode())
    disk.write(arguments.out, made)
    _overwrite(file, end)
    print(f"made {arguments.out} with the elements {first} to {end} of each table", flush=True)
    return 0


def _overwrite(path: Path, end: int) -> None:
    with open(path, "r+b") as file:
        for at, length in provision.handed_out(file.read(), end):
            os.pwrite(file.fileno(), bytes(length), at)
        os.fsync(file.fileno())
