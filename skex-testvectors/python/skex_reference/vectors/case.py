"""One test of a file, as the checks of each kind see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..octets import Argument, DecodeError, Policy, WrongState
from ..suites import SUITES, NotAuthentic, Suite
from . import seed

Json = dict[str, Any]


class Unknown(ValueError):
    """A file, type, flag or layer that this program does not know. It fails, and is never skipped."""


@dataclass(frozen=True)
class Case:
    file: str
    group: Json
    test: Json
    # How many octets a derived field and an output have.
    lengths: dict[str, int]
    # What `Kind.hints` found, where a file does not state an input.
    hints: list[int]

    def octets(self, path: str) -> bytes:
        return bytes.fromhex(seed.get(self.test, path))

    def number(self, path: str) -> int:
        number = seed.get(self.test, path)
        if not isinstance(number, int):
            raise ValueError(f"{path} is no number")
        return number

    @property
    def suite(self) -> Suite:
        return SUITES[self.group["suite"]]

    @property
    def flag(self) -> str:
        """The cause, of an invalid test."""
        return str(self.test["flags"][0])

    @property
    def valid(self) -> bool:
        return bool(self.test["result"] == "valid")

    def before(self, path: str) -> bytes:
        """What a field that was changed had from the seed before."""
        return self.derive(path, self.lengths[path])

    def derive(self, path: str, length: int) -> bytes:
        return seed.derive(self.file, self.group["name"], self.test["name"], path, length)


@dataclass(frozen=True)
class Kind:
    """What a type of group means.

    `outputs` of a test are computed from all else by `compute`. `judge` is the receiver: it names the layer that
    refuses the test, or gives `None` where all accept.
    """

    outputs: Callable[[Case], Sequence[str]]
    compute: Callable[[Case], Json]
    judge: Callable[[Case], str | None]
    # An input that the file states by its outputs alone.
    hints: Callable[[Case], list[int]] = lambda _: []


def always(*paths: str) -> Callable[[Case], Sequence[str]]:
    return lambda _: paths


def layer_of(attempt: Callable[[], object]) -> str | None:
    """The layer that refuses, by what it raised."""
    from ..dske.tags import ErasedKey

    try:
        attempt()
    except DecodeError:
        return "decode"
    except NotAuthentic:
        return "authenticate"
    except ErasedKey:
        return "key"
    except WrongState:
        return "state"
    except Argument:
        return "argument"
    except Policy:
        return "policy"
    return None


def flip(octets: bytes, bit: int) -> bytes:
    """One bit flipped: 0 is the first (most significant, of the first octet), -1 the last."""
    bit %= 8 * len(octets)
    changed = bytearray(octets)
    changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)
