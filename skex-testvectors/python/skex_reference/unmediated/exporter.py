"""The two chains of outputs of a session (U "Exporter")."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..octets import WrongState, u64
from ..schedule import expand
from ..suites import SUITES

WINDOW = 8
OUTPUTS = 1 << 16
SIDE_B = 1 << 63

RAW = "skex x1 raw"


class Refused(WrongState):
    """No output under this index. Nothing was moved."""


def index_of(side: str, i: int) -> int:
    return i | (SIDE_B if side == "b" else 0)


def output_key(suite: int, ok: bytes, label: str, index: int, context: bytes) -> bytes:
    """The consumer's key; OK_i is erased after it."""
    return expand(SUITES[suite], ok, label, u64(index) + context, SUITES[suite].hash_length)


def step(suite: int, chain: bytes, i: int) -> tuple[bytes, bytes]:
    """OK_i and XC_(i+1)"""
    length = SUITES[suite].hash_length
    return (
        expand(SUITES[suite], chain, "skex u1 output", u64(i), length),
        expand(SUITES[suite], chain, "skex u1 next", u64(i), length),
    )


@dataclass
class Naming:
    """The chain of the outputs that this end names. In memory only."""

    side: str
    suite: int
    chain: bytes
    position: int = 0
    # One above the highest index that the consumer reported as answered.
    answered: int = 0

    def name(self, label: str, context: bytes) -> tuple[int, bytes]:
        """The next index and its key."""
        i = self.position
        if i >= self.answered + WINDOW or i >= OUTPUTS:
            raise Refused("a new handshake is due")
        ok, self.chain = step(self.suite, self.chain, i)
        self.position += 1
        index = index_of(self.side, i)
        return index, output_key(self.suite, ok, label, index, context)


@dataclass
class Answering:
    """The chain of the outputs that the peer names. Durable: the taking is, before the key leaves."""

    side: str
    suite: int
    chain: bytes
    position: int = 0
    kept: dict[int, bytes] = field(default_factory=dict)

    def peek(self, index: int, label: str, context: bytes) -> bytes:
        """The key, with nothing changed: for an index that is not authentic yet."""
        copy = Answering(self.side, self.suite, self.chain, self.position, dict(self.kept))
        return copy.take(index, label, context)

    def take(self, index: int, label: str, context: bytes) -> bytes:
        return output_key(self.suite, self.take_output(index), label, index, context)

    def take_output(self, index: int) -> bytes:
        """OK_i, once."""
        i = index & ~SIDE_B
        if index_of(self.side, i) != index or i >= OUTPUTS:
            raise Refused("not an index of this chain")
        if i >= self.position + WINDOW:
            raise Refused("too far ahead")
        if i < self.position and i not in self.kept:
            raise Refused("taken before, or too long ago")
        while self.position <= i:
            ok, self.chain = step(self.suite, self.chain, self.position)
            self.kept[self.position] = ok
            self.position += 1
        taken = self.kept.pop(i)
        # Only the last 8 below the position are kept.
        self.kept = {old: key for old, key in self.kept.items() if old >= self.position - WINDOW}
        return taken
