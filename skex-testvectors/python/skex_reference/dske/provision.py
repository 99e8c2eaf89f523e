"""The provisioning file of one link (D "Provisioning file")."""

from __future__ import annotations

from dataclasses import dataclass, replace
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


def carries_key(octets: bytes) -> bool:
    """Whether it says so, not verified."""
    return octets[len(MAGIC) + 1 : len(MAGIC) + 2] == b"\1"


@dataclass(frozen=True)
class Chunk:
    """Elements of a part as they lie in a file, from this octet of it on."""

    first: int
    octets: bytes
    tag: bytes
    at: int


def decode(octets: bytes, k0: bytes | None = None) -> File:
    """Reads a file, and verifies every tag, under the K0 in it or that of before."""
    link, carried, parts = _parse(octets)
    key = carried if carried is not None else k0
    if key is None:
        raise ValueError("the initial key is needed")
    tag_key = provision_key(link, key)
    for part, chunks in parts:
        for chunk in chunks:
            count = len(chunk.octets) // ELEMENT
            tag = SUITES[link.suite].mac(tag_key, part.tagged(link, chunk.first, count, chunk.octets))
            if not equal(tag, chunk.tag):
                raise NotAuthentic("a chunk is not what was tagged")
    return File(link, carried, tuple((part, b"".join(chunk.octets for chunk in chunks)) for part, chunks in parts))


def _parse(octets: bytes) -> tuple[Link, bytes | None, list[tuple[Part, list[Chunk]]]]:
    """A file, of which no tag is verified yet."""
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
    read = [(part, [_chunk(reader, octets, first, count) for first, count in part.chunks()]) for part in parts]
    reader.end()
    return link, carried, read


def _chunk(reader: Reader, octets: bytes, first: int, count: int) -> Chunk:
    at = len(octets) - reader.left
    return Chunk(first, reader.take(ELEMENT * count), reader.take(TAG), at)


# ---- portions (D "Portions")


def portion(octets: bytes, first: int, end: int) -> bytes:
    """A file with what one holds of each table in [first, end), of whole chunks. It takes no key: chunks and tags go as they are."""
    link, k0, parts = _parse(octets)
    k0 = k0 if first == 0 else None
    head, body = b"", b""
    cut = 0
    for part, chunks in parts:
        taken = [chunk for chunk in chunks if first <= chunk.first < end]
        if taken:
            cut += 1
            head += replace(part, first=taken[0].first, end=min(end, part.end)).encode()
            body += b"".join(chunk.octets + chunk.tag for chunk in taken)
    if not cut:
        raise ValueError(f"nothing is left from {first} on")
    head = MAGIC + u8(VERSION) + u8(k0 is not None) + link.encode() + (k0 or b"") + u16(cut) + head
    return head + sha256(head).digest()[:CHECKSUM] + body


def handed_out(octets: bytes, end: int) -> list[tuple[int, int]]:
    """Where in a file the chunks below `end` lie: octet, and length."""
    _, _, parts = _parse(octets)
    return [
        (chunk.at, len(chunk.octets) + TAG) for _, chunks in parts for chunk in chunks if chunk.first < end
    ]


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
