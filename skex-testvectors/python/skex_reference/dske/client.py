"""The state machine of a client: its links, the keys that it asks for, and the keys that others make with it
(D "Initiator", "Responder"). Effects are done in order: a `Persist` before anything behind it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..octets import DecodeError
from . import link, wire
from .initiator import Request
from .link import AWAIT_REPLY, FETCH_EVERY, FRESH, OPEN, Backoff, ClientEnvelope, LinkConfig
from .responder import Responder

FRESH_FETCHES = 5


@dataclass(frozen=True)
class HubOfClient:
    """A hub in the roster, with its link."""

    link: LinkConfig
    coordinate: int


@dataclass(frozen=True)
class ClientConfig:
    tag: bytes
    # In ascending order of coordinates.
    hubs: tuple[HubOfClient, ...]
    # The tags of the initiators whose keys are accepted.
    accepts: frozenset[bytes]
    minimum_threshold: int = 2


@dataclass(frozen=True)
class Persist:
    stored: dict[str, Any]


@dataclass(frozen=True)
class Send:
    hub: int
    octets: bytes


@dataclass(frozen=True)
class Confirmed:
    """B has the key that was asked for. `lying`: the coordinates of the hubs that B blames, which is hearsay."""

    key_id: bytes
    key: bytes
    lying: tuple[int, ...]


@dataclass(frozen=True)
class Refused:
    """No k hubs will carry the key."""

    key_id: bytes
    statuses: tuple[int, ...]


@dataclass(frozen=True)
class Received:
    """A key that another client made with this one. It is durable."""

    key_id: bytes
    initiator: bytes
    key: bytes


@dataclass(frozen=True)
class Report:
    """Which hubs lied about a key that was received, by their coordinates, and whether that is proven."""

    key_id: bytes
    lying: tuple[int, ...]
    proven: bool


Effect = Persist | Send | Confirmed | Refused | Received | Report


class Client:
    def __init__(
        self, config: ClientConfig, stored: Mapping[str, Any], random: Callable[[int], bytes], now: float
    ) -> None:
        self.effects: list[Effect] = []
        self.config = config
        self.random = random
        random(8)
        marks = stored.get("links", [{} for _ in config.hubs])
        self.ends = [link.ends_of(hub.link, wire.UPLINK, marks[i]) for i, hub in enumerate(config.hubs)]
        self._envelopes = [ClientEnvelope(hub.link, random, now) for hub in config.hubs]
        self._fetch_due = [now for _ in config.hubs]
        self._requests: dict[bytes, Request] = {}
        self._responder = Responder(self, stored.get("accepted", []))

    # ---- the application

    def request_key(self, now: float, peer: bytes, threshold: int, length: int, lifetime: int = 600) -> bytes:
        """Asks for a key with the client of this tag. Gives the key id."""
        request = Request(self, now, peer, threshold, length, lifetime)
        self._requests[request.key_id] = request
        return request.key_id

    # ---- what the two roles use

    def persist(self) -> None:
        self.effects.append(
            Persist({"links": [ends.stored() for ends in self.ends], "accepted": self._responder.stored()})
        )

    def is_open(self, hub: int) -> bool:
        return self._envelopes[hub].state == OPEN

    def send(self, hub: int, inner: bytes) -> None:
        """Seals and sends, if there is a session."""
        if self._envelopes[hub].state != AWAIT_REPLY:
            self.effects.append(Send(hub, self._envelopes[hub].seal(inner)))

    def ask_for_lease(self, now: float, hub: int, elements: int) -> None:
        """Asks, or asks again; only where the hub has answered under the envelope."""
        ends = self.ends[hub]
        if not self.is_open(hub) or ends.sender.denied:
            return
        if ends.sender.request is None:
            ends.sender.ask(self.random(16), elements)
            ends.lease_backoff = Backoff(now)
            self.persist()
        assert ends.sender.request is not None
        if ends.lease_backoff is not None and now >= ends.lease_backoff.due:
            self.send(hub, ends.sender.request.encode())
            ends.lease_backoff.again(now)

    # ---- input

    def receive(self, now: float, hub: int, octets: bytes) -> None:
        """A datagram from the address of a hub."""
        try:
            message = wire.decode_outer(octets)
        except DecodeError:
            return
        if message.client_id != self.config.hubs[hub].link.client_id:
            return
        seal = self._envelopes[hub]
        match message:
            case wire.HelloReply():
                if seal.reply(now, message):
                    self._fetch(now, hub)
            case wire.HelloRequest():
                if seal.asked_again(message):
                    self._restart(now, hub)
            case wire.Sealed():
                inner = seal.open(message)
                if inner is None:
                    return
                if seal.state == FRESH:
                    # The hub sees by a SEALED that it was heard.
                    seal.state = OPEN
                    self.send(hub, wire.Fetch().encode())
                    self._fetch_due[hub] = now + FETCH_EVERY
                    for request in self._requests.values():
                        request.new_session(hub)
                try:
                    self._inner(now, hub, wire.decode_inner(inner))
                except DecodeError:
                    pass
        self._step(now)

    def _inner(self, now: float, hub: int, message: wire.Inner) -> None:
        ends = self.ends[hub]
        match message:
            case wire.LeaseRequest():
                if message.table == ends.receiver.table.number:
                    answer = ends.grant(message)
                    self.persist()
                    self.send(hub, answer.encode())
            case wire.LeaseGrant():
                if ends.take_grant(message):
                    ends.lease_backoff = None
                    self.persist()
            case wire.LeaseDenied():
                if ends.sender.take_denied(message):
                    ends.lease_backoff = None
            case wire.Delivery():
                self._responder.delivery(now, hub, message)
            case wire.Answer():
                for request in self._requests.values():
                    request.answer(hub, message)
            case wire.Confirm():
                asked = self._requests.get(message.key_id)
                if asked is not None:
                    asked.confirm(hub, message)
            case _:
                # BUSY only asks to wait longer, and FETCHED tells a number.
                pass

    # ---- time

    def timeout(self, now: float) -> None:
        for hub, seal in enumerate(self._envelopes):
            if seal.state == AWAIT_REPLY and now >= seal.backoff.due:
                self.effects.append(Send(hub, seal.hello_message()))
                seal.backoff.again(now)
            elif seal.state == FRESH and now >= seal.backoff.due:
                if seal.backoff.sent >= FRESH_FETCHES:
                    # Given up, and only before it is confirmed: there are no leases that could be lost.
                    seal.hello(now)
                else:
                    self._fetch(now, hub)
            elif seal.state == OPEN and now >= self._fetch_due[hub]:
                self.fetch(now, hub)
        self._responder.timeout(now)
        self._step(now)

    def next_timeout(self, now: float) -> float:
        return now + 0.05 if self._requests else now + 0.25

    def _step(self, now: float) -> None:
        for name, request in list(self._requests.items()):
            request.step(now)
            if request.done:
                del self._requests[name]

    def _fetch(self, now: float, hub: int) -> None:
        """In Fresh: as SEALED_FRESH, with a backoff of its own."""
        self.send(hub, wire.Fetch().encode())
        self._envelopes[hub].backoff.again(now)

    def fetch(self, now: float, hub: int) -> None:
        self.send(hub, wire.Fetch().encode())
        self._fetch_due[hub] = now + FETCH_EVERY

    def _restart(self, now: float, hub: int) -> None:
        """The hub has no session: this one and its leases are over."""
        self.ends[hub].end_session()
        self._envelopes[hub].hello(now)
