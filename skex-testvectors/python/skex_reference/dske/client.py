"""The state machine of a client: its links, the keys that it asks for, and the keys that others make with it
(D "Initiator", "Responder"). Effects are done in order: a `Persist` before anything behind it leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..octets import DecodeError
from . import leaving, link, look_up, wire
from .commands import Task
from .fetching import Fetching
from .initiator import Request
from .leaving import Persist, Unsealed
from .link import AWAIT_REPLY, FRESH, OPEN, Backoff, ClientEnvelope, LinkConfig
from .ledger import Table
from .responder import Responder

FRESH_FETCHES = 5
# Elements of the longest table that is taken over the network.
LONGEST_REFILL = 65536
# Commands under way.
COMMANDS = 8


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
    information_theoretic: bool = False
    maximum_lifetime: int = 65535
    # The suites that are accepted of others.
    suites: tuple[int, ...] = (1, 2, 3)
    # Octets of a datagram up to which messages for one hub share it; with 0 each has its own.
    datagram: int = leaving.DATAGRAM


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
    """A key that another client made with this one. It is durable until `taken` says that the application has it."""

    key_id: bytes
    initiator: bytes
    key: bytes


@dataclass(frozen=True)
class Report:
    """Which hubs lied about a key that was received, by their coordinates, and whether that is proven."""

    key_id: bytes
    lying: tuple[int, ...]
    proven: bool


@dataclass(frozen=True)
class CameTable:
    """A table came over the network. It is to be stored, then given to `add_table` with origin 1."""

    hub: int
    direction: int
    number: int
    octets: bytes


@dataclass(frozen=True)
class LookedUp:
    """What k hubs say of a name (D "Look-up")."""

    name: bytes
    said: look_up.Agreed


@dataclass(frozen=True)
class NothingSaid:
    """Hubs contradict each other about a name, or too few said the same."""

    name: bytes
    why: look_up.NotSaid


@dataclass(frozen=True)
class CommandEnded:
    """What each hub said of a command, by its coordinate."""

    what: wire.Publish | wire.Withdraw | wire.Authorise
    outcomes: dict[int, int | None]


@dataclass(frozen=True)
class InitialKeyReplaced:
    """The hub has proven that it has the initial key that replaced the old one, which is gone."""

    hub: int


@dataclass(frozen=True)
class Retired:
    """A table was taken out of service, durably. It is to be erased, then that is to be told."""

    hub: int
    direction: int
    table: Table


Effect = Persist | Send | InitialKeyReplaced | Retired | Confirmed | Refused | Received | Report | CameTable | LookedUp | NothingSaid | CommandEnded


@dataclass
class Coming:
    """A table on its way."""

    direction: int
    number: int
    elements: int
    octets: bytes = b""


class Client:
    def __init__(
        self, config: ClientConfig, stored: Mapping[str, Any], random: Callable[[int], bytes], now: float
    ) -> None:
        self.effects: list[Effect | Unsealed] = []
        self.config = config
        self.random = random
        random(8)
        # By hub id: a hub may have come since.
        links = stored.get("links", {})
        known = [_of_this_enrolment(hub.link, links.get(hub.link.hub_id.hex(), {})) for hub in config.hubs]
        self.ends = [link.ends_of(hub.link, wire.UPLINK, known[i]) for i, hub in enumerate(config.hubs)]
        self._envelopes = [
            ClientEnvelope(hub.link, link.initial_keys_of(hub.link, known[i]), random, now)
            for i, hub in enumerate(config.hubs)
        ]
        for hub, ends in enumerate(self.ends):
            self.effects += [Retired(hub, direction, table) for direction, table in ends.retired_but_there()]
        # When no key comes any more that was asked for before this start.
        self._earlier_over = now + 2 * wire.LONGEST_LIFETIME
        self._fetching = [Fetching(now, now) for _ in config.hubs]
        self._requests: dict[bytes, Request] = {}
        self._tasks: list[Task] = []
        # Hubs that never said what came of a publication or an authorisation of this session.
        self.given_up: set[int] = set()
        self._coming: dict[int, Coming] = {}
        # Clients that a look-up found: they can be asked for keys until the next start.
        self.found: set[bytes] = set()
        self._responder = Responder(self, stored.get("accepted", []), now)

    # ---- the application

    def request_key(
        self, now: float, peer: bytes, threshold: int, length: int, lifetime: int = 600, suite: int = 1
    ) -> bytes:
        """Asks for a key with the client of this tag. Gives the key id."""
        request = Request(self, now, peer, threshold, length, lifetime, suite)
        self._requests[request.key_id] = request
        return request.key_id

    def command(self, now: float, what: wire.Lookup | wire.Publish | wire.Withdraw | wire.Authorise) -> None:
        """Asks every hub (D "Commands")."""
        if len(self._tasks) >= COMMANDS:
            raise ValueError("too many commands under way")
        ends = math.inf
        if isinstance(what, wire.Withdraw) and what.key_id in self._requests:
            # Nothing of the key is sent any more.
            ends = self._requests.pop(what.key_id).ends
        self._tasks.append(Task(self, now, what, ends))

    def before(self, task: Task) -> list[Task]:
        """Commands under way that were given before this one."""
        return self._tasks[: self._tasks.index(task)]

    def offer(self) -> wire.Offer:
        """What this client accepts, as it publishes it."""
        config = self.config
        return wire.Offer(
            config.minimum_threshold,
            config.information_theoretic,
            config.maximum_lifetime,
            tuple(suite for suite in config.suites if suite == 1 or not config.information_theoretic),
            tuple(hub.coordinate for hub in config.hubs),
        )

    def add_table(self, hub: int, direction: int, table: Table) -> None:
        """A table that is stored: it came over the network, or out of band while this client runs."""
        self.ends[hub].add_table(direction, table)
        self.persist()
        coming = self._coming.get(hub)
        if coming and (coming.direction, coming.number) == (direction, table.number):
            del self._coming[hub]
            self.send(hub, wire.Refilled(direction, table.number, len(table)).encode())

    def taken(self, received: Received) -> None:
        """The application has the key, durably."""
        self._responder.taken(received.initiator, received.key_id)
        self.persist()

    def replace_initial_key(self, hub: int, key: bytes) -> None:
        """Another initial key of the link, from outside (D "Replacement of the initial key")."""
        seal = self._envelopes[hub]
        if seal.initial.replace(key):
            seal.forget_probe()
            self.persist()

    def retire_table(self, now: float, hub: int, direction: int, number: int) -> None:
        """Takes a table out of service (D "Several tables")."""
        table = self.ends[hub].retire(direction, number)
        self.persist()
        self.effects.append(Retired(hub, direction, table))
        self.restart(now, hub)

    def take_effects(self) -> list[Effect]:
        """What is to be done since somebody asked last."""
        wanted, self.effects = self.effects, []
        return leaving.leaving(wanted, self._sealed)

    def _sealed(self, unsealed: Unsealed) -> Send | None:
        seal = self._envelopes[unsealed.to]
        return Send(unsealed.to, seal.seal(unsealed.inner)) if seal.session is unsealed.session else None

    # ---- what the two roles use

    def persist(self) -> None:
        links = {
            hub.link.hub_id.hex(): {"clientId": hub.link.client_id} | ends.stored() | seal.initial.stored()
            for hub, ends, seal in zip(self.config.hubs, self.ends, self._envelopes)
        }
        self.effects.append(Persist({"links": links, "accepted": self._responder.stored()}))

    def is_open(self, hub: int) -> bool:
        return self._envelopes[hub].state == OPEN

    def send(self, hub: int, inner: bytes) -> None:
        """Sends, if there is a session."""
        seal = self._envelopes[hub]
        if seal.session is not None:
            self.effects.append(Unsealed(hub, seal.session, self.config.datagram - seal.overhead, [inner]))

    def ask_for_lease(self, now: float, hub: int, elements: int, worst: int = 1) -> None:
        """Asks, or asks again; only where the hub has answered under the envelope."""
        ends = self.ends[hub]
        if not self.is_open(hub):
            return
        is_new = ends.asking is None
        request = ends.ask(self.random, elements, worst)
        if request is None:
            return
        if is_new:
            ends.lease_backoff = Backoff(now)
            self.persist()
        if ends.lease_backoff is not None and now >= ends.lease_backoff.due:
            self.send(hub, request.encode())
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
                had_session = seal.state != AWAIT_REPLY
                if seal.reply(now, message):
                    if had_session:
                        self._end_session(hub)
                    self._fetch(now, hub)
            case wire.HelloRequest():
                if seal.asked_again(message):
                    self.restart(now, hub)
            case wire.Sealed():
                inner = seal.open(message)
                if inner is None:
                    return
                if seal.proves_next():
                    self.persist()
                    self.effects.append(InitialKeyReplaced(hub))
                if seal.state == FRESH:
                    # The hub sees by a SEALED that it was heard.
                    seal.state = OPEN
                    self._fetching[hub] = Fetching(now, now, early=seal.backoff.sent, spread=seal.salt[0] / 256)
                    self.fetch(now, hub)
                    for request in self._requests.values():
                        request.new_session(hub)
                    self.given_up.discard(hub)
                    for task in self._tasks:
                        task.new_session(hub)
                self._fetching[hub].heard(now)
                for octets, number, one in link.messages(inner):
                    self._inner(now, hub, octets, number, one)
                    # Before the next one: a key that is confirmed hears no more.
                    self._step(now)
        self._step(now)

    def _inner(self, now: float, hub: int, octets: bytes, number: int | None, message: wire.Inner) -> None:
        ends = self.ends[hub]
        match message:
            case wire.LeaseRequest():
                receiver = ends.receivers.get(message.table)
                refilled = receiver is not None and receiver.table.origin == 1
                # A share of which was said that it comes out of band must not come otherwise (D "Several tables").
                if refilled and self._responder.waits_out_of_band(now, hub):
                    return
                answer = ends.grant(message)
                if answer is not None:
                    self.persist()
                    self.send(hub, answer.encode())
            case wire.LeaseGrant():
                if ends.take_grant(message):
                    self.persist()
            case wire.LeaseDenied():
                ends.take_denied(message)
            case wire.Delivery():
                self._responder.delivery(now, hub, octets, message, number)
            case wire.Answer():
                for request in self._requests.values():
                    request.answer(hub, octets, message, number)
            case wire.Outcome():
                for task in self._tasks:
                    task.outcome(now, hub, octets, message)
            case wire.Refill():
                self._refill(hub, message)
            case wire.Confirm():
                asked = self._requests.get(message.key_id)
                if asked is not None:
                    asked.confirm(hub, message)
            case wire.Fetched():
                self._fetching[hub].answered(now)
            case _:
                # BUSY only asks to wait longer.
                pass

    def _refill(self, hub: int, message: wire.Refill) -> None:
        """A part of a table (D "Refill over the network")."""
        direction, number, elements = message.direction, message.table, message.elements
        coming = self._coming.get(hub)
        if self.ends[hub].has_table(direction, number) and not (
            coming and (coming.direction, coming.number) == (direction, number)
        ):
            self.send(hub, wire.Refilled(direction, number, elements).encode())
            return
        if elements > LONGEST_REFILL:
            return
        if coming is None or (coming.direction, coming.number, coming.elements) != (direction, number, elements):
            if message.first:
                self.send(hub, wire.Refilled(direction, number, 0).encode())
                return
            coming = self._coming[hub] = Coming(direction, number, elements)
        if 16 * message.first == len(coming.octets):
            coming.octets += message.pad
            if len(coming.octets) == 16 * elements:
                self.effects.append(CameTable(hub, direction, number, coming.octets))
        # Behind the last element only once it is durable.
        following = min(len(coming.octets) // 16, elements - 1)
        self.send(hub, wire.Refilled(direction, number, following).encode())

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
            elif seal.state == OPEN and self._fetching[hub].is_due(now):
                self.fetch(now, hub)
            probe = seal.probe(now)
            if probe is not None:
                self.effects.append(Send(hub, probe))
        if now >= self._earlier_over:
            for ends in self.ends:
                ends.granted_before = False
        self._responder.timeout(now)
        self._step(now)

    def next_timeout(self, now: float) -> float:
        return now + 0.05 if self._requests or self._tasks else now + 0.25

    def _step(self, now: float) -> None:
        for name, request in list(self._requests.items()):
            request.step(now)
            if request.done:
                self._requests.pop(name, None)
        for task in self._tasks[:]:
            task.step(now)
            if task.done:
                self._tasks.remove(task)

    def _fetch(self, now: float, hub: int) -> None:
        """In Fresh: as SEALED_FRESH, with a backoff of its own."""
        self.send(hub, wire.Fetch().encode())
        self._envelopes[hub].backoff.again(now)

    def fetch(self, now: float, hub: int) -> None:
        self.send(hub, wire.Fetch().encode())
        self._fetching[hub].sent(now)

    def restart(self, now: float, hub: int) -> None:
        """The hub has no session: this one and its leases are over."""
        self._end_session(hub)
        self._envelopes[hub].hello(now)

    def _end_session(self, hub: int) -> None:
        self.ends[hub].end_session()
        self._responder.end_session(hub)


def _of_this_enrolment(config: LinkConfig, stored: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored of a link, if it is of this enrolment: one with a higher number begins anew (D "Enrolment")."""
    before = stored.get("clientId", config.client_id)
    if config.client_id < before:
        raise ValueError(f"the enrolment with number {config.client_id} is over: there was one with number {before}")
    if config.client_id == before:
        return dict(stored)
    return {"grantedBefore": stored.get("grantedRefilled", False) or stored.get("grantedBefore", False)}
