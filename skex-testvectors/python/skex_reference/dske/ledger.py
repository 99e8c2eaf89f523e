"""The ledger of pre-shared random data: no element is ever used for two purposes (D "Ledger")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from . import tags, wire

# Two elements of head, and a block: the smallest one, of an epoch or a command, has no pad.
HEAD = 2
SMALLEST_BLOCK = 4
# Room for four blocks of the longest key: more is never granted at once.
LONGEST_LEASE = 262_182
MAX_FAILED = 4096
MAX_INTERVALS = 256
# The mark or high water of a table that was taken out of service: above every element.
RETIRED = 0xFFFFFFFF


class Table(Protocol):
    """One table: elements of 16 octets, numbered from 0."""

    number: int
    origin: int

    def __len__(self) -> int: ...

    @property
    def held(self) -> int:
        """The elements from 0 up to here are there; further portions bring the others (D "Portions")."""
        ...

    def read(self, first: int, count: int) -> bytes: ...

    def erase(self, first: int, end: int) -> None: ...


def holds_erased(table: Table, first: int, count: int) -> int | None:
    """The last element of the range that is all zero: it was erased, whatever the records say."""
    octets = table.read(first, count)
    erased = [i for i in range(count) if not any(octets[16 * i : 16 * i + 16])]
    return first + erased[-1] if erased else None


@dataclass(frozen=True)
class Block:
    """4 + L elements: answer key, message key, pad (D "Blocks")."""

    index: int
    answer_key: bytes
    message_key: bytes
    pad: bytes


def block_at(table: Table, index: int, elements: int) -> Block:
    octets = table.read(index, elements)
    return Block(index, octets[:32], octets[32:64], octets[64:])


@dataclass
class _End:
    """What both ends of a table do alike."""

    table: Table

    def __post_init__(self) -> None:
        # Everything below is erased. Found out anew at a start: it costs to write zeros over zeros.
        self._erased = 0

    def erase_below(self, limit: int) -> None:
        """What no later start can want any more (D "Erasure"). Where that is not durable yet, and a crash undoes it, zeros are refused as
        a key by either end."""
        limit = min(limit, self.table.held)
        if limit > self._erased:
            self.table.erase(self._erased, limit)
            self._erased = limit


@dataclass
class Sender(_End):
    """The end that allocates. Of this, only `mark` is durable."""

    mark: int = 0
    # The parts of leases that are left, in ascending order.
    room: list[tuple[int, int]] = field(default_factory=list)
    request: wire.LeaseRequest | None = None
    denied: bool = False
    # Leases of this session.
    granted: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.retired:
            self.erase_below(self.mark)

    def may_have_room(self, elements: int) -> bool:
        """Whether a lease could still bring a block of so many elements."""
        return not self.denied and self.mark + HEAD + elements <= self.table.held

    @property
    def used_up(self) -> bool:
        """Not even the smallest lease is left."""
        return self.mark + HEAD + SMALLEST_BLOCK > len(self.table)

    def wants(self, elements: int) -> int:
        """Little at first, then more (D "Operational considerations")."""
        four = 4 * elements + HEAD
        first = four if four <= 4096 else elements + HEAD
        return max(first, min(first << self.granted, len(self.table) // 32, 4096))

    def has_room(self, elements: int) -> bool:
        return any(min(end, self.table.held) - first >= elements for first, end in self.room)

    def ask(self, nonce: bytes, elements: int) -> wire.LeaseRequest:
        """A request. The own mark moves first; the request states the one of before. Durable before it leaves."""
        # Of what comes in later portions nothing is asked for: what a start loses of a lease, it loses of those.
        want = min(self.wants(elements), max(self.table.held - self.mark, HEAD + elements))
        self.request = wire.LeaseRequest(self.table.number, nonce, self.mark, want)
        self.mark = min(self.mark + want, RETIRED)
        return self.request

    def take_grant(self, grant: wire.LeaseGrant, verify: Callable[[bytes, wire.LeaseGrant], bool]) -> bool:
        """Whether it is the answer to the open request. The mark is durable before anything under the lease leaves."""
        asked = self.request
        if asked is None or grant.nonce != asked.nonce or grant.table != asked.table:
            return False
        if grant.start < asked.mark or grant.end > len(self.table) or not 3 <= grant.end - grant.start <= asked.want:
            return False
        key = self.table.read(grant.start, HEAD) if grant.start + HEAD <= self.table.held else b""
        if not any(key):
            # Erased here, or not there yet: such a grant can never be verified, and is given up.
            self.request = None
            return False
        if not verify(key, grant):
            return False
        self.request = None
        self.granted += 1
        self.mark = max(self.mark, grant.end)
        self.room.append((grant.start + HEAD, grant.end))
        return True

    def take_denied(self, denied: wire.LeaseDenied) -> bool:
        """The table counts as used up until the next session."""
        if self.request is None or denied.nonce != self.request.nonce:
            return False
        self.request, self.denied = None, True
        return True

    def allocate(self, elements: int) -> int | None:
        """The first element of a new block; what is skipped is lost."""
        while self.room:
            first, end = self.room.pop(0)
            if first + elements > self.table.held and end - first >= elements:
                self.room.insert(0, (first, end))
                return None
            erased = holds_erased(self.table, first, elements) if end - first >= elements else None
            if erased is not None:
                self.room.insert(0, (erased + 1, end))
                continue
            if end - first >= elements:
                self.room.insert(0, (first + elements, end))
                return first
        return None

    def retire(self) -> None:
        self.end_session()
        self.mark = RETIRED

    @property
    def retired(self) -> bool:
        return self.mark == RETIRED

    def end_session(self) -> None:
        """The unused rest is lost, and erased."""
        self.room, self.request, self.denied, self.granted = [], None, False, 0
        self.erase_below(self.mark)


@dataclass
class Receiver(_End):
    """The end that grants and opens. Of this, only `high_water` is durable."""

    high_water: int = 0
    leases: list[tuple[int, int]] = field(default_factory=list)
    used: list[tuple[int, int]] = field(default_factory=list)
    last_grant: wire.LeaseGrant | None = None
    last_mark: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.retired:
            self.erase_below(self.high_water)

    @property
    def used_up(self) -> bool:
        return self.high_water + HEAD + SMALLEST_BLOCK > len(self.table)

    def grant(
        self, request: wire.LeaseRequest, sign: Callable[[bytes, bytes], bytes]
    ) -> wire.LeaseGrant | wire.LeaseDenied | None:
        """The answer, if there is one. The high water is durable before it leaves."""
        if self.last_grant and self.last_grant.nonce == request.nonce:
            return self.last_grant
        if self.last_grant and request.mark <= self.last_mark:
            # A repetition that came late.
            return None
        start = max(request.mark, self.high_water)
        while True:
            end = min(start + min(request.want, LONGEST_LEASE), self.table.held)
            if end - start < HEAD + SMALLEST_BLOCK:
                return wire.LeaseDenied(request.table, request.nonce, self.high_water)
            erased = holds_erased(self.table, start, end - start)
            if erased is None:
                break
            start = erased + 1
        unsigned = wire.LeaseGrant(request.table, request.nonce, start, end, b"")
        tag = sign(self.table.read(start, HEAD), unsigned.body())
        self.last_grant = wire.LeaseGrant(request.table, request.nonce, start, end, tag)
        self.high_water, self.last_mark, self.failed = end, request.mark, 0
        self.leases.append((start, end))
        return self.last_grant

    def opens(self, index: int, elements: int) -> bool:
        """Whether a block lies wholly inside leases of this session, outside their heads, and overlaps nothing used."""
        if self.failed >= MAX_FAILED:
            return False
        end = index + elements
        if not any(start + HEAD <= index and end <= limit for start, limit in self.leases):
            return False
        if any(index < used_end and used < end for used, used_end in self.used) or len(self.used) >= MAX_INTERVALS:
            return False
        return holds_erased(self.table, index, elements) is None

    def use(self, index: int, elements: int, floor: int) -> None:
        """Only after its message tag verified. Nothing that begins below `floor` will come again."""
        self.used = _merged([*self.used, (index, index + elements)])
        self.table.erase(index, index + elements)
        self.erase_below(min(floor, self.high_water))

    def retire(self) -> None:
        self.end_session()
        self.high_water = RETIRED

    @property
    def retired(self) -> bool:
        return self.high_water == RETIRED

    def end_session(self) -> None:
        self.leases, self.used, self.last_grant, self.failed = [], [], None, 0
        self.erase_below(self.high_water)


def _merged(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, end in sorted(intervals):
        if merged and merged[-1][1] == first:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((first, end))
    return merged


def tag(key: bytes, direction: int, client_id: int, hub_id: bytes, body: bytes) -> bytes:
    return tags.message_tag(key, wire.tag_input(direction, client_id, hub_id, body))
