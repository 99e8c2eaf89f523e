"""The state machine of a hub (D "Hub"). Effects are done in order: a `Persist` before anything behind it leaves.

Of the draft's duties this reference leaves out the parts of B's downlink that each initiator is to have; it bounds the
shares that wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..octets import DecodeError
from . import key as keys
from . import leaving, link, wire
from .leaving import Persist, Unsealed
from .ledger import Table
from .link import EPOCH_BLOCK, Backoff, Ends, HubEnvelope, LinkConfig, Sending

# Shares that wait for one responder from one initiator.
WAITING = 16
# Sendings of a delivery in one session.
SENDINGS = 8
REQUEST_EVERY = 1.0
# Of a table that is sent: elements of a part, and parts ahead of what was acknowledged.
PART = 64
WINDOW = 16


@dataclass(frozen=True)
class ClientConfig:
    link: LinkConfig
    # The tags of the initiators whose keys this client has authorised.
    authorised: frozenset[bytes]
    # The names that the operator enrolled.
    names: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class HubConfig:
    hub_id: bytes
    coordinate: int
    # By client id. Those that were revoked may be missing.
    clients: Mapping[int, ClientConfig]
    # The suites of keys that it relays.
    suites: tuple[int, ...] = (1, 2, 3)
    # Octets of a datagram up to which messages for one client share it; with 0 each has its own.
    datagram: int = leaving.DATAGRAM


@dataclass(frozen=True)
class Send:
    client_id: int
    octets: bytes
    # The path of the message that this answers; `None`: where the client was last heard in a session.
    path: int | None = None


@dataclass(frozen=True)
class Stored:
    """A share was accepted. For those who watch."""

    key_id: bytes


@dataclass(frozen=True)
class Refilled:
    """A client has the table that was sent to it."""

    client_id: int
    direction: int
    number: int


@dataclass(frozen=True)
class InitialKeyReplaced:
    """A client has proven that it has the initial key that replaced the old one, which is gone."""

    client_id: int


@dataclass(frozen=True)
class Retired:
    """A table was taken out of service, durably. It is to be erased, then that is to be told."""

    client_id: int
    direction: int
    table: Table


@dataclass(frozen=True)
class Revoked:
    """The enrolment of a client is over, durably. Its keys and tables are to be erased, then that is to be told."""

    client_id: int


Effect = Persist | Send | Stored | Refilled | InitialKeyReplaced | Retired | Revoked


@dataclass
class Refill:
    """A table on its way to a client."""

    direction: int
    table: Table
    acknowledged: int = 0
    sent: int = 0
    backoff: Backoff = field(default_factory=lambda: Backoff(0.0))


@dataclass
class Key:
    """A key of which this hub has, or had, a share. Known by the initiator's tag and the key id."""

    initiator: int
    responder: int
    key_id: bytes
    terms: wire.Terms
    secret_tag: bytes
    ends: float
    share: bytes | None
    confirmation: wire.Confirmation | None = None
    # Of the delivery in the session of B.
    sending: Sending | None = None
    delivery: bytes | None = None
    # Whether a delivery ever left: an older start may have sent one.
    left: bool = False
    withdrawn: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(0.0))
    confirmed_at: Backoff = field(default_factory=lambda: Backoff(0.0))


class Hub:
    def __init__(
        self, config: HubConfig, stored: Mapping[str, Any], random: Callable[[int], bytes], now: float
    ) -> None:
        self.effects: list[Effect | Unsealed] = []
        self._config = config
        self._random = random
        random(8)
        boot_key = random(32)
        self._boot_key = boot_key
        # The tags of those that were revoked: their numbers are never given again.
        self._revoked = {int(number): bytes.fromhex(tag) for number, tag in stored.get("revoked", {}).items()}
        # By tag: until when a key may live that was asked for under such a number. Of them nothing is known any more.
        self._forgotten = {tag: now + wire.LONGEST_LIFETIME for tag in self._revoked.values()}
        self._clients: dict[int, ClientConfig] = {}
        self._ends: dict[int, Ends] = {}
        self._envelopes: dict[int, HubEnvelope] = {}
        self._refills: dict[int, list[Refill]] = {}
        self._requested: dict[int, float] = {}
        for number, client in sorted(config.clients.items()):
            if number in self._revoked:
                if client.link.client_tag != self._revoked[number]:
                    raise ValueError(f"the number {number} was taken from another client, and is never given again")
                # A crash kept it from being erased.
                self.effects.append(Revoked(number))
            else:
                self._add(client, stored.get("links", {}).get(str(number), {}))
        self._offers: dict[int, wire.Offer] = {
            int(client): _offer_from(offer) for client, offer in stored.get("offers", {}).items()
        }
        # What clients said of whom they accept keys from; it goes before the configuration.
        self._allowed: dict[tuple[int, bytes], bool] = {
            (entry["client"], bytes.fromhex(entry["initiator"])): entry["allowed"]
            for entry in stored.get("allowed", [])
        }
        self._withdrawn: dict[int, set[bytes]] = {}
        self._keys: dict[tuple[int, bytes], Key] = {}
        for entry in stored.get("keys", []):
            key = _key_from(entry, now)
            self._keys[key.initiator, key.key_id] = key

    def _add(self, client: ClientConfig, stored: dict[str, Any]) -> None:
        number = client.link.client_id
        ends = link.ends_of(client.link, wire.DOWNLINK, stored)
        self._clients[number], self._ends[number] = client, ends
        self._envelopes[number] = HubEnvelope(client.link, link.initial_keys_of(client.link, stored), self._boot_key)
        self._refills[number] = [
            # What the client has not got yet goes to it over the network.
            Refill(direction, table)
            for direction, tables in enumerate((client.link.uplinks, client.link.downlinks))
            for table in tables
            if table.origin == 1 and not ends.has_table(direction, table.number)
        ]
        self._requested[number] = -REQUEST_EVERY
        self.effects += [Retired(number, direction, table) for direction, table in ends.retired_but_there()]

    def number(self, tag: bytes) -> int | None:
        """Under which the client of this tag is enrolled now, if it is."""
        return next((number for number, client in self._clients.items() if client.link.client_tag == tag), None)

    def tag(self, client_id: int) -> bytes:
        revoked = self._revoked.get(client_id)
        return self._clients[client_id].link.client_tag if revoked is None else revoked

    # ---- the operator

    def replace_initial_key(self, client_id: int, key: bytes) -> None:
        """Another initial key of the link, from outside (D "Replacement of the initial key")."""
        if self._envelopes[client_id].initial.replace(key):
            self._persist()

    def retire_table(self, client_id: int, direction: int, number: int) -> None:
        """Takes a table out of service, also one that is on its way (D "Several tables")."""
        ends = self._ends[client_id]
        for refill in self._refills[client_id][:]:
            if (refill.direction, refill.table.number) == (direction, number):
                self._refills[client_id].remove(refill)
                ends.add_table(direction, refill.table)
        table = ends.retire(direction, number)
        self._persist()
        self.effects.append(Retired(client_id, direction, table))
        self._envelopes[client_id].session = None
        self._end_session(client_id)

    def revoke(self, now: float, client_id: int) -> None:
        """Ends the enrolment of a client, for good (D "Enrolment and revocation")."""
        self._revoked[client_id] = self.tag(client_id)
        self._forgotten[self.tag(client_id)] = now + wire.LONGEST_LIFETIME
        for name, key in list(self._keys.items()):
            if key.initiator == client_id:
                del self._keys[name]
            elif key.responder == client_id and key.share is not None:
                # Who takes it back is told what had left.
                self._drop(key)
        for table in (self._clients, self._ends, self._envelopes, self._refills, self._requested):
            del table[client_id]
        self._offers.pop(client_id, None)
        self._withdrawn.pop(client_id, None)
        self._allowed = {entry: allowed for entry, allowed in self._allowed.items() if entry[0] != client_id}
        self._persist()
        self.effects.append(Revoked(client_id))

    def revoked(self) -> frozenset[int]:
        """The numbers whose enrolment is over."""
        return frozenset(self._revoked)

    def next_number(self) -> int:
        """The client id of whoever is enrolled next: none is ever given twice."""
        return max([*self._clients, *self._revoked], default=-1) + 1

    def enrol(self, client: ClientConfig) -> None:
        """A client under the next number; the same tag may have had another before, which was revoked. One that a start found in the
        configuration already, after a crash, is there."""
        there = self._clients.get(client.link.client_id)
        if there is not None and (there.link.client_tag, there.link.k0) == (client.link.client_tag, client.link.k0):
            self._persist()
            return
        names = {name for other in self._clients.values() for name in other.names}
        tags = [other.link.client_tag for other in self._clients.values()]
        if client.link.client_tag in tags or not names.isdisjoint(client.names):
            raise ValueError("another client has the tag, or a name")
        if client.link.client_id != self.next_number():
            raise ValueError("not the next number")
        self._add(client, {})
        self._persist()

    def _persist(self) -> None:
        self.effects.append(
            Persist(
                {
                    "links": {
                        str(number): ends.stored() | self._envelopes[number].initial.stored()
                        for number, ends in self._ends.items()
                    },
                    "revoked": {str(number): tag.hex() for number, tag in self._revoked.items()},
                    "keys": [_key_to(key) for key in self._keys.values()],
                    "offers": {str(client): offer.encode().hex() for client, offer in self._offers.items()},
                    "allowed": [
                        {"client": client, "initiator": initiator.hex(), "allowed": allowed}
                        for (client, initiator), allowed in self._allowed.items()
                    ],
                }
            )
        )

    # ---- input

    def receive(self, now: float, path: int, octets: bytes) -> int | None:
        """Handles a datagram. Gives the client whose session it belongs to, so that its path can be learned."""
        try:
            message = wire.decode_outer(octets)
        except DecodeError:
            return None
        client_id = message.client_id
        if client_id not in self._clients:
            return None
        seal = self._envelopes[client_id]
        if isinstance(message, wire.Sealed):
            opened = seal.open(message)
            if opened is None:
                if seal.session is None and now >= self._requested[client_id] + REQUEST_EVERY:
                    self._requested[client_id] = now
                    self.effects.append(Send(client_id, seal.request(message), path))
                return None
            inner, new = opened
            if new:
                self._new_session(now, client_id)
                if seal.proves_next():
                    self._persist()
                    self.effects.append(InitialKeyReplaced(client_id))
            for octets, number, one in link.messages(inner):
                self._inner(now, client_id, octets, number, one)
            return client_id
        if isinstance(message, wire.Hello) and not isinstance(message, wire.HelloReply):
            reply = seal.hello(message)
            if reply is not None:
                self.effects.append(Send(client_id, reply, path))
        return None

    def _end_session(self, client_id: int) -> None:
        self._ends[client_id].end_session()
        self._withdrawn.pop(client_id, None)

    def _new_session(self, now: float, client_id: int) -> None:
        self._end_session(client_id)
        for key in self._keys.values():
            if key.responder == client_id:
                key.sending, key.delivery, key.backoff = None, None, Backoff(now)
        for refill in self._refills[client_id]:
            refill.acknowledged, refill.sent, refill.backoff = 0, 0, Backoff(now)

    def _inner(self, now: float, client_id: int, octets: bytes, number: int | None, message: wire.Inner) -> None:
        ends = self._ends[client_id]
        match message:
            case wire.LeaseRequest():
                answer = ends.grant(message)
                if answer is not None:
                    self._persist()
                    self._send(client_id, answer.encode())
            case wire.LeaseGrant():
                if ends.take_grant(message):
                    self._persist()
            case wire.LeaseDenied():
                ends.take_denied(message)
            case wire.Upload():
                self._upload(now, client_id, octets, message, number)
            case wire.Answer():
                self._answer(now, client_id, octets, message, number)
            case wire.Command():
                self._command(now, client_id, octets, message)
            case wire.Refilled():
                self._refilled(now, client_id, message)
            case wire.Busy():
                for key in self._keys.values():
                    at = key.sending and key.sending.answerable
                    if key.responder == client_id and at and (at.table, at.index) == (message.table, message.index):
                        key.backoff.again(now)
            case wire.Fetch():
                self._fetch(now, client_id)
        self._deliver(now)
        self._send_refills(now)

    def timeout(self, now: float) -> None:
        over = [name for name, key in self._keys.items() if now >= key.ends]
        for name in over:
            del self._keys[name]
        if over:
            self._persist()
        self._deliver(now)
        self._send_refills(now)

    def next_timeout(self, now: float) -> float:
        busy = any(key.share is not None for key in self._keys.values()) or any(self._refills.values())
        return now + 0.1 if busy else now + 1.0

    def take_effects(self) -> list[Effect]:
        """What is to be done since somebody asked last."""
        wanted, self.effects = self.effects, []
        return leaving.leaving(wanted, self._sealed)

    def _sealed(self, unsealed: Unsealed) -> Send | None:
        seal = self._envelopes.get(unsealed.to)
        if seal is None or seal.session is not unsealed.session:
            return None
        return Send(unsealed.to, seal.seal(unsealed.inner))

    def _send(self, client_id: int, inner: bytes) -> None:
        seal = self._envelopes[client_id]
        if seal.session is not None:
            self.effects.append(Unsealed(client_id, seal.session, self._config.datagram - seal.overhead, [inner]))

    # ---- uploads

    def _upload(
        self, now: float, client_id: int, octets: bytes, message: wire.Upload, number: int | None
    ) -> None:
        ends = self._ends[client_id]
        place = (message.table, message.index, number or 0)
        if ends.known(place):
            before = ends.answers[place]
            if before is not None:
                self._send(client_id, before)
                self._confirm_if_known(now, (client_id, message.key_id))
            return
        opened = ends.open_share(octets, message, number)
        if opened is None:
            return
        answerable, share = opened
        status = self._judge(now, client_id, message, self.accepted_share(share), number is not None)
        if status == wire.Status.ACCEPTED:
            self._persist()
        self._send(client_id, ends.answer(answerable, status))
        if status == wire.Status.ACCEPTED:
            self._confirm_if_known(now, (client_id, message.key_id))

    def accepted_share(self, share: bytes) -> bytes:
        """What is handed out later: for an honest hub, the share itself."""
        return share

    def _authorised(self, responder: int, initiator: bytes) -> bool:
        configured = initiator in self._clients[responder].authorised
        return self._allowed.get((responder, initiator), configured)

    def _judge(
        self, now: float, client_id: int, message: wire.Upload, share: bytes, is_sealed: bool
    ) -> wire.Status:
        """The first row of D "Hub" that fits. ACCEPTED stores the share."""
        terms = message.terms
        numbers = {client.link.client_tag: number for number, client in self._clients.items()}
        responder = numbers.get(message.peer)
        if responder is None:
            return wire.Status.UNKNOWN_PEER
        known = self._keys.get((client_id, message.key_id))
        authorised = self._authorised(responder, self.tag(client_id))
        if known is not None:
            same = (known.responder, known.terms, known.secret_tag) == (responder, terms, message.secret_tag)
            if not same or known.share not in (None, share):
                return wire.Status.KEY_ID_IN_USE
            if known.withdrawn:
                return wire.Status.WITHDRAWN if authorised else wire.Status.NOT_AUTHORISED
            return wire.Status.ACCEPTED
        if message.key_id in self._withdrawn.get(client_id, ()):
            return wire.Status.WITHDRAWN
        if responder == client_id or not authorised:
            return wire.Status.NOT_AUTHORISED
        # The suite is that of the protection.
        if terms.suite not in self._config.suites or (terms.suite == keys.ITS) == is_sealed:
            return wire.Status.POLICY
        if self._config.coordinate not in terms.coordinates:
            return wire.Status.MALFORMED_CONTEXT
        waiting = [
            key for key in self._keys.values() if (key.initiator, key.responder) == (client_id, responder) and key.share
        ]
        if len(waiting) >= WAITING:
            return wire.Status.TOO_MANY_WAITING
        ends = now + terms.lifetime
        self._keys[client_id, message.key_id] = Key(
            client_id, responder, message.key_id, terms, message.secret_tag, ends, share, backoff=Backoff(now)
        )
        self.effects.append(Stored(message.key_id))
        return wire.Status.ACCEPTED

    # ---- deliveries

    def _deliver(self, now: float) -> None:
        for key in self._keys.values():
            # The responder of a share is not revoked.
            session = self._envelopes[key.responder].session if key.share is not None else None
            if session is None or now < key.backoff.due:
                continue
            if key.delivery is None and not self._make_delivery(now, key, session.heard):
                continue
            if key.backoff.sent < SENDINGS and key.delivery is not None:
                self._send(key.responder, key.delivery)
                key.backoff.again(now)

    def _make_delivery(self, now: float, key: Key, heard: bool) -> bool:
        """The delivery in a new block or under a new number, if there is a lease for it; else a lease is asked for."""
        ends = self._ends[key.responder]
        assert key.share is not None
        is_its = key.terms.suite == keys.ITS
        length = wire.secret_block_elements(key.terms.key_length) if is_its else 0
        key.sending = ends.allocate(length) if is_its else ends.in_epoch(key.terms.suite)
        if key.sending is None:
            if heard:
                self._ask_for_lease(now, key.responder, EPOCH_BLOCK + length)
            return False
        initiator = self.tag(key.initiator)
        message = wire.Delivery(0, 0, 0, key.key_id, initiator, key.terms, key.secret_tag, b"", b"")
        key.delivery, key.left = ends.share_message(key.sending, message, key.share), True
        return True

    def _ask_for_lease(self, now: float, client_id: int, elements: int) -> None:
        ends = self._ends[client_id]
        is_new = ends.asking is None
        request = ends.ask(self._random, elements)
        if request is None:
            return
        if is_new:
            ends.lease_backoff = Backoff(now)
            self._persist()
        if ends.lease_backoff is not None and now >= ends.lease_backoff.due:
            self._send(client_id, request.encode())
            ends.lease_backoff.again(now)

    def _answer(
        self, now: float, client_id: int, octets: bytes, message: wire.Answer, number: int | None
    ) -> None:
        """B's answer: the share is dropped, and (A, key id) kept until the lifetime ends."""
        ends = self._ends[client_id]
        for key in self._keys.values():
            if key.responder != client_id or key.sending is None or key.share is None:
                continue
            if not ends.answer_verifies(octets, number, key.sending.answerable):
                continue
            confirmation = message.confirmation
            if message.status == wire.Status.ACCEPTED:
                if confirmation is None or not confirmation.fits(key.terms.hubs):
                    return
                key.confirmation = confirmation
            ends.answered(key.sending.answerable)
            key.share, key.delivery = None, None
            self._persist()
            self._confirm_if_known(now, (key.initiator, key.key_id))
            return

    # ---- commands

    def _command(self, now: float, client_id: int, octets: bytes, message: wire.Command) -> None:
        """D "Commands": once carried out, durably, once answered."""
        ends = self._ends[client_id]
        place = (message.table, message.index, 0)
        if ends.known(place):
            before = ends.answers[place]
            if before is not None:
                self._send(client_id, before)
            return
        answerable = ends.open_command(octets, message)
        if answerable is None:
            return
        found = None
        match message.what:
            case wire.Lookup():
                found = self._look_up(message.what.name)
                status = wire.OutcomeStatus.UNKNOWN if found is None else wire.OutcomeStatus.DONE
            case wire.Publish():
                status = wire.OutcomeStatus.DONE
                if message.what.offer is None:
                    self._offers.pop(client_id, None)
                else:
                    self._offers[client_id] = message.what.offer
            case wire.Withdraw():
                status = self._withdraw(now, client_id, message.what.key_id)
            case wire.Authorise():
                status = wire.OutcomeStatus.DONE
                self._authorise(client_id, message.what.client, message.what.allowed)
        self._persist()
        self._send(client_id, ends.outcome(answerable, status, found))

    def _look_up(self, name: bytes) -> wire.Found | None:
        for number, client in self._clients.items():
            if name in client.names:
                return wire.Found(client.link.client_tag, self._offers.get(number))
        return None

    def _withdraw(self, now: float, client_id: int, key_id: bytes) -> wire.OutcomeStatus:
        key = self._keys.get((client_id, key_id))
        if key is None:
            # One may still be on its way, in this session.
            self._withdrawn.setdefault(client_id, set()).add(key_id)
            # If it is a key of an earlier enrolment, its responder may have it.
            forgotten = now < self._forgotten.get(self.tag(client_id), now)
            return wire.OutcomeStatus.SENT if forgotten else wire.OutcomeStatus.UNKNOWN
        if key.share is None and not key.withdrawn:
            return wire.OutcomeStatus.ANSWERED
        self._drop(key)
        return wire.OutcomeStatus.SENT if key.left else wire.OutcomeStatus.DONE

    def _drop(self, key: Key) -> None:
        key.share, key.delivery, key.withdrawn = None, None, True

    def _authorise(self, client_id: int, initiator: bytes, allowed: bool) -> None:
        self._allowed[client_id, initiator] = allowed
        for key in self._keys.values():
            tag = self.tag(key.initiator)
            if not allowed and (key.responder, tag) == (client_id, initiator) and key.share is not None:
                self._drop(key)

    # ---- tables over the network

    def _send_refills(self, now: float) -> None:
        """One table a client, in ascending order, at most so many parts ahead (D "Refill over the network")."""
        for client_id, refills in self._refills.items():
            session = self._envelopes[client_id].session
            if not refills or session is None or not session.heard:
                continue
            refill = refills[0]
            if now >= refill.backoff.due:
                refill.sent = refill.acknowledged
                refill.backoff.again(now)
            limit = min(refill.acknowledged + WINDOW * PART, len(refill.table))
            while refill.sent < limit:
                count = min(PART, limit - refill.sent)
                pad = refill.table.read(refill.sent, count)
                part = wire.Refill(refill.direction, refill.table.number, len(refill.table), refill.sent, pad)
                self._send(client_id, part.encode())
                refill.sent += count

    def _refilled(self, now: float, client_id: int, message: wire.Refilled) -> None:
        refills = self._refills[client_id]
        if not refills:
            return
        refill = refills[0]
        at = (refill.direction, refill.table.number)
        if at != (message.direction, message.table) or message.next > len(refill.table):
            return
        if message.next == len(refill.table):
            refills.pop(0)
            self._ends[client_id].add_table(refill.direction, refill.table)
            self._persist()
            self.effects.append(Refilled(client_id, *at))
        elif message.next == 0 and refill.acknowledged:
            # The client has started since. The next repetition begins anew: at once, each word would draw a whole window.
            refill.acknowledged = 0
        elif message.next > refill.acknowledged:
            refill.acknowledged, refill.sent = message.next, max(refill.sent, message.next)
            refill.backoff = Backoff(now + 0.25)

    # ---- what is asked for

    def _fetch(self, now: float, client_id: int) -> None:
        waiting = sum(key.responder == client_id and key.share is not None for key in self._keys.values())
        self._send(client_id, wire.Fetched(min(waiting, 0xFFFF)).encode())
        for name, key in self._keys.items():
            if key.initiator == client_id and now >= key.confirmed_at.due:
                self._confirm_if_known(now, name)

    def _confirm_if_known(self, now: float, name: tuple[int, bytes]) -> None:
        key = self._keys.get(name)
        if key is not None and key.confirmation is not None and key.responder in self._clients:
            peer = self.tag(key.responder)
            self._send(key.initiator, wire.Confirm(key.key_id, peer, key.confirmation).encode())
            key.confirmed_at.again(now)


def _key_to(key: Key) -> dict[str, Any]:
    return {
        "initiator": key.initiator,
        "responder": key.responder,
        "keyId": key.key_id.hex(),
        "terms": key.terms.encode().hex(),
        "secretTag": key.secret_tag.hex(),
        "share": None if key.share is None else key.share.hex(),
        "confirmation": None if key.confirmation is None else key.confirmation.encode().hex(),
        "withdrawn": key.withdrawn,
    }


def _key_from(entry: dict[str, Any], now: float) -> Key:
    octets = bytes.fromhex
    terms = wire.decode_terms(octets(entry["terms"]))
    confirmation = entry["confirmation"]
    return Key(
        entry["initiator"],
        entry["responder"],
        octets(entry["keyId"]),
        terms,
        octets(entry["secretTag"]),
        # How long the hub was down is not known: stored lifetimes count anew.
        now + terms.lifetime,
        None if entry["share"] is None else octets(entry["share"]),
        None if confirmation is None else wire.decode_confirmation(octets(confirmation)),
        backoff=Backoff(now),
        # An older start may have sent it.
        left=True,
        withdrawn=entry["withdrawn"],
    )


def _offer_from(octets: str) -> wire.Offer:
    return wire.decode_offer(bytes.fromhex(octets))
