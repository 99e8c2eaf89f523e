"""The frame of durable records, and a log of them (D "Records"); two slots, as the vectors' README has them ("records")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from .octets import DecodeError, Reader, WrongState, u8, u32, u64
from .suites import NotAuthentic

MAGIC = b"SKXR"
FORMAT = 1
CHECKSUM = 16
REMOVED = 0xFFFFFFFF


class LaterFormat(DecodeError):
    """Written by a later version: going on with an older record would be going back."""


@dataclass(frozen=True)
class Record:
    kind: int
    machine: bytes
    sequence: int
    body: bytes

    def encode(self) -> bytes:
        head = MAGIC + u8(FORMAT) + u8(self.kind) + self.machine + u64(self.sequence) + u32(len(self.body))
        return head + self.body + sha256(head + self.body).digest()[:CHECKSUM]


def decode(octets: bytes) -> tuple[Record, int]:
    """A record, and how many octets it has; what is behind it is not looked at."""
    reader = Reader(octets)
    if reader.take(len(MAGIC)) != MAGIC:
        raise DecodeError("not a record")
    if reader.number(1) != FORMAT:
        raise LaterFormat("another format")
    kind, machine, sequence = reader.number(1), reader.take(8), reader.number(8)
    body = reader.take(reader.number(4))
    record = Record(kind, machine, sequence, body)
    if reader.take(CHECKSUM) != record.encode()[-CHECKSUM:]:
        raise NotAuthentic("the checksum is wrong")
    return record, len(octets) - reader.left


def read(octets: bytes, kind: int, machine: bytes) -> Record:
    """A record of this machine."""
    record, _ = decode(octets)
    if record.kind != kind:
        raise WrongState("a record of another kind of machine")
    if record.machine != machine:
        raise WrongState("a record of another machine")
    return record


def is_blank(slot: bytes) -> bool:
    """Nothing was ever stored: empty, zeros or ones."""
    return not slot.strip(b"\0") or not slot.strip(b"\xff")


def ruling(slots: Sequence[bytes], kind: int, machine: bytes) -> tuple[int, Record] | None:
    """Which of two slots rules, and its record; `None` if both are blank."""
    good: list[tuple[int, Record]] = []
    refused: Exception | None = None
    for number, slot in enumerate(slots):
        if is_blank(slot):
            continue
        try:
            good.append((number, read(slot, kind, machine)))
        except LaterFormat:
            raise
        except (DecodeError, NotAuthentic, WrongState) as why:
            refused = refused or why
    if not good:
        if refused is not None:
            raise refused
        return None
    newest = max(record.sequence for _, record in good)
    ruling_ones = [(number, record) for number, record in good if record.sequence == newest]
    if any(record != ruling_ones[0][1] for _, record in ruling_ones):
        raise WrongState("two good records of one number differ")
    return ruling_ones[0]


def replay(records: Sequence[bytes], kind: int, machine: bytes) -> dict[bytes, bytes]:
    """What a log of changes and snapshots leaves standing (D "Records")."""
    entries: dict[bytes, bytes] = {}
    last: int | None = None
    for octets in records:
        record = read(octets, kind, machine)
        reader = Reader(record.body)
        form = reader.number(1)
        if form == 0:
            if record.sequence != (last or 0) + 1:
                raise WrongState("a record is missing")
        elif form == 1:
            if last is not None and record.sequence <= last:
                raise WrongState("a snapshot is older than what stands before it")
            entries = {}
        else:
            raise DecodeError("neither change nor snapshot")
        last = record.sequence
        while reader.left:
            name = reader.take(reader.number(1))
            length = reader.number(4)
            if length == REMOVED:
                entries.pop(name, None)
            else:
                entries[name] = reader.take(length)
    return entries
