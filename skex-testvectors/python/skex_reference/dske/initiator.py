"""A key that this client asks for, from the request to the confirmation (D "Initiator")."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..suites import equal
from . import key as keys
from . import epochs, sharing, wire
from .link import EPOCH_BLOCK, Backoff, Ends, Sending

if TYPE_CHECKING:
    from .client import Client

# D "Timers", in seconds.
GRACE = 0.5
FALSE_CONFIRMS = 16


@dataclass
class Part:
    """What concerns one hub."""

    share: bytes = b""
    # The worst table by which the share may go: what the context says.
    origin: int = 1
    sending: Sending | None = None
    upload: bytes = b""
    status: int | None = None
    backoff: Backoff = field(default_factory=lambda: Backoff(0.0))
    false_confirms: int = 0


class Request:
    def __init__(
        self, client: Client, now: float, peer: bytes, threshold: int, length: int, lifetime: int, suite: int
    ) -> None:
        hubs = client.config.hubs
        if not 2 <= threshold <= len(hubs) or not 16 <= length <= 1_048_576 or suite not in (keys.ITS, *epochs.AEADS):
            raise ValueError("a request outside the limits")
        if peer not in client.config.accepts | client.found:
            raise ValueError("an unknown peer")
        self._client = client
        self._peer = peer
        self._suite = suite
        self._threshold, self._length, self._lifetime = threshold, length, lifetime
        # Of a block of its own, or of that of an epoch.
        self._pad = wire.secret_block_elements(length) if suite == keys.ITS else 0
        self._elements = EPOCH_BLOCK + self._pad
        if sum(ends.may_have_room(self._elements) or self._has_number(ends) for ends in client.ends) < threshold:
            raise ValueError("too little is left of the tables")
        self.key_id = client.random(16)
        self.done = False
        self.ends = now + lifetime
        self._ready: float | None = None
        self._parts = [Part() for _ in hubs]
        self._block = b""
        self._secret_tag = b""
        self._fetch = Backoff(now)

    def _has_number(self, ends: Ends) -> bool:
        return any(epoch.suite == self._suite and epoch.next_number <= 255 for epoch in ends.sending_epochs)

    def _has_room(self, hub: int, worst: int = 1) -> bool:
        ends = self._client.ends[hub]
        return ends.has_room(self._elements, worst) or (self._pad == 0 and self._has_number(ends))

    @property
    def _sharing(self) -> bool:
        return bool(self._block)

    # ---- steps

    def step(self, now: float) -> None:
        if self.done:
            return
        if now >= self.ends:
            self._refuse()
        elif not self._sharing:
            self._gather(now)
        else:
            self._share(now)

    def _gather(self, now: float) -> None:
        client = self._client
        leased = [i for i in range(len(self._parts)) if self._has_room(i)]
        for i in range(len(self._parts)):
            if i not in leased:
                client.ask_for_lease(now, i, self._elements)
        if len(leased) < self._threshold:
            return
        self._ready = self._ready if self._ready is not None else now
        if len(leased) == len(self._parts) or now >= self._ready + GRACE:
            self._make(now, leased)

    def _make(self, now: float, leased: list[int]) -> None:
        """The key and its shares: those of the direct hubs are the pads of their blocks; in a computational suite as
        many shares are drawn."""
        client, hubs = self._client, self._client.config.hubs
        coordinates = [hub.coordinate for hub in hubs]
        points: dict[int, bytes] = {}
        self._state_terms()
        if self._suite == keys.ITS:
            for i in leased:
                if len(points) < self._threshold - 1:
                    self._parts[i].sending = sending = client.ends[i].allocate(self._pad, self._parts[i].origin)
                    if sending is not None:
                        points[coordinates[i]] = sending.pad
            if len(points) < self._threshold - 1:
                return
        u, key = client.random(48), client.random(self._length)
        self._block = keys.secret_block(u, key, client.random(keys.CONFIRM_KEY))
        self._secret_tag = keys.tag_of_block(self._block, self._context)
        if self._suite != keys.ITS:
            for x in coordinates[: self._threshold - 1]:
                points[x] = client.random(len(self._block))
        points[0] = self._block
        for part, x in zip(self._parts, coordinates):
            part.share = sharing.interpolate(points, x)
        for i, part in enumerate(self._parts):
            if part.sending is not None:
                part.upload = self._upload(i, part.sending, None)
        self._share(now)

    def _state_terms(self) -> None:
        """The terms, with the origins of the tables from which the blocks would be taken now."""
        client, hubs = self._client, self._client.config.hubs
        for part, ends in zip(self._parts, client.ends):
            part.origin = ends.origin(self._elements)
        self._terms = wire.Terms(
            self._suite,
            self._threshold,
            self._length,
            self._lifetime,
            tuple(hub.coordinate for hub in hubs),
            wire.bitmap([part.origin == 1 for part in self._parts]),
        )
        self._context = keys.context(
            self._suite,
            self.key_id,
            client.config.tag,
            self._peer,
            self._threshold,
            self._length,
            self._lifetime,
            [keys.HubOfKey(hub.link.hub_id, hub.coordinate, part.origin) for hub, part in zip(hubs, self._parts)],
        )

    def _upload(self, hub: int, sending: Sending, share: bytes | None) -> bytes:
        message = wire.Upload(0, 0, 0, self.key_id, self._peer, self._terms, self._secret_tag, b"", b"")
        return self._client.ends[hub].share_message(sending, message, share)

    def _share(self, now: float) -> None:
        client = self._client
        for i, part in enumerate(self._parts):
            if part.status is not None or not client.is_open(i):
                continue
            if part.sending is not None and not client.ends[i].remembers(part.sending):
                part.sending = None
            if part.sending is None:
                # Not direct: in full, as soon as its lease allows.
                ends = client.ends[i]
                part.sending = (
                    ends.allocate(self._pad, part.origin) if self._pad else ends.in_epoch(self._suite, part.origin)
                )
                if part.sending is None:
                    client.ask_for_lease(now, i, self._elements, part.origin)
                    continue
                part.upload = self._upload(i, part.sending, part.share)
                part.backoff = Backoff(now)
            if now >= part.backoff.due:
                client.send(i, part.upload)
                part.backoff.again(now)
        accepted = [i for i, part in enumerate(self._parts) if part.status == wire.Status.ACCEPTED]
        if len(accepted) >= self._threshold and now >= self._fetch.due:
            if self._fetch.sent:
                # A fresh envelope asks by itself, and counts how often.
                for i in filter(client.is_open, accepted):
                    client.fetch(now, i)
            self._fetch.again(now)

    # ---- what comes

    def new_session(self, hub: int) -> None:
        """The share of a hub whose answer is missing goes again, in full, in a new block."""
        part = self._parts[hub]
        if self._sharing and part.status is None:
            part.sending = None

    def answer(self, hub: int, octets: bytes, message: wire.Answer, number: int | None) -> None:
        part, ends = self._parts[hub], self._client.ends[hub]
        if not self._sharing or part.sending is None or part.status is not None or message.confirmation is not None:
            return
        if not ends.answer_verifies(octets, number, part.sending.answerable):
            return
        ends.answered(part.sending.answerable)
        part.status = message.status
        refused = [other for other in self._parts if other.status not in (None, wire.Status.ACCEPTED)]
        if len(self._parts) - len(refused) < self._threshold:
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
