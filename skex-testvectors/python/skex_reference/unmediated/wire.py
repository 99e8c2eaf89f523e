"""Messages (U "Messages"). A body is a message without its tag and without what follows the tag."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..octets import DecodeError, Reader, u8

VERSION = 1
LONGEST = 256
MAC = 16
GUARD = 8

VOID = 0x01
STATELESS = 0x02

GOOD_STATUS = 0
VOID_STATUS = 1


def _first_octet(kind: int) -> bytes:
    return u8(VERSION << 4 | kind)


@dataclass(frozen=True)
class First:
    TYPE: ClassVar[int] = 1
    flags: int
    pseudonym: bytes
    nonce: bytes
    offer: tuple[int, ...]
    mac: bytes = b""
    extension: bytes = b""
    cookie: bytes | None = None

    @property
    def attempt(self) -> bytes:
        """How later messages refer to the attempt."""
        return self.nonce[:8]

    @property
    def round(self) -> int:
        """The last four octets of Ni."""
        return int.from_bytes(self.nonce[12:], "big")

    def body(self) -> bytes:
        head = _first_octet(self.TYPE) + u8(self.flags) + self.pseudonym + self.nonce
        return head + u8(len(self.offer)) + bytes(self.offer) + u8(len(self.extension)) + self.extension

    def encode(self) -> bytes:
        cookie = b"" if self.cookie is None else u8(len(self.cookie)) + self.cookie
        return self.body() + self.mac + cookie


@dataclass(frozen=True)
class Second:
    TYPE: ClassVar[int] = 2
    flags: int
    attempt: bytes
    nonce: bytes
    suite: int
    mac: bytes = b""
    # Empty, or one octet: a choice or a refusal (U "Fresh Secret Material"), which is for the machine to say.
    extension: bytes = b""

    def body(self) -> bytes:
        head = _first_octet(self.TYPE) + u8(self.flags) + self.attempt + self.nonce + u8(self.suite)
        return head + u8(len(self.extension)) + self.extension

    def encode(self) -> bytes:
        return self.body() + self.mac


@dataclass(frozen=True)
class Third:
    """The short form."""

    TYPE: ClassVar[int] = 3
    pseudonym: bytes
    mac: bytes = b""
    # Of this version always empty.
    extension: bytes = b""

    def body(self) -> bytes:
        head = _first_octet(self.TYPE) + u8(0) + self.pseudonym
        return head + u8(len(self.extension)) + self.extension

    def encode(self) -> bytes:
        return self.body() + self.mac


@dataclass(frozen=True)
class LongThird:
    """The short form, and what a responder needs to rebuild the first and the second message."""

    TYPE: ClassVar[int] = 5
    third: Third
    first: First = field(hash=False)
    second: Second = field(hash=False)
    guard: bytes = b""

    def body(self) -> bytes:
        first, second = self.first, self.second
        return (
            _first_octet(self.TYPE)
            + self.third.encode()[1:]
            + u8(first.flags)
            + first.nonce
            + u8(len(first.offer))
            + bytes(first.offer)
            + u8(len(first.extension))
            + first.extension
            + u8(second.flags)
            + second.nonce
            + u8(second.suite)
            + u8(len(second.extension))
            + second.extension
        )

    def encode(self) -> bytes:
        return self.body() + self.guard


@dataclass(frozen=True)
class Fourth:
    TYPE: ClassVar[int] = 4
    pseudonym: bytes
    status: int
    mac: bytes = b""

    def body(self) -> bytes:
        return _first_octet(self.TYPE) + u8(0) + self.pseudonym + u8(self.status)

    def encode(self) -> bytes:
        return self.body() + self.mac


@dataclass(frozen=True)
class Cookie:
    TYPE: ClassVar[int] = 6
    attempt: bytes
    cookie: bytes

    def encode(self) -> bytes:
        return _first_octet(self.TYPE) + u8(0) + self.attempt + self.cookie


@dataclass(frozen=True)
class Stale:
    TYPE: ClassVar[int] = 7
    attempt: bytes
    mac: bytes = b""

    def body(self) -> bytes:
        return _first_octet(self.TYPE) + u8(0) + self.attempt

    def encode(self) -> bytes:
        return self.body() + self.mac


Message = First | Second | Third | LongThird | Fourth | Cookie | Stale


def decode(octets: bytes) -> Message:
    """Refuses what a receiver MUST discard without looking at its state."""
    if len(octets) > LONGEST:
        raise DecodeError("more than 256 octets")
    reader = Reader(octets)
    first_octet = reader.number(1)
    if first_octet >> 4 != VERSION:
        raise DecodeError("unknown version")
    message: Message
    match first_octet & 15:
        case First.TYPE:
            message = _decode_first(reader)
        case Second.TYPE:
            flags = _flags(reader, VOID | STATELESS)
            attempt, nonce = reader.take(8), reader.take(16)
            suite, extension = _suite(reader), _extension(reader)
            message = Second(flags, attempt, nonce, suite, reader.take(MAC), extension)
        case Third.TYPE:
            message = _decode_third(reader)
        case LongThird.TYPE:
            message = _decode_long_third(reader)
        case Fourth.TYPE:
            _flags(reader, 0)
            pseudonym, status = reader.take(8), reader.number(1)
            if status not in (GOOD_STATUS, VOID_STATUS):
                raise DecodeError("unknown status")
            message = Fourth(pseudonym, status, reader.take(MAC))
        case Cookie.TYPE:
            _flags(reader, 0)
            message = Cookie(reader.take(8), reader.take(16))
        case Stale.TYPE:
            _flags(reader, 0)
            message = Stale(reader.take(8), reader.take(MAC))
        case _:
            raise DecodeError("unknown type")
    reader.end()
    return message


def _flags(reader: Reader, known: int) -> int:
    flags = reader.number(1)
    if flags & ~known:
        raise DecodeError("unknown flags")
    return flags


def _suite(reader: Reader) -> int:
    suite = reader.number(1)
    if suite == 0:
        raise DecodeError("0x00 is not a suite")
    return suite


def _offer(reader: Reader) -> tuple[int, ...]:
    number = reader.number(1)
    if not 1 <= number <= 8:
        raise DecodeError("an offer has 1 to 8 suites")
    offer = tuple(_suite(reader) for _ in range(number))
    if len(set(offer)) != number:
        raise DecodeError("a suite twice")
    return offer


def _extension(reader: Reader) -> bytes:
    length = reader.number(1)
    if length > 56:
        raise DecodeError("an extension block has at most 56 octets")
    return reader.take(length)


def _decode_first(reader: Reader) -> First:
    flags = _flags(reader, VOID)
    pseudonym, nonce = reader.take(8), reader.take(16)
    offer = _offer(reader)
    extension = _extension(reader)
    mac = reader.take(MAC)
    cookie = None
    if reader.left:
        if reader.number(1) != 16:
            raise DecodeError("a cookie has 16 octets")
        cookie = reader.take(16)
    return First(flags, pseudonym, nonce, offer, mac, extension, cookie)


def _decode_third(reader: Reader) -> Third:
    _flags(reader, 0)
    pseudonym = reader.take(8)
    extension = _extension(reader)
    return Third(pseudonym, reader.take(MAC), extension)


def _decode_long_third(reader: Reader) -> LongThird:
    third = _decode_third(reader)
    flags, nonce = _flags(reader, VOID), reader.take(16)
    offer = _offer(reader)
    first = First(flags, third.pseudonym, nonce, offer, extension=_extension(reader))
    flags, nonce = _flags(reader, VOID | STATELESS), reader.take(16)
    second = Second(flags, first.attempt, nonce, _suite(reader), extension=_extension(reader))
    return LongThird(third, first, second, reader.take(GUARD))
