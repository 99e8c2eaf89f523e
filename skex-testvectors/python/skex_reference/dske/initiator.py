"""A key that this client asks for, from the request to the confirmation (D "Initiator")."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..octets import xor
from ..suites import equal
from . import key as keys
from . import ledger, sharing, wire
from .link import Backoff

if TYPE_CHECKING:
    from .client import Client

# D "Timers", in seconds.
GRACE = 0.5
FALSE_CONFIRMS = 16


@dataclass
class Part:
    """What concerns one hub."""

    share: bytes = b""
    block: ledger.Block | None = None
    upload: bytes = b""
    status: int | None = None
    backoff: Backoff = field(default_factory=lambda: Backoff(0.0))
    false_confirms: int = 0


class Request:
    def __init__(
        self, client: Client, now: float, peer: bytes, threshold: int, length: int, lifetime: int
    ) -> None:
        hubs = client.config.hubs
        if not 2 <= threshold <= len(hubs) or not 16 <= length <= 1_048_576:
            raise ValueError("a request outside the limits")
        self._client = client
        self._peer = peer
        self.key_id = client.random(16)
        self.done = False
        origins = [hub.link.uplink.origin for hub in hubs]
        self._terms = wire.Terms(
            keys.ITS,
            threshold,
            length,
            lifetime,
            tuple(hub.coordinate for hub in hubs),
            wire.bitmap([origin == 1 for origin in origins]),
        )
        self._context = keys.context(
            keys.ITS,
            self.key_id,
            client.config.tag,
            peer,
            threshold,
            length,
            lifetime,
            [keys.HubOfKey(hub.link.hub_id, hub.coordinate, origin) for hub, origin in zip(hubs, origins)],
        )
        self._elements = 4 + wire.secret_block_elements(length)
        self._ends = now + lifetime
        self._ready: float | None = None
        self._parts = [Part() for _ in hubs]
        self._block = b""
        self._secret_tag = b""
        self._fetch = Backoff(now)

    @property
    def _sharing(self) -> bool:
        return bool(self._block)

    # ---- steps

    def step(self, now: float) -> None:
        if self.done:
            return
        if now >= self._ends:
            self._refuse()
        elif not self._sharing:
            self._gather(now)
        else:
            self._share(now)

    def _gather(self, now: float) -> None:
        client = self._client
        leased = [i for i in range(len(self._parts)) if client.ends[i].sender.has_room(self._elements)]
        for i in range(len(self._parts)):
            if i not in leased:
                client.ask_for_lease(now, i, self._elements)
        if len(leased) < self._terms.threshold:
            return
        self._ready = self._ready if self._ready is not None else now
        if len(leased) == len(self._parts) or now >= self._ready + GRACE:
            self._make(now, leased)

    def _make(self, now: float, leased: list[int]) -> None:
        """The key and its shares: those of the direct hubs are the pads of their blocks."""
        client, terms = self._client, self._terms
        points: dict[int, bytes] = {}
        for i in leased:
            if len(points) < terms.threshold - 1 and self._take_block(i):
                block = self._parts[i].block
                assert block is not None
                points[terms.coordinates[i]] = block.pad
        if len(points) < terms.threshold - 1:
            return
        u, key = client.random(48), client.random(terms.key_length)
        self._block = keys.secret_block(u, key, client.random(keys.CONFIRM_KEY))
        self._secret_tag = keys.tag_of_block(self._block, self._context)
        points[0] = self._block
        for part, x in zip(self._parts, terms.coordinates):
            part.share = sharing.interpolate(points, x)
        for i, part in enumerate(self._parts):
            if part.block is not None:
                self._make_upload(i, b"")
        self._share(now)

    def _take_block(self, hub: int) -> bool:
        ends = self._client.ends[hub]
        index = ends.sender.allocate(self._elements)
        if index is None:
            return False
        self._parts[hub].block = ledger.block_at(ends.sender.table, index, self._elements)
        ends.sender.table.erase(index, index + self._elements)
        return True

    def _make_upload(self, hub: int, masked: bytes) -> None:
        part, ends = self._parts[hub], self._client.ends[hub]
        assert part.block is not None
        index = part.block.index
        unsigned = wire.Upload(
            ends.sender.table.number,
            index,
            index,
            self.key_id,
            self._peer,
            self._terms,
            self._secret_tag,
            masked,
            b"",
        )
        body = unsigned.body()
        part.upload = body + ends.tagger.tag(part.block.message_key, wire.UPLINK, body)

    def _share(self, now: float) -> None:
        client = self._client
        for i, part in enumerate(self._parts):
            if part.status is not None or not client.is_open(i):
                continue
            if part.block is None:
                # Not direct: in full, as soon as its lease allows.
                if not client.ends[i].sender.has_room(self._elements) or not self._take_block(i):
                    client.ask_for_lease(now, i, self._elements)
                    continue
                assert part.block is not None
                self._make_upload(i, xor(part.share, part.block.pad))
                part.backoff = Backoff(now)
            if now >= part.backoff.due:
                client.send(i, part.upload)
                part.backoff.again(now)
        accepted = [i for i, part in enumerate(self._parts) if part.status == wire.Status.ACCEPTED]
        if len(accepted) >= self._terms.threshold and now >= self._fetch.due:
            if self._fetch.sent:
                for i in accepted:
                    client.fetch(now, i)
            self._fetch.again(now)

    # ---- what comes

    def new_session(self, hub: int) -> None:
        """The share of a hub whose answer is missing goes again, in full, in a new block."""
        part = self._parts[hub]
        if self._sharing and part.status is None:
            part.block = None

    def answer(self, hub: int, message: wire.Answer) -> None:
        part, ends = self._parts[hub], self._client.ends[hub]
        block = part.block
        if not self._sharing or block is None or part.status is not None:
            return
        if (message.table, message.index) != (ends.sender.table.number, block.index):
            return
        if message.confirmation is not None or not ends.answer_verifies(message, block):
            return
        part.status = message.status
        refused = [other for other in self._parts if other.status not in (None, wire.Status.ACCEPTED)]
        if len(self._parts) - len(refused) < self._terms.threshold:
            self._refuse()

    def confirm(self, hub: int, message: wire.Confirm) -> None:
        part, confirmation = self._parts[hub], message.confirmation
        if self.done or not self._sharing or message.peer != self._peer or part.false_confirms >= FALSE_CONFIRMS:
            return
        if not confirmation.fits(self._terms.hubs):
            return
        confirm_key = keys.confirm_key_of_block(self._block)
        tag = keys.confirmation_tag(confirm_key, self._context, confirmation.origins, confirmation.lying)
        if not equal(tag, confirmation.tag):
            part.false_confirms += 1
            return
        from .client import Confirmed

        key = keys.key_of_block(self._block, self._terms.key_length)
        lying = wire.named(confirmation.lying, self._terms.coordinates)
        self._client.effects.append(Confirmed(self.key_id, key, lying))
        self.done = True

    def _refuse(self) -> None:
        from .client import Refused

        statuses = tuple(part.status for part in self._parts if part.status is not None)
        self._client.effects.append(Refused(self.key_id, statuses))
        self.done = True
