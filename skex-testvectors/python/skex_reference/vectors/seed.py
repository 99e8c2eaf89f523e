"""Fields that follow from the published seed (README of skex-testvectors, "The seed"), and paths to fields."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from ..octets import u8, u32

SEED = "SKEX test vectors, revision 1"


def derive(file: str, group: str, test: str, path: str, length: int) -> bytes:
    """The first octets of SHA-256(s | f | g | l | i) for i = 0, 1, 2, ..."""
    # "a full stop": the last of the names is that of the test, a full stop, and the path of the field.
    names = [SEED, file, group, f"{test}.{path}"]
    head = b"".join(u8(len(name)) + name.encode("ascii") for name in names)
    output = b""
    number = 0
    while len(output) < length:
        output += sha256(head + u32(number)).digest()
        number += 1
    return output[:length]


def steps(path: str) -> list[str | int]:
    """`message.fields.share` and `direct[0]`, step by step."""
    return [int(step) if step.isdigit() else step for step in re.findall(r"[A-Za-z0-9_]+", path)]


def get(test: Any, path: str) -> Any:
    for step in steps(path):
        test = test[step]
    return test


def put(test: Any, path: str, value: Any) -> None:
    *way, last = steps(path)
    for step in way:
        test = test[step]
    test[last] = value
