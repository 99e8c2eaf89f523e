"""The state machine of a hub (D "Hub"). Effects are done in order: a `Persist` before anything behind it leaves.

Of the draft's duties this reference leaves out the parts of B's downlink that each initiator is to have; it bounds the
shares that wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..octets import DecodeError, xor
from . import key as keys
from . import ledger, link, wire
from .link import Backoff, Ends, HubEnvelope, LinkConfig

# Shares that wait for one responder from one initiator.
WAITING = 16
# Sendings of a delivery in one session.
SENDINGS = 8
REQUEST_EVERY = 1.0


@dataclass(frozen=True)
class ClientConfig:
    link: LinkConfig
    # The tags of the initiators whose keys this client has authorised.
    authorised: frozenset[bytes]


@dataclass(frozen=True)
class HubConfig:
    hub_id: bytes
    coordinate: int
    # By client id.
    clients: tuple[ClientConfig, ...]


@dataclass(frozen=True)
class Persist:
    stored: dict[str, Any]


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


Effect = Persist | Send | Stored


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
    block: ledger.Block | None = None
    delivery: bytes | None = None
    backoff: Backoff = field(default_factory=lambda: Backoff(0.0))
    confirmed_at: Backoff = field(default_factory=lambda: Backoff(0.0))


class Hub:
    def __init__(
        self, config: HubConfig, stored: Mapping[str, Any], random: Callable[[int], bytes], now: float
    ) -> None:
        self.effects: list[Effect] = []
        self._config = config
        self._random = random
        random(8)
        boot_key = random(32)
        marks = stored.get("links", {})
        self._ends = [
            link.ends_of(client.link, wire.DOWNLINK, marks.get(str(number), {}))
            for number, client in enumerate(config.clients)
        ]
        self._envelopes = [HubEnvelope(client.link, boot_key) for client in config.clients]
        self._requested = [-REQUEST_EVERY for _ in config.clients]
        self._keys: dict[tuple[int, bytes], Key] = {}
        for entry in stored.get("keys", []):
            key = _key_from(entry, now)
            self._keys[key.initiator, key.key_id] = key

    def _persist(self) -> None:
        self.effects.append(
            Persist(
                {
                    "links": {str(number): ends.stored() for number, ends in enumerate(self._ends)},
                    "keys": [_key_to(key) for key in self._keys.values()],
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
        if client_id >= len(self._config.clients):
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
            try:
                self._inner(now, client_id, wire.decode_inner(inner))
            except DecodeError:
                pass
            return client_id
        if isinstance(message, wire.Hello) and not isinstance(message, wire.HelloReply):
            reply = seal.hello(message)
            if reply is not None:
                self.effects.append(Send(client_id, reply, path))
        return None

    def _new_session(self, now: float, client_id: int) -> None:
        self._ends[client_id].end_session()
        for key in self._keys.values():
            if key.responder == client_id:
                key.block, key.delivery, key.backoff = None, None, Backoff(now)

    def _inner(self, now: float, client_id: int, message: wire.Inner) -> None:
        ends = self._ends[client_id]
        match message:
            case wire.LeaseRequest():
                if message.table == ends.receiver.table.number:
                    answer = ends.grant(message)
                    self._persist()
                    self._send(client_id, answer.encode())
            case wire.LeaseGrant():
                if ends.take_grant(message):
                    ends.lease_backoff = None
                    self._persist()
            case wire.LeaseDenied():
                if ends.sender.take_denied(message):
                    ends.lease_backoff = None
            case wire.Upload():
                self._upload(now, client_id, message)
            case wire.Answer():
                self._answer(now, client_id, message)
            case wire.Busy():
                for key in self._keys.values():
                    if key.responder == client_id and key.block and key.block.index == message.index:
                        key.backoff.again(now)
            case wire.Fetch():
                self._fetch(now, client_id)
        self._deliver(now)

    def timeout(self, now: float) -> None:
        over = [name for name, key in self._keys.items() if now >= key.ends]
        for name in over:
            del self._keys[name]
        if over:
            self._persist()
        self._deliver(now)

    def next_timeout(self, now: float) -> float:
        return now + 0.1 if any(key.share is not None for key in self._keys.values()) else now + 1.0

    def _send(self, client_id: int, inner: bytes) -> None:
        if self._envelopes[client_id].session is not None:
            self.effects.append(Send(client_id, self._envelopes[client_id].seal(inner)))

    # ---- uploads

    def _upload(self, now: float, client_id: int, message: wire.Upload) -> None:
        ends = self._ends[client_id]
        if message.table == ends.receiver.table.number and message.index in ends.answers:
            before = ends.answers[message.index]
            if before is not None:
                self._send(client_id, before.encode())
                self._confirm_if_known(now, (client_id, message.key_id))
            return
        block = ends.open_share(message)
        if block is None:
            return
        share = self.accepted_share(xor(message.share, block.pad) if message.share else block.pad)
        status = self._judge(now, client_id, message, share)
        if status == wire.Status.ACCEPTED:
            self._persist()
        self._send(client_id, ends.answer(block, status).encode())
        if status == wire.Status.ACCEPTED:
            self._confirm_if_known(now, (client_id, message.key_id))

    def accepted_share(self, share: bytes) -> bytes:
        """What is handed out later: for an honest hub, the share itself."""
        return share

    def _judge(self, now: float, client_id: int, message: wire.Upload, share: bytes) -> wire.Status:
        """The first row of D "Hub" that fits. ACCEPTED stores the share."""
        terms = message.terms
        tags = [client.link.client_tag for client in self._config.clients]
        if message.peer not in tags:
            return wire.Status.UNKNOWN_PEER
        responder = tags.index(message.peer)
        known = self._keys.get((client_id, message.key_id))
        if known is not None:
            same = (known.responder, known.terms, known.secret_tag) == (responder, terms, message.secret_tag)
            if same and known.share in (None, share):
                return wire.Status.ACCEPTED
            return wire.Status.KEY_ID_IN_USE
        if responder == client_id or tags[client_id] not in self._config.clients[responder].authorised:
            return wire.Status.NOT_AUTHORISED
        if terms.suite != keys.ITS:
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
            session = self._envelopes[key.responder].session
            if key.share is None or session is None or now < key.backoff.due:
                continue
            if key.delivery is None and not self._make_delivery(now, key, session.heard):
                continue
            if key.backoff.sent < SENDINGS and key.delivery is not None:
                self._send(key.responder, key.delivery)
                key.backoff.again(now)

    def _make_delivery(self, now: float, key: Key, heard: bool) -> bool:
        """The delivery in a new block, if there is a lease for it; else a lease is asked for."""
        ends = self._ends[key.responder]
        assert key.share is not None
        elements = 4 + wire.secret_block_elements(key.terms.key_length)
        index = ends.sender.allocate(elements)
        if index is None:
            if heard:
                self._ask_for_lease(now, key.responder, elements)
            return False
        table = ends.sender.table
        key.block = block = ledger.block_at(table, index, elements)
        # Blocks that are still repeated must stay above the floor.
        open_blocks = [
            other.block.index
            for other in self._keys.values()
            if other.responder == key.responder and other.block is not None and other.share is not None
        ]
        unsigned = wire.Delivery(
            table.number,
            index,
            min(open_blocks),
            key.key_id,
            self._config.clients[key.initiator].link.client_tag,
            key.terms,
            key.secret_tag,
            xor(key.share, block.pad),
            b"",
        )
        body = unsigned.body()
        key.delivery = body + ends.tagger.tag(block.message_key, ends.sends, body)
        table.erase(index, index + elements)
        return True

    def _ask_for_lease(self, now: float, client_id: int, elements: int) -> None:
        ends = self._ends[client_id]
        if ends.sender.denied:
            return
        if ends.sender.request is None:
            ends.sender.ask(self._random(16), elements)
            ends.lease_backoff = Backoff(now)
            self._persist()
        assert ends.sender.request is not None
        if ends.lease_backoff is not None and now >= ends.lease_backoff.due:
            self._send(client_id, ends.sender.request.encode())
            ends.lease_backoff.again(now)

    def _answer(self, now: float, client_id: int, message: wire.Answer) -> None:
        """B's answer: the share is dropped, and (A, key id) kept until the lifetime ends."""
        ends = self._ends[client_id]
        for key in self._keys.values():
            block = key.block
            if key.responder != client_id or block is None or key.share is None:
                continue
            if (message.table, message.index) != (ends.sender.table.number, block.index):
                continue
            if not ends.answer_verifies(message, block):
                return
            confirmation = message.confirmation
            if message.status == wire.Status.ACCEPTED:
                if confirmation is None or not confirmation.fits(key.terms.hubs):
                    return
                key.confirmation = confirmation
            key.share, key.delivery = None, None
            self._persist()
            self._confirm_if_known(now, (key.initiator, key.key_id))
            return

    # ---- what is asked for

    def _fetch(self, now: float, client_id: int) -> None:
        waiting = sum(key.responder == client_id and key.share is not None for key in self._keys.values())
        self._send(client_id, wire.Fetched(min(waiting, 0xFFFF)).encode())
        for name, key in self._keys.items():
            if key.initiator == client_id and now >= key.confirmed_at.due:
                self._confirm_if_known(now, name)

    def _confirm_if_known(self, now: float, name: tuple[int, bytes]) -> None:
        key = self._keys.get(name)
        if key is not None and key.confirmation is not None:
            peer = self._config.clients[key.responder].link.client_tag
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
    )
