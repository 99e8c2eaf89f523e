"""Files that are written whole, and files that are erased."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, octets: bytes) -> None:
    """Returns when all of it is durable, under its name."""
    beside = path.with_suffix(".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def erase(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(bytes(path.stat().st_size))
        os.fsync(file.fileno())
    path.unlink()
