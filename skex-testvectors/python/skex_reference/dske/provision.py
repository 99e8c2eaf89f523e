"""The provisioning file of one link (D "Provisioning file")."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from ..octets import DecodeError, Reader, u8, u16, u32
from ..schedule import expand
from ..suites import SUITES, NotAuthentic, equal
from .envelope import prk0
from .tags import ELEMENT

MAGIC = b"SKEXPRV"
VERSION = 1
CHECKSUM = 16
TAG = 16
CHUNK = 4096
MAX_PARTS = 1024


@dataclass(frozen=True)
class Link:
    """The 38 octets that name a link."""

    hub_id: bytes
    coordinate: int
    client_tag: bytes
    client_id: int
    suite: int

    def encode(self) -> bytes:
        return self.hub_id + u8(self.coordinate) + self.client_tag + u32(self.client_id) + u8(self.suite)


@dataclass(frozen=True)
class Part:
    """The range [first, end) of the elements of a table."""

    direction: int
    origin: int
    number: int
    elements: int
    first: int
    end: int

    def _table(self) -> bytes:
        return u8(self.direction) + u8(self.origin) + u16(self.number) + u32(self.elements)

    def encode(self) -> bytes:
        return self._table() + u32(self.first) + u32(self.end)

    def chunks(self) -> list[tuple[int, int]]:
        """First element and number of elements of each chunk."""
        return [(first, min(CHUNK, self.end - first)) for first in range(self.first, self.end, CHUNK)]

    def tagged(self, link: Link, first: int, count: int, octets: bytes) -> bytes:
        return link.encode() + self._table() + u32(first) + u32(count) + octets


@dataclass(frozen=True)
class File:
    """What a file brings: `octets` of a part are those of its elements, without tags."""

    link: Link
    k0: bytes | None
    parts: tuple[tuple[Part, bytes], ...]

    def encode(self, k0: bytes) -> bytes:
        """The file, tagged under the link's K0, whether it carries that or not."""
        head = MAGIC + u8(VERSION) + u8(self.k0 is not None) + self.link.encode() + (self.k0 or b"")
        head += u16(len(self.parts)) + b"".join(part.encode() for part, _ in self.parts)
        octets = head + sha256(head).digest()[:CHECKSUM]
        key = provision_key(self.link, k0)
        for part, elements in self.parts:
            for first, count in part.chunks():
                at = ELEMENT * (first - part.first)
                chunk = elements[at : at + ELEMENT * count]
                octets += chunk + SUITES[self.link.suite].mac(key, part.tagged(self.link, first, count, chunk))
        return octets


def provision_key(link: Link, k0: bytes) -> bytes:
    suite = SUITES[link.suite]
    return expand(suite, prk0(suite, k0), "skex d1 provision", link.hub_id, 32)


def identity(octets: bytes) -> Link:
    """Whose link the file is for, not verified."""
    reader = Reader(octets)
    reader.take(len(MAGIC) + 2)
    return Link(reader.take(16), reader.number(1), reader.take(16), reader.number(4), reader.number(1))


def decode(octets: bytes, k0: bytes | None = None) -> File:
    """Reads a file, and verifies every tag, under the K0 in it or that of before."""
    reader = Reader(octets)
    if reader.take(len(MAGIC)) != MAGIC:
        raise DecodeError("no provisioning file")
    if reader.number(1) != VERSION:
        raise DecodeError("another version")
    carries = reader.number(1)
    if carries > 1:
        raise DecodeError("F is 0 or 1")
    link = Link(reader.take(16), reader.number(1), reader.take(16), reader.number(4), reader.number(1))
    if link.suite not in SUITES or not link.coordinate:
        raise DecodeError("no such link")
    carried = reader.take(32) if carries else None
    parts = [_part(reader) for _ in range(reader.number(2))]
    names = [(part.direction, part.number) for part in parts]
    if len(parts) > MAX_PARTS or names != sorted(set(names)):
        raise DecodeError("at most 1024 parts, in ascending order, no two of one table")
    head = octets[: len(octets) - reader.left]
    if reader.take(CHECKSUM) != sha256(head).digest()[:CHECKSUM]:
        raise NotAuthentic("damaged in the header")
    key = carried if carried is not None else k0
    if key is None:
        raise ValueError("the initial key is needed")
    tag_key = provision_key(link, key)
    read = tuple((part, _elements(reader, link, part, tag_key)) for part in parts)
    reader.end()
    return File(link, carried, read)


def _part(reader: Reader) -> Part:
    part = Part(
        reader.number(1), reader.number(1), reader.number(2), reader.number(4), reader.number(4), reader.number(4)
    )
    if part.direction > 1 or part.origin > 1:
        raise DecodeError("direction and origin are 0 or 1")
    if not part.first < part.end <= part.elements or part.first % CHUNK:
        raise DecodeError("no such range")
    if part.end % CHUNK and part.end != part.elements:
        raise DecodeError("a range ends with a chunk or with the table")
    return part


def _elements(reader: Reader, link: Link, part: Part, key: bytes) -> bytes:
    elements = b""
    for first, count in part.chunks():
        chunk = reader.take(ELEMENT * count)
        tag = SUITES[link.suite].mac(key, part.tagged(link, first, count, chunk))
        if not equal(tag, reader.take(TAG)):
            raise NotAuthentic("a chunk is not what was tagged")
        elements += chunk
    return elements
