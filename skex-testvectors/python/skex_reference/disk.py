"""Files that are written whole, and files that are erased. A crash leaves what `finish` puts in order.

What is overwritten is so under its name; a file system or a disk may keep older octets all the same.
"""

from __future__ import annotations

import os
from pathlib import Path

NEW, ERASING = ".new", ".erasing"


def write(path: Path, octets: bytes) -> None:
    """Returns when all of it is durable, under its name, and what was there before is overwritten."""
    finish_one(path)
    beside, before = path.with_suffix(NEW), path.with_name(path.name + ERASING)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        os.link(path, before)
    os.replace(beside, path)
    _sync(path.parent)
    if before.exists():
        _overwrite(before)


def erase(path: Path) -> None:
    """It is out of use before its first octet is overwritten: a start meets it whole, or not at all."""
    aside = path.with_name(path.name + ERASING)
    os.replace(path, aside)
    _sync(path.parent)
    _overwrite(aside)


def finish(folder: Path) -> None:
    """At a start: what a crash left of files that were being written or erased is erased."""
    for path in [*folder.glob(f"*{ERASING}"), *folder.glob(f"*{NEW}")]:
        _overwrite(path)


def finish_one(path: Path) -> None:
    """The same, of one file that is written whole."""
    for left in (path.with_name(path.name + ERASING), path.with_suffix(NEW)):
        if left.exists():
            _overwrite(left)


def _overwrite(path: Path) -> None:
    # What has another name as well is in use still: what was to replace it did not.
    if path.stat().st_nlink == 1:
        with open(path, "r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
    path.unlink()


def _sync(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
