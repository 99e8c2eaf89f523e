"""What is durable (U "Durable State"), in the form that U has for SKEX ("Records"), and a file that keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .. import disk, records
from ..octets import DecodeError, Policy, Reader, WrongState, u8, u32, u64
from ..suites import SUITES
from . import wire
from .exporter import OUTPUTS, WINDOW, Answering
from .schedule import SIDES, Enrolment, other

KIND = 1
LAYOUT = 1

NONE, UNCONFIRMED, LIVE, VOID = range(4)
INITIATED = 0x10
MIXED = 0x20

# In the link octet.
OFFERED = 0x10
CHOSEN = 0x20

ACTIVE, WITHDRAWN = 1, 2

RECOVERY_LANE = 255
# Of a recovery: a lane that was enrolled by one and waits; a recovery lane that answers; one that starts too.
HELD, OPEN, WANTED = 1, 2, 3


@dataclass(frozen=True)
class Session:
    """What the handshake that began the present epoch gave for keys."""

    status: int = NONE
    session_id: bytes = bytes(16)
    initiated: bool = False
    # Whether fresh secret material was mixed into its handshake.
    mixed: bool = False
    # 0, or what is going on of a recovery.
    recovery: int = 0
    # The outputs that the peer names; of a live or unconfirmed session.
    answering: Answering | None = None


@dataclass(frozen=True)
class Previous:
    """Of epoch e - 1. The peer's k1 opens nothing but late first messages, guard tags and stale notices."""

    suite: int
    pseudonyms: dict[str, bytes]
    peer_k1: bytes


@dataclass(frozen=True)
class Followed:
    """This end followed as responder: the same third message draws the same fourth."""

    mac3: bytes
    status: int
    mac4: bytes


@dataclass(frozen=True)
class Ahead:
    """This end moved first: its long third message, and MAC4 for either status."""

    third: wire.LongThird
    mac4: dict[int, bytes]
    # Whether the consumer confirmed. Not durable.
    by_consumer: bool = field(default=False, compare=False)


Link = None | Followed | Ahead


@dataclass(frozen=True)
class Held:
    """A block of fresh secret material, in its place."""

    block: bytes
    withdrawn: bool = False


# The two places of a lane. Which one a block is in shows nowhere but in the order of an offer.
Places = tuple[Held | None, Held | None]
NO_BLOCKS: Places = (None, None)


@dataclass(frozen=True)
class Durable:
    side: str
    epoch: int
    suite: int
    chain_key: bytes
    session: Session = Session()
    previous: Previous | None = None
    link: Link = None
    places: Places = NO_BLOCKS

    def held(self) -> list[Held]:
        return [held for held in self.places if held is not None]

    def with_status(self, status: int, link: Link) -> Durable:
        answering = self.session.answering if status in (LIVE, UNCONFIRMED) else None
        return replace(self, session=replace(self.session, status=status, answering=answering), link=link)

    # ---- the body of a record

    def encode(self) -> bytes:
        session, previous, link = self.session, self.previous, self.link
        body = u8(LAYOUT) + self.side.encode("ascii") + u64(self.epoch) + u8(self.suite)
        body += u8(_link_octet(link))
        flags = (INITIATED if session.initiated else 0) | (MIXED if session.mixed else 0) | session.recovery << 6
        body += u8(session.status | flags) + session.session_id + self.chain_key
        if previous is not None:
            own, peer = previous.pseudonyms[self.side], previous.pseudonyms[other(self.side)]
            body += u8(previous.suite) + own + peer + previous.peer_k1
        if session.answering is not None:
            body += _encode_answering(session.answering)
        match link:
            case Followed():
                body += u8(link.status) + link.mac3 + link.mac4
            case Ahead():
                body += _encode_ahead(link)
        for held in self.held():
            body += u8(WITHDRAWN if held.withdrawn else ACTIVE) + held.block
        return body


def _link_octet(link: Link) -> int:
    match link:
        case None:
            return 0
        case Followed():
            return 1
        case Ahead():
            third = link.third
            return 2 | (OFFERED if third.first.extension else 0) | (CHOSEN if third.second.extension else 0)


def _encode_answering(answering: Answering) -> bytes:
    """An output i is kept in slot i mod 8."""
    slots = {i % WINDOW: ok for i, ok in answering.kept.items()}
    kept = u8(sum(1 << slot for slot in slots)) + b"".join(slots[slot] for slot in sorted(slots))
    return answering.chain + u32(answering.position) + kept


def _encode_ahead(link: Ahead) -> bytes:
    first, second = link.third.first, link.third.second
    return (
        u8(first.flags)
        + first.nonce
        + u8(len(first.offer))
        + bytes(first.offer)
        + u8(second.flags)
        + second.nonce
        + link.third.third.mac
        + link.third.guard
        + link.mac4[wire.GOOD_STATUS]
        + link.mac4[wire.VOID_STATUS]
        + first.extension
        + second.extension
    )


def decode(body: bytes, side: str, lane: int) -> Durable:
    reader = Reader(body)
    if reader.number(1) != LAYOUT:
        raise DecodeError("another layout")
    letter = reader.take(1).decode("latin-1")
    if letter not in SIDES:
        raise DecodeError("no such side")
    if letter != side:
        raise WrongState("the record of the other end")
    epoch, suite, kind = reader.number(8), _suite(reader), reader.number(1)
    status = reader.number(1)
    initiated, mixed, recovery = bool(status & INITIATED), bool(status & MIXED), status >> 6
    status &= 15
    if recovery and (recovery == HELD) == (lane == RECOVERY_LANE) or (recovery == HELD and epoch):
        raise DecodeError("no such recovery on this lane")
    kind, extensions = kind & 15, kind & ~15
    if kind > 2 or extensions & ~(OFFERED | CHOSEN) or extensions == CHOSEN or (extensions and kind != 2):
        raise DecodeError("no such link")
    if status > VOID or (epoch == 0) != (status == NONE) or (epoch == 0 and (kind or initiated)):
        raise DecodeError("no such link or session")
    session_id = reader.take(16)
    chain_key = reader.take(SUITES[suite].hash_length)
    previous = None
    if epoch > 0:
        code, own, peer = _suite(reader), reader.take(8), reader.take(8)
        previous = Previous(code, {side: own, other(side): peer}, reader.take(32))
    owner = side if lane == RECOVERY_LANE and initiated else other(side)
    answering = _decode_answering(reader, owner, suite) if status in (UNCONFIRMED, LIVE) else None
    link: Link = None
    if kind == 1:
        link = _decode_followed(reader)
    elif kind == 2 and previous is not None:
        link = _decode_ahead(reader, previous.pseudonyms[side], suite, extensions)
    places = (_decode_held(reader), _decode_held(reader))
    reader.end()
    session = Session(status, session_id, initiated, mixed, recovery, answering)
    return Durable(side, epoch, suite, chain_key, session, previous, link, places)


def _decode_held(reader: Reader) -> Held | None:
    if not reader.left:
        return None
    standing = reader.number(1)
    if standing not in (ACTIVE, WITHDRAWN):
        raise DecodeError("no such standing of a block")
    return Held(reader.take(32), standing == WITHDRAWN)


def _suite(reader: Reader) -> int:
    code = reader.number(1)
    if code not in SUITES:
        raise Policy("a suite that nobody has")
    return code


def _decode_answering(reader: Reader, side: str, suite: int) -> Answering:
    length = SUITES[suite].hash_length
    chain, position, slots = reader.take(length), reader.number(4), reader.number(1)
    if position > OUTPUTS:
        raise DecodeError("no chain has that position")
    kept = {}
    for slot in range(WINDOW):
        if slots >> slot & 1:
            # The last index below the position that is in this slot.
            i = position - 1 - (position - 1 - slot) % WINDOW
            kept[i] = reader.take(length)
    if any(i < 0 for i in kept):
        raise DecodeError("an output below the first")
    return Answering(side, suite, chain, position, kept)


def _decode_followed(reader: Reader) -> Followed:
    status = reader.number(1)
    if status not in (wire.GOOD_STATUS, wire.VOID_STATUS):
        raise DecodeError("no such status")
    return Followed(reader.take(wire.MAC), status, reader.take(wire.MAC))


def _decode_ahead(reader: Reader, pseudonym: bytes, suite: int, extensions: int) -> Ahead:
    flags, nonce = reader.number(1), reader.take(16)
    offer = tuple(reader.take(reader.number(1)))
    first = wire.First(flags, pseudonym, nonce, offer)
    second = wire.Second(reader.number(1), first.attempt, reader.take(16), suite)
    short, guard = wire.Third(pseudonym, reader.take(wire.MAC)), reader.take(wire.GUARD)
    mac4 = {status: reader.take(wire.MAC) for status in (wire.GOOD_STATUS, wire.VOID_STATUS)}
    if extensions & OFFERED:
        first = replace(first, extension=reader.take(16))
    if extensions & CHOSEN:
        second = replace(second, extension=reader.take(1))
        if second.extension not in (b"\1", b"\2"):
            raise DecodeError("no such choice")
    third = wire.LongThird(short, first, second, guard)
    if wire.decode(third.encode()) != third:
        raise DecodeError("no such message was ever sent")
    return Ahead(third, mac4)


# ---- records


def record(enrolment: Enrolment, durable: Durable, sequence: int) -> bytes:
    return records.Record(KIND, enrolment.binding[:8], sequence, durable.encode()).encode()


def restore(enrolment: Enrolment, slots: Sequence[bytes], side: str) -> tuple[Durable, int]:
    """What rules of two slots, and its number."""
    found = records.ruling(slots, KIND, enrolment.binding[:8])
    if found is None:
        raise WrongState("nothing was ever stored")
    return decode(found[1].body, side, enrolment.lane), found[1].sequence


class Store:
    """One record in a file that is replaced as a whole. A file system may keep what was replaced: rule 2 of U "Rules for
    Storage" needs storage that erases."""

    def __init__(self, path: Path, enrolment: Enrolment) -> None:
        self._path = path
        self._enrolment = enrolment
        self._sequence = 0

    def exists(self) -> bool:
        return self._path.exists()

    def write(self, durable: Durable) -> None:
        """Returns when the record is durable. If it raises, nothing may leave until it was read again."""
        self._sequence += 1
        disk.write(self._path, record(self._enrolment, durable, self._sequence))

    def read(self, side: str) -> Durable:
        disk.finish_one(self._path)
        durable, self._sequence = restore(self._enrolment, [self._path.read_bytes()], side)
        return durable
