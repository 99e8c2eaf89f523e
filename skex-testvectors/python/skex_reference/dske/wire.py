"""Messages: the outer ones (D "Outer messages") and the inner ones (D "Inner messages").

A decoder accepts exactly these encodings. `encode` of a tagged message takes the tag as it is: who makes and checks
one-time tags is `tag_input` with `tags.message_tag`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from ..octets import DecodeError, Reader, u8, u16, u32

VERSION = 1
LONGEST_OUTER = 2_097_152
TAG = 16
MAX_HUBS = 31
# Seconds: the longest that terms can have.
LONGEST_LIFETIME = 65_535


# ---- outer messages


@dataclass(frozen=True)
class Hello:
    TYPE: ClassVar[int] = 1
    client_id: int
    salt: bytes
    tag: bytes

    def body(self) -> bytes:
        return _outer_head(self.TYPE, self.client_id) + self.salt

    def encode(self) -> bytes:
        return self.body() + self.tag


@dataclass(frozen=True)
class HelloReply(Hello):
    TYPE: ClassVar[int] = 2


@dataclass(frozen=True)
class HelloRequest:
    TYPE: ClassVar[int] = 5
    client_id: int
    tag: bytes

    def body(self) -> bytes:
        return _outer_head(self.TYPE, self.client_id)

    def encode(self) -> bytes:
        return self.body() + self.tag


@dataclass(frozen=True)
class Sealed:
    """`salt` is that of the client in a SEALED_FRESH, and `None` in a SEALED."""

    client_id: int
    salt: bytes | None
    seq: int
    ciphertext: bytes
    tag: bytes

    def aad(self) -> bytes:
        """Every octet before the ciphertext."""
        if self.salt is None:
            return _outer_head(3, self.client_id) + u32(self.seq)
        return _outer_head(4, self.client_id) + self.salt + u32(self.seq)

    def encode(self) -> bytes:
        return self.aad() + self.ciphertext + self.tag


Outer = Hello | HelloReply | HelloRequest | Sealed


def _outer_head(kind: int, client_id: int) -> bytes:
    return u8(VERSION << 4 | kind) + u32(client_id)


def decode_outer(octets: bytes) -> Outer:
    if len(octets) > LONGEST_OUTER:
        raise DecodeError("more than 2 MiB")
    reader = Reader(octets)
    first = reader.number(1)
    if first >> 4 != VERSION:
        raise DecodeError("unknown version")
    kind = first & 15
    if not 1 <= kind <= 5:
        raise DecodeError("unknown type")
    client_id = reader.number(4)
    message: Outer
    if kind == Hello.TYPE:
        message = Hello(client_id, reader.take(16), reader.take(TAG))
    elif kind == HelloReply.TYPE:
        message = HelloReply(client_id, reader.take(16), reader.take(TAG))
    elif kind == HelloRequest.TYPE:
        message = HelloRequest(client_id, reader.take(TAG))
    else:
        salt = reader.take(16) if kind == 4 else None
        seq = reader.number(4)
        ciphertext = reader.take(reader.left - TAG)
        if not ciphertext:
            raise DecodeError("nothing inside")
        message = Sealed(client_id, salt, seq, ciphertext, reader.take(TAG))
    reader.end()
    return message


# ---- inner messages


class Status(IntEnum):
    """D "Answer statuses". Others are refusals without a name, and stay integers."""

    ACCEPTED = 0
    UNKNOWN_PEER = 1
    NOT_AUTHORISED = 2
    KEY_ID_IN_USE = 3
    EXPIRED = 4
    POLICY = 5
    TOO_MANY_WAITING = 6
    MALFORMED_CONTEXT = 7
    WITHDRAWN = 8


@dataclass(frozen=True)
class LeaseRequest:
    TYPE: ClassVar[int] = 1
    table: int
    nonce: bytes
    mark: int
    want: int

    def encode(self) -> bytes:
        return u8(self.TYPE) + u16(self.table) + self.nonce + u32(self.mark) + u32(self.want)


@dataclass(frozen=True)
class LeaseGrant:
    TYPE: ClassVar[int] = 2
    table: int
    nonce: bytes
    start: int
    end: int
    tag: bytes

    def body(self) -> bytes:
        return u8(self.TYPE) + u16(self.table) + self.nonce + u32(self.start) + u32(self.end)

    def encode(self) -> bytes:
        return self.body() + self.tag


@dataclass(frozen=True)
class LeaseDenied:
    TYPE: ClassVar[int] = 3
    table: int
    nonce: bytes
    mark: int

    def encode(self) -> bytes:
        return u8(self.TYPE) + u16(self.table) + self.nonce + u32(self.mark)


@dataclass(frozen=True)
class Terms:
    """What the initiator chose for a key (D "Terms and context of a key")."""

    suite: int
    threshold: int
    key_length: int
    lifetime: int
    coordinates: tuple[int, ...]
    origins: bytes

    @property
    def hubs(self) -> int:
        return len(self.coordinates)

    def encode(self) -> bytes:
        return (
            u8(self.suite)
            + u8(self.threshold)
            + u8(self.hubs)
            + u32(self.key_length)
            + u16(self.lifetime)
            + bytes(self.coordinates)
            + self.origins
        )


@dataclass(frozen=True)
class Share:
    """UPLOAD (client to hub) and DELIVERY (hub to client). An absent share is one of no octets: a direct upload."""

    TYPE: ClassVar[int] = 4
    table: int
    index: int
    floor: int
    key_id: bytes
    peer: bytes
    terms: Terms
    secret_tag: bytes
    share: bytes
    tag: bytes

    def body(self) -> bytes:
        return (
            u8(self.TYPE)
            + u16(self.table)
            + u32(self.index)
            + u32(self.floor)
            + self.key_id
            + self.peer
            + self.terms.encode()
            + self.secret_tag
            + self.share
        )

    def encode(self) -> bytes:
        return self.body() + self.tag


@dataclass(frozen=True)
class Upload(Share):
    TYPE: ClassVar[int] = 4


@dataclass(frozen=True)
class Delivery(Share):
    TYPE: ClassVar[int] = 5


@dataclass(frozen=True)
class Confirmation:
    """What B fixes when it accepts a key (D "Confirmation")."""

    origins: bytes
    lying: bytes
    tag: bytes

    def fits(self, hubs: int) -> bool:
        """Whether the bitmaps are those of a key of so many hubs: their length, and no bit beyond the last hub."""
        return all(len(b) == bitmap_length(hubs) and not unused_bits(b, hubs) for b in (self.origins, self.lying))

    def encode(self) -> bytes:
        return self.origins + self.lying + self.tag


@dataclass(frozen=True)
class Answer:
    TYPE: ClassVar[int] = 6
    table: int
    index: int
    status: int
    confirmation: Confirmation | None
    tag: bytes

    def body(self) -> bytes:
        confirmation = self.confirmation.encode() if self.confirmation else b""
        return u8(self.TYPE) + u16(self.table) + u32(self.index) + u8(self.status) + confirmation

    def encode(self) -> bytes:
        return self.body() + self.tag


@dataclass(frozen=True)
class Busy:
    TYPE: ClassVar[int] = 7
    table: int
    index: int

    def encode(self) -> bytes:
        return u8(self.TYPE) + u16(self.table) + u32(self.index)


@dataclass(frozen=True)
class Confirm:
    TYPE: ClassVar[int] = 8
    key_id: bytes
    peer: bytes
    confirmation: Confirmation

    def encode(self) -> bytes:
        return u8(self.TYPE) + self.key_id + self.peer + self.confirmation.encode()


@dataclass(frozen=True)
class Fetch:
    TYPE: ClassVar[int] = 9

    def encode(self) -> bytes:
        return u8(self.TYPE)


@dataclass(frozen=True)
class Fetched:
    TYPE: ClassVar[int] = 10
    waiting: int

    def encode(self) -> bytes:
        return u8(self.TYPE) + u16(self.waiting)


class OutcomeStatus(IntEnum):
    """D "Commands". Others are final too, and stay integers."""

    DONE = 0
    UNKNOWN = 1
    SENT = 2
    ANSWERED = 3
    TOO_MANY = 4


@dataclass(frozen=True)
class Offer:
    """What a responder accepts (D "Offers")."""

    threshold: int
    information_theoretic: bool
    lifetime: int
    suites: tuple[int, ...]
    coordinates: tuple[int, ...]

    def encode(self) -> bytes:
        return (
            u8(self.threshold)
            + u8(self.information_theoretic)
            + u16(self.lifetime)
            + u8(len(self.suites))
            + bytes(self.suites)
            + u8(len(self.coordinates))
            + bytes(self.coordinates)
        )


@dataclass(frozen=True)
class Lookup:
    TYPE: ClassVar[int] = 30
    name: bytes

    def encode(self) -> bytes:
        return self.name


@dataclass(frozen=True)
class Publish:
    TYPE: ClassVar[int] = 31
    offer: Offer | None

    def encode(self) -> bytes:
        return self.offer.encode() if self.offer else b""


@dataclass(frozen=True)
class Withdraw:
    TYPE: ClassVar[int] = 32
    key_id: bytes

    def encode(self) -> bytes:
        return self.key_id


@dataclass(frozen=True)
class Authorise:
    TYPE: ClassVar[int] = 33
    allowed: bool
    client: bytes

    def encode(self) -> bytes:
        return u8(self.allowed) + self.client


@dataclass(frozen=True)
class Command:
    """LOOKUP, PUBLISH, WITHDRAW, AUTHORISE: one head, and a body of its own."""

    table: int
    index: int
    floor: int
    what: Lookup | Publish | Withdraw | Authorise
    tag: bytes

    def body(self) -> bytes:
        return u8(self.what.TYPE) + u16(self.table) + u32(self.index) + u32(self.floor) + self.what.encode()

    def encode(self) -> bytes:
        return self.body() + self.tag


@dataclass(frozen=True)
class Found:
    client: bytes
    offer: Offer | None

    def encode(self) -> bytes:
        return self.client + (self.offer.encode() if self.offer else b"")


@dataclass(frozen=True)
class Outcome:
    TYPE: ClassVar[int] = 34
    table: int
    index: int
    status: int
    found: Found | None
    tag: bytes

    def body(self) -> bytes:
        found = self.found.encode() if self.found else b""
        return u8(self.TYPE) + u16(self.table) + u32(self.index) + u8(self.status) + found

    def encode(self) -> bytes:
        return self.body() + self.tag


@dataclass(frozen=True)
class Refill:
    """1 to 64 elements of a new table (D "Refill over the network")."""

    TYPE: ClassVar[int] = 20
    direction: int
    table: int
    elements: int
    first: int
    pad: bytes

    def encode(self) -> bytes:
        return (
            u8(self.TYPE) + u8(self.direction) + u16(self.table) + u32(self.elements) + u32(self.first) + self.pad
        )


@dataclass(frozen=True)
class Refilled:
    TYPE: ClassVar[int] = 21
    direction: int
    table: int
    next: int

    def encode(self) -> bytes:
        return u8(self.TYPE) + u8(self.direction) + u16(self.table) + u32(self.next)


@dataclass(frozen=True)
class Several:
    """Messages about keys that share an envelope. What is in each of them is for its own decoder to judge."""

    TYPE: ClassVar[int] = 14
    LONGEST: ClassVar[int] = 8192
    FRAME: ClassVar[int] = 2
    # UPLOAD, DELIVERY, ANSWER, BUSY, CONFIRM, and what is sealed in epochs.
    ADMITTED: ClassVar[frozenset[int]] = frozenset((4, 5, 6, 7, 8, 11, 12, 13))
    messages: tuple[bytes, ...]

    @staticmethod
    def admits(message: bytes) -> bool:
        return bool(message) and message[0] in Several.ADMITTED

    def encode(self) -> bytes:
        return u8(self.TYPE) + b"".join(u16(len(message)) + message for message in self.messages)


Inner = (
    LeaseRequest
    | LeaseGrant
    | LeaseDenied
    | Share
    | Answer
    | Busy
    | Confirm
    | Fetch
    | Fetched
    | Refill
    | Refilled
    | Command
    | Outcome
    | Several
)


def bitmap_length(hubs: int) -> int:
    return -(-hubs // 8)


def unused_bits(bitmap: bytes, hubs: int) -> int:
    """The bits beyond the n-th hub. Bit i mod 8, from the least significant, of octet i / 8 belongs to the i-th."""
    return int.from_bytes(bitmap, "little") >> hubs


def bitmap(marks: list[bool]) -> bytes:
    number = sum(1 << i for i, mark in enumerate(marks) if mark)
    return number.to_bytes(bitmap_length(len(marks)), "little")


def named(marks: bytes, coordinates: tuple[int, ...]) -> tuple[int, ...]:
    """The coordinates whose bits are set."""
    bits = int.from_bytes(marks, "little")
    return tuple(x for i, x in enumerate(coordinates) if bits >> i & 1)


def secret_block_elements(key_length: int) -> int:
    """L = 5 + K'/16 (D "The secret block and its shares")."""
    return 5 + -(-key_length // 16)


def decode_inner(octets: bytes) -> Inner:
    reader = Reader(octets)
    kind = reader.number(1)
    message: Inner
    if kind == LeaseRequest.TYPE:
        message = LeaseRequest(reader.number(2), reader.take(16), reader.number(4), reader.number(4))
    elif kind == LeaseGrant.TYPE:
        message = LeaseGrant(
            reader.number(2), reader.take(16), reader.number(4), reader.number(4), reader.take(TAG)
        )
        if message.end - message.start < 2:
            raise DecodeError("a lease has at least its two head elements")
    elif kind == LeaseDenied.TYPE:
        message = LeaseDenied(reader.number(2), reader.take(16), reader.number(4))
    elif kind in (Upload.TYPE, Delivery.TYPE):
        message = _decode_share(kind, reader)
    elif kind == Answer.TYPE:
        message = _decode_answer(reader)
    elif kind == Busy.TYPE:
        message = Busy(reader.number(2), reader.number(4))
    elif kind == Confirm.TYPE:
        message = Confirm(reader.take(16), reader.take(16), _decode_confirmation(reader, reader.left))
    elif kind == Fetch.TYPE:
        message = Fetch()
    elif kind == Fetched.TYPE:
        message = Fetched(reader.number(2))
    elif kind == Refill.TYPE:
        message = _decode_refill(reader)
    elif kind == Refilled.TYPE:
        message = Refilled(_decode_direction(reader), reader.number(2), reader.number(4))
    elif Lookup.TYPE <= kind <= Authorise.TYPE:
        message = _decode_command(kind, reader)
    elif kind == Outcome.TYPE:
        message = _decode_outcome(reader)
    elif kind == Several.TYPE:
        message = _decode_several(reader)
    else:
        raise DecodeError("unknown type")
    reader.end()
    return message


def _decode_terms(reader: Reader) -> Terms:
    suite, threshold, hubs = reader.number(1), reader.number(1), reader.number(1)
    if not 2 <= hubs <= MAX_HUBS:
        raise DecodeError("2 to 31 hubs")
    if not 2 <= threshold <= hubs:
        raise DecodeError("a threshold is 2 to n")
    key_length, lifetime = reader.number(4), reader.number(2)
    if not 16 <= key_length <= 1_048_576:
        raise DecodeError("a key has 16 to 1,048,576 octets")
    if not lifetime:
        raise DecodeError("a lifetime is at least a second")
    coordinates = tuple(reader.take(hubs))
    if 0 in coordinates or any(a >= b for a, b in zip(coordinates, coordinates[1:])):
        raise DecodeError("coordinates are strictly ascending, none zero")
    origins = reader.take(bitmap_length(hubs))
    if unused_bits(origins, hubs):
        raise DecodeError("bits beyond the n-th hub are zero")
    return Terms(suite, threshold, key_length, lifetime, coordinates, origins)


def decode_terms(octets: bytes) -> Terms:
    reader = Reader(octets)
    terms = _decode_terms(reader)
    reader.end()
    return terms


def decode_confirmation(octets: bytes) -> Confirmation:
    return _decode_confirmation(Reader(octets), len(octets))


def _decode_share(kind: int, reader: Reader) -> Share:
    table, index, floor = reader.number(2), reader.number(4), reader.number(4)
    key_id, peer = reader.take(16), reader.take(16)
    terms = _decode_terms(reader)
    secret_tag = reader.take(16)
    length = reader.left - TAG
    full = 16 * secret_block_elements(terms.key_length)
    # Only an upload may be direct.
    if length != full and not (kind == Upload.TYPE and length == 0):
        raise DecodeError("a share of another length than the key's")
    share = reader.take(length)
    message = Upload if kind == Upload.TYPE else Delivery
    return message(table, index, floor, key_id, peer, terms, secret_tag, share, reader.take(TAG))


def _decode_answer(reader: Reader) -> Answer:
    table, index, status = reader.number(2), reader.number(4), reader.number(1)
    length = reader.left - TAG
    confirmation = None
    if length > 0:
        if status != Status.ACCEPTED:
            raise DecodeError("a confirmation beside a refusal")
        confirmation = _decode_confirmation(reader, length)
    return Answer(table, index, status, confirmation, reader.take(TAG))


def _decode_confirmation(reader: Reader, length: int) -> Confirmation:
    """Two bitmaps of 1 to 4 octets, one as long as the other, and the tag of B: the length tells how long they are."""
    bitmaps = length - TAG
    if bitmaps % 2 or not 1 <= bitmaps // 2 <= bitmap_length(MAX_HUBS):
        raise DecodeError("no two bitmaps of one to four octets")
    return Confirmation(reader.take(bitmaps // 2), reader.take(bitmaps // 2), reader.take(TAG))


def _decode_command(kind: int, reader: Reader) -> Command:
    table, index, floor = reader.number(2), reader.number(4), reader.number(4)
    body = Reader(reader.take(reader.left - TAG))
    what: Lookup | Publish | Withdraw | Authorise
    if kind == Lookup.TYPE:
        if not 1 <= body.left <= 64:
            raise DecodeError("a name has 1 to 64 octets")
        what = Lookup(body.take(body.left))
    elif kind == Publish.TYPE:
        what = Publish(_decode_offer(body) if body.left else None)
    elif kind == Withdraw.TYPE:
        what = Withdraw(body.take(16))
    else:
        what = Authorise(_decode_flag(body), body.take(16))
    body.end()
    return Command(table, index, floor, what, reader.take(TAG))


def _decode_outcome(reader: Reader) -> Outcome:
    table, index, status = reader.number(2), reader.number(4), reader.number(1)
    rest = Reader(reader.take(reader.left - TAG))
    found = None
    if rest.left:
        if status != OutcomeStatus.DONE:
            raise DecodeError("somebody found beside another status than DONE")
        found = Found(rest.take(16), _decode_offer(rest) if rest.left else None)
    rest.end()
    return Outcome(table, index, status, found, reader.take(TAG))


def _decode_several(reader: Reader) -> Several:
    if 1 + reader.left > Several.LONGEST:
        raise DecodeError("more than 8192 octets")
    messages = []
    while reader.left:
        messages.append(reader.take(reader.number(Several.FRAME)))
    if len(messages) < 2:
        raise DecodeError("two messages at least")
    if not all(map(Several.admits, messages)):
        raise DecodeError("nothing, or a message that may not be there")
    return Several(tuple(messages))


def each(octets: bytes) -> tuple[bytes, ...]:
    """The messages in an envelope, none of which is decoded: one, or those of a SEVERAL."""
    if octets[:1] != u8(Several.TYPE):
        return (octets,)
    several = decode_inner(octets)
    assert isinstance(several, Several)
    return several.messages


def _decode_refill(reader: Reader) -> Refill:
    direction, table = _decode_direction(reader), reader.number(2)
    elements, first = reader.number(4), reader.number(4)
    pad = reader.take(reader.left)
    if len(pad) % 16 or not 1 <= len(pad) // 16 <= 64:
        raise DecodeError("1 to 64 whole elements")
    if first + len(pad) // 16 > elements:
        raise DecodeError("elements beyond the table")
    return Refill(direction, table, elements, first, pad)


def _decode_direction(reader: Reader) -> int:
    direction = reader.number(1)
    if direction > 1:
        raise DecodeError("a direction is 0 or 1")
    return direction


def _decode_flag(reader: Reader) -> bool:
    flag = reader.number(1)
    if flag > 1:
        raise DecodeError("0 or 1")
    return flag == 1


def _decode_offer(reader: Reader) -> Offer:
    threshold, information_theoretic, lifetime = reader.number(1), _decode_flag(reader), reader.number(2)
    suites = tuple(reader.take(reader.number(1)))
    coordinates = tuple(reader.take(reader.number(1)))
    if not 1 <= len(suites) <= 8:
        raise DecodeError("1 to 8 suites")
    if not 2 <= len(coordinates) <= MAX_HUBS:
        raise DecodeError("2 to 31 hubs")
    if not 2 <= threshold <= len(coordinates):
        raise DecodeError("a threshold is 2 to n")
    if not lifetime:
        raise DecodeError("a lifetime is at least a second")
    for row in (suites, coordinates):
        if 0 in row or any(a >= b for a, b in zip(row, row[1:])):
            raise DecodeError("strictly ascending, none zero")
    return Offer(threshold, information_theoretic, lifetime, suites, coordinates)


def decode_offer(octets: bytes) -> Offer:
    reader = Reader(octets)
    offer = _decode_offer(reader)
    reader.end()
    return offer


# ---- the input of one-time tags

UPLINK = 0
DOWNLINK = 1


def tag_input(direction: int, client_id: int, hub_id: bytes, body: bytes) -> bytes:
    """direction (1) | client id (4) | hub id (16) | octets before the tag (D "Tag input")."""
    return u8(direction) + u32(client_id) + hub_id + body
