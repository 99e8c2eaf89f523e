"""Keys for their users: files, and fingerprints to compare."""

from __future__ import annotations

from pathlib import Path

from . import disk
from .octets import u64
from .schedule import labelled_hash
from .suites import SUITES


def fingerprint(identity: bytes, index: int, key: bytes) -> str:
    """As the program `skex` shows it (README of the vectors, "labels"): of a session or key id, an index, and the key."""
    digits = labelled_hash(SUITES[1], "skex c1 fingerprint", identity + u64(index) + key)[:8].hex()
    return " ".join(digits[at : at + 4] for at in range(0, 16, 4))


def begin(folder: Path | None) -> None:
    """At a start: erases a key that was being written when the last one ended."""
    if folder is not None and folder.exists():
        disk.finish(folder)


def write(folder: Path, name: str, key: bytes) -> None:
    """Durable: whoever gave the key may erase it then. One that is given again after a crash is the same."""
    folder.mkdir(parents=True, exist_ok=True)
    disk.write(folder / name, key)
