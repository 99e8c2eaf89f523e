"""What the file `dske-transcripts` means.

An exchange is made anew: of each message, only its kind, its numbers and what its sender was free to choose are taken
over. Everything else comes from tables, initial keys, what was drawn, and the messages before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..dske import entries, envelope, epochs, tags, wire
from ..dske import key as keys
from ..dske.decoding import decode
from ..dske.envelope import ReplayWindow, SessionKeys
from ..dske.observer import FoundKey, ObservedLink, Observer
from ..dske.sharing import interpolate
from ..octets import DecodeError, Policy, WrongState, xor
from ..records import replay
from ..suites import SUITES, NotAuthentic, equal
from .case import Case, Json, Kind, layer_of

# What never goes to a hub, and what never goes to a client.
TO_CLIENTS = (wire.Delivery, wire.Busy, wire.Confirm, wire.Fetched, wire.Refill, wire.Outcome)
TO_HUBS = (wire.Upload, wire.Fetch, wire.Refilled, wire.Command)
# Elements of a table that the clients of these tests take over the network.
LONGEST_REFILL = 65536

Place = tuple[int, int, int]


@dataclass
class Session:
    salts: tuple[bytes, bytes]
    keys: SessionKeys
    # Which of the link's initial keys it rests on.
    initial: int = 0
    used: bool = False


@dataclass
class LinkEnd:
    """What one end of a link has of it at a moment."""

    session: Session | None = None
    numbers: set[int] = field(default_factory=set)
    window: ReplayWindow = field(default_factory=ReplayWindow)
    salt: bytes = b""
    # The salt of a hello under the next initial key, beside a session.
    probe: bytes = b""
    # The initial keys that it has, by their places in the link's list; and how many it was given.
    present: int = 0
    next: int | None = None
    given: int = 1
    # Tables that it took out of service, by direction and number.
    retired: set[tuple[int, int]] = field(default_factory=set)
    # The open request for a lease, and the request that was granted last, with the leases of the session, by table.
    nonce: bytes = b""
    asked: wire.LeaseRequest | None = None
    granted: wire.LeaseRequest | None = None
    leases: list[tuple[int, int, int]] = field(default_factory=list)
    used: list[tuple[int, int, int]] = field(default_factory=list)
    # What was sent in this session, by table, index and number: its kind.
    sent: dict[Place, str] = field(default_factory=dict)
    # What was taken of each key, for good: peer, terms, secret tag.
    contents: dict[bytes, tuple[bytes, wire.Terms, bytes]] = field(default_factory=dict)
    epochs: dict[tuple[int, int], int] = field(default_factory=dict)
    # The table that comes: direction, number, octets so far.
    refill: tuple[int, int, bytes] | None = None

    def begin(self, session: Session) -> None:
        self.session, self.numbers, self.window = session, set(), ReplayWindow()
        self.asked = self.granted = self.refill = None
        self.leases, self.used, self.sent, self.epochs = [], [], {}, {}
        self.probe = b""

    def after_a_start(self) -> LinkEnd:
        """What is durable of it here."""
        return LinkEnd(present=self.present, next=self.next, given=self.given, retired=self.retired)

    def initial_keys(self) -> list[int]:
        """The next one is tried first (D "Replacement of the initial key")."""
        return [self.present] if self.next is None else [self.next, self.present]

    def proves(self, session: Session) -> None:
        if session.initial == self.next:
            self.present, self.next = self.next, None


class Link:
    def __init__(self, stated: Json, hub: Json, client: Json, suite: int) -> None:
        self.suite = SUITES[suite]
        self.client, self.hub = stated["client"], stated["hub"]
        self.client_id, self.client_tag = stated["clientId"], bytes.fromhex(client["tag"])
        self.hub_id, self.coordinate = bytes.fromhex(hub["hubId"]), hub["coordinate"]
        # All initial keys that it ever has.
        self.k0s = [bytes.fromhex(stated["initialKey"])]
        self.tables = {
            (way, stated[name]["number"]): bytes.fromhex(stated[name]["octets"])
            for way, name in ((0, "uplink"), (1, "downlink"))
        }
        self.ends = {self.client: LinkEnd(), self.hub: LinkEnd()}
        self.sessions: list[Session] = []
        self.generation = 0
        self.revoked = False
        # Of a hub: its boot key, and the table that it sends.
        self.boot_key = b""
        self.refills: dict[tuple[int, int], bytes] = {}

    def elements(self, direction: int, table: int, index: int, count: int) -> bytes:
        return self.tables[direction, table][16 * index : 16 * (index + count)]

    def tag(self, key: bytes, direction: int, body: bytes) -> bytes:
        return tags.message_tag(key, wire.tag_input(direction, self.client_id, self.hub_id, body))

    def before(self, direction: int) -> bytes:
        return wire.tag_input(direction, self.client_id, self.hub_id, b"")

    def epoch_keys(self, direction: int, suite: int, table: int, index: int) -> tuple[bytes, bytes]:
        secrets = self.elements(direction, table, index, 4)
        return epochs.keys(
            self.suite, direction, self.client_id, self.hub_id, suite, table, index, secrets[:32], secrets[32:]
        )

    def hello_keys(self, initial: int) -> envelope.LinkKeys:
        return envelope.link_keys(self.suite, self.k0s[initial], self.hub_id)

    def session_of(self, salts: tuple[bytes, bytes], initial: int) -> Session:
        for session in self.sessions:
            if (session.salts, session.initial) == (salts, initial):
                return session
        made = envelope.session_keys(self.suite, self.k0s[initial], *salts, self.client_id, self.hub_id)
        self.sessions.append(Session(salts, made, initial))
        return self.sessions[-1]

    def hello_is_under(self, end: LinkEnd, message: wire.Hello) -> int | None:
        """Which of the initial keys that a hub has."""
        for initial in end.initial_keys():
            if envelope.hello_verifies(self.suite, self.hello_keys(initial).hello, b"", message):
                return initial
        return None

    def reply_is_under(self, end: LinkEnd, message: wire.HelloReply) -> tuple[bytes, int] | None:
        """The salt that a client sent, and the initial key."""
        probed = end.session is not None
        salt = end.probe if probed else end.salt
        for initial in end.initial_keys():
            if probed and initial != end.next:
                continue
            if envelope.hello_verifies(self.suite, self.hello_keys(initial).reply, salt, message):
                return salt, initial
        return None

    def session_that_opens(self, end: LinkEnd, message: wire.Sealed, hub_salt: bytes) -> tuple[Session, bytes]:
        """Of a hub, for a SEALED_FRESH of another salt than its session's."""
        assert message.salt is not None
        for initial in end.initial_keys():
            session = self.session_of((message.salt, hub_salt), initial)
            try:
                return session, envelope.open_sealed(self.suite, session.keys.uplink, message)
            except NotAuthentic:
                pass
        raise NotAuthentic("no initial key gives a session that opens it")


@dataclass
class Key:
    """A key as its initiator makes it. `stated` has what is chosen: terms, origins, and B's bitmaps."""

    stated: Json
    key_id: bytes = b""
    parts: dict[str, bytes] = field(default_factory=dict)
    shares: dict[int, bytes] = field(default_factory=dict)
    # Those of its hubs; none where all of the initiator's take part.
    chosen: bytes | None = None
    coordinates: tuple[int, ...] = ()
    context: bytes = b""
    block: bytes = b""
    secret_tag: bytes = b""
    # What came to the responder, by coordinate, in the order in which it came; and whom it blames.
    came: dict[int, bytes] = field(default_factory=dict)
    lying: bytes | None = None

    def accept(self) -> bytes:
        """The key that the responder finds in what came (D "Decoding"). It fixes whom it blames."""
        found = decode(self.stated["threshold"], list(self.came.items()), self.context, self.secret_tag)
        if found is None:
            raise ValueError("the responder gives a key that it cannot find")
        if self.lying is None:
            bits = sum(1 << i for i, x in enumerate(self.coordinates) if x in found.culprits)
            self.lying = bits.to_bytes(-(-len(self.coordinates) // 8), "little")
        return keys.key_of_block(found.secret, self.stated["keyLength"])

    def confirmation(self) -> wire.Confirmation:
        origins, lying = bytes.fromhex(self.stated["confirmation"]["origins"]), self.lying
        assert lying is not None
        tag = keys.confirmation_tag(self.parts["confirmKey"], self.context, origins, lying)
        return wire.Confirmation(origins, lying, tag)


class World:
    def __init__(self, case: Case) -> None:
        test = case.test
        self.clients = {client["name"]: client for client in test["clients"]}
        self.hubs = {hub["name"]: hub for hub in test["hubs"]}
        self.links = [
            Link(link, self.hubs[link["hub"]], self.clients[link["client"]], test["envelopeSuite"])
            for link in test["links"]
        ]
        ends = [*test["clients"], *test["hubs"]]
        self._random = {end["name"]: bytes.fromhex(end["random"]) for end in ends}
        self.keys = [Key(stated) for stated in test["keys"]]
        self._next_key = 0
        self._made = 0
        self.sent: set[bytes] = set()
        # In the order of the file: by client, hub, direction, table, index.
        self.blocks: dict[tuple[int, int, int, int], int] = {}
        self.epochs: dict[tuple[int, int, int, int], int] = {}
        self._sessions: list[tuple[Link, Session]] = []
        # What hubs said of the name that a client looks up, by coordinate.
        self._said: dict[str, dict[int, wire.Found]] = {}

    def link(self, one: str, other: str) -> Link:
        return next(link for link in self.links if {link.client, link.hub} == {one, other})

    def of(self, end: str) -> list[Link]:
        return [link for link in self.links if end in (link.client, link.hub)]

    # ---- one step

    def step(self, step: Json, refused: bool) -> Json:
        """What follows from the step: the paths of values within it, and the values."""
        end, given = step["end"], step["input"]
        made: Json = {}
        if given["type"] == "Start":
            if refused:
                return made
            self.stored(end, given)
            for link in self.of(end):
                link.ends[end] = link.ends[end].after_a_start()
                link.generation = 0 if end == link.hub else link.generation
        if given["type"] == "Request":
            terms = given
            if given["wish"] is not None:
                terms = self._negotiate(end, given["wish"])
                made |= {f"input.{name}": value for name, value in terms.items()}
            # Of a refused test there may be no key of it yet.
            for key in self.keys[self._next_key : self._next_key + 1]:
                key.chosen = None if terms["hubs"] is None else bytes.fromhex(terms["hubs"])
        self._draw(end, step)
        match given["type"]:
            case "Refill":
                link = self.link(end, given["client"])
                link.refills[given["direction"], given["table"]] = bytes.fromhex(given["octets"])
            case "AddTable":
                link = self.link(end, given["hub"])
                coming = link.ends[end].refill
                assert coming is not None
                link.tables[given["direction"], given["table"]] = coming[2]
                made["input.octets"] = coming[2].hex()
            case "InitialKey":
                link = self.link(end, given["about"])
                own = link.ends[end]
                if own.given == len(link.k0s):
                    link.k0s.append(bytes.fromhex(given["key"]))
                else:
                    made["input.key"] = link.k0s[own.given].hex()
                own.next, own.given, own.probe = own.given, own.given + 1, own.probe
            case "Provision":
                link, place = self.link(end, given["about"]), (given["direction"], given["table"])
                if place in link.tables:
                    made["input.octets"] = link.tables[place].hex()
                else:
                    link.tables[place] = bytes.fromhex(given["octets"])
            case "Command":
                self._said[end] = {}
            case "Retire":
                own = self.link(end, given["about"]).ends[end]
                own.retired.add((given["direction"], given["table"]))
                own.session = None
            case "Revoke":
                self.link(end, given["client"]).revoked = True
            case "Message":
                octets = bytes.fromhex(given["octets"])
                if octets not in self.sent and not refused:
                    raise ValueError("a message that nobody sent")
                if given["accepted"] or given["type"] == "Message" and not refused:
                    self._hear(end, given["from"], octets)
        for place, output in enumerate(step["outputs"]):
            if output["type"] == "Send":
                inner, octets = self._send(end, step, output)
                made[f"outputs[{place}].inner"] = None if inner is None else inner.hex()
                made[f"outputs[{place}].octets"] = octets.hex()
                self.sent.add(octets)
            elif output["type"] == "Key":
                key = next(key for key in self.keys if key.key_id.hex() == output["keyId"])
                is_first = not output["initiator"] and key.lying is None
                made[f"outputs[{place}].key"] = (key.accept() if is_first else key.parts["key"]).hex()
        return made

    def stored(self, end: str, given: Json) -> dict[bytes, bytes]:
        """What stands in the records from which an end starts (D "Records")."""
        kind = entries.HUB if end in self.hubs else entries.CLIENT
        machine = bytes.fromhex(self.hubs[end]["hubId"] if end in self.hubs else self.clients[end]["tag"])[:8]
        stored = replay([bytes.fromhex(record) for record in given["records"]], kind, machine)
        for name, value in stored.items():
            entries.entry(kind, name, value)
        return stored

    def _draw(self, end: str, step: Json) -> None:
        shares: list[bytes] = []
        making: Key | None = None
        for draw in step["draws"]:
            octets, self._random[end] = self._random[end][: draw["length"]], self._random[end][draw["length"] :]
            if len(octets) != draw["length"]:
                raise ValueError("more is drawn than there is")
            match draw["what"]:
                case "instance":
                    pass
                case "bootKey":
                    for link in self.of(end):
                        link.boot_key = octets
                case "salt":
                    # At a start all are drawn before any is seen: in the order of the links.
                    own = self.link(end, draw["about"]).ends[end]
                    own.salt, own.session, own.probe = octets, None, b""
                case "probe":
                    self.link(end, draw["about"]).ends[end].probe = octets
                case "nonce":
                    self.link(end, draw["about"]).ends[end].nonce = octets
                case "keyId":
                    self._ask(octets)
                case "tagKey":
                    making = self.keys[self._made]
                    self._made += 1
                    making.parts["tagKey"] = octets
                case "key" | "confirmKey":
                    assert making is not None
                    making.parts[draw["what"]] = octets
                case "share":
                    shares.append(octets)
                case what:
                    raise ValueError(f"draws {what}")
        if making is not None:
            self._make(end, step, making, shares)

    def _ask(self, key_id: bytes) -> None:
        if self._next_key < len(self.keys):
            self.keys[self._next_key].key_id = key_id
        self._next_key += 1

    def _make(self, end: str, step: Json, key: Key, drawn: list[bytes]) -> None:
        """The secret block and its shares (D "The secret block and its shares")."""
        stated = key.stated
        links = [link for link in self.of(end) if key.chosen is None or link.coordinate in key.chosen]
        key.coordinates = tuple(sorted(link.coordinate for link in links))
        origins = int.from_bytes(bytes.fromhex(stated["origins"]), "little")
        hubs = [
            keys.HubOfKey(link.hub_id, link.coordinate, origins >> i & 1)
            for i, link in enumerate(sorted(links, key=lambda link: link.coordinate))
        ]
        key.context = keys.context(
            stated["suite"],
            key.key_id,
            bytes.fromhex(stated["initiator"]),
            bytes.fromhex(stated["responder"]),
            stated["threshold"],
            stated["keyLength"],
            stated["lifetime"],
            hubs,
        )
        key.block = keys.secret_block(key.parts["tagKey"], key.parts["key"], key.parts["confirmKey"])
        key.secret_tag = keys.tag_of_block(key.block, key.context)
        points = {0: key.block} | {link.coordinate: share for link, share in zip(links, drawn)}
        for output in step["outputs"]:
            if output["type"] == "Send" and output["choices"].get("direct"):
                link, at = self.link(end, output["to"]), output["choices"]
                points[link.coordinate] = link.elements(
                    wire.UPLINK, at["table"], at["index"] + 4, len(key.block) // 16
                )
        if len(points) != stated["threshold"]:
            raise ValueError("another number of given shares than one less than the threshold")
        key.shares = {link.coordinate: interpolate(points, link.coordinate) for link in links}

    # ---- what an end hears

    def _hear(self, end: str, other: str, octets: bytes) -> None:
        link = self.link(end, other)
        own = link.ends[end]
        message = wire.decode_outer(octets)
        if link.revoked and end == link.hub:
            return
        if not isinstance(message, wire.Sealed):
            found = link.reply_is_under(own, message) if isinstance(message, wire.HelloReply) else None
            if found is not None:
                own.begin(link.session_of((found[0], message.salt), found[1]))
                own.salt = found[0]
            return
        session, is_new = own.session, False
        if end == link.hub and message.salt is not None and (session is None or session.salts[0] != message.salt):
            try:
                session, _ = link.session_that_opens(own, message, self._hub_salt(link, message.salt))
            except NotAuthentic:
                return
            own.begin(session)
            link.generation += 1
            is_new = True
        if session is None:
            return
        key = session.keys.downlink if end == link.client else session.keys.uplink
        try:
            inner = envelope.open_sealed(link.suite, key, message)
        except NotAuthentic:
            return
        if is_new or end == link.client:
            own.proves(session)
        if own.window.fresh(message.seq):
            own.window.mark(message.seq)
            self._take(link, end, inner)

    def _hub_salt(self, link: Link, salt: bytes) -> bytes:
        # Informative. A hub has one boot key, whatever the suites of its links.
        return envelope.hub_salt(SUITES[1], link.boot_key, link.client_id, salt, link.generation)

    def _take(self, link: Link, end: str, inner: bytes) -> None:
        """What this message changes for what comes later."""
        own = link.ends[end]
        number, message = 0, None
        if inner[0] in epochs.ONE_TIME:
            number, message = epochs.decode(inner)
        else:
            message = wire.decode_inner(inner)
        match message:
            case wire.LeaseRequest():
                own.granted = message
            case wire.LeaseGrant() | wire.LeaseDenied():
                own.asked = None
            case wire.Share():
                if inner[0] in epochs.ONE_TIME:
                    if (message.table, message.index) not in own.epochs:
                        own.used.append((message.table, message.index, message.index + 4))
                    own.epochs[message.table, message.index] = message.terms.suite
                else:
                    length = 4 + wire.secret_block_elements(message.terms.key_length)
                    own.used.append((message.table, message.index, message.index + length))
                own.contents.setdefault(message.key_id, (message.peer, message.terms, message.secret_tag))
                if end == link.client:
                    key = next(key for key in self.keys if key.key_id == message.key_id)
                    key.came.setdefault(link.coordinate, self._share_in(link, inner, message))
            case wire.Command():
                own.used.append((message.table, message.index, message.index + 4))
            case wire.Outcome() if message.found is not None:
                self._said[end][link.coordinate] = message.found
            case wire.Refill():
                known = (message.direction, message.table)
                before = own.refill if own.refill and own.refill[:2] == known else None
                so_far = before[2] if before else b""
                if 16 * message.first == len(so_far):
                    own.refill = (*known, so_far + message.pad)
            case wire.Refilled():
                table = link.refills.get((message.direction, message.table), b"")
                if table and 16 * message.next == len(table):
                    link.tables[message.direction, message.table] = table

    def _share_in(self, link: Link, inner: bytes, delivery: wire.Share) -> bytes:
        way, at = wire.DOWNLINK, (delivery.table, delivery.index)
        if inner[0] in epochs.ONE_TIME:
            suite = delivery.terms.suite
            _, share_key = link.epoch_keys(way, suite, *at)
            return epochs.open_sealed(suite, share_key, link.before(way), inner)
        return xor(delivery.share, link.elements(way, at[0], at[1] + 4, len(delivery.share) // 16))

    def _negotiate(self, end: str, wish: Json) -> Json:
        """Terms from what the client's hubs say (D "Policy negotiation"). All tables of these tests have room."""
        own, said = self.clients[end], self._said[end]
        chosen = wish["hubs"] and bytes.fromhex(wish["hubs"])
        wished = [link.coordinate for link in self.of(end) if chosen is None or link.coordinate in chosen]
        offers = [found.offer for found in said.values() if found.offer is not None]
        offer = max(offers, key=offers.count)
        alike = [x for x in wished if x in said and said[x].offer == offer]
        if len(alike) < max(own["minimumThreshold"], wish["threshold"], len(wished) // 2 + 1):
            raise ValueError("too few hubs say this offer")
        only_its = wish["informationTheoretic"] or own["informationTheoretic"] or offer.information_theoretic
        suites = [
            suite for suite in (wish["suite"], 1, 2, 3) if suite in offer.suites and (suite == keys.ITS or not only_its)
        ]
        hubs = [x for x in wished if x in offer.coordinates]
        least = max(own["minimumThreshold"], offer.threshold, wish["threshold"], 2)
        if least > len(hubs):
            raise ValueError("too few hubs serve both")
        return {
            "suite": suites[0],
            "threshold": max(least, len(hubs) // 2 + 1),
            "lifetime": min(wish["lifetime"], offer.lifetime, own["longestLifetime"]),
            "hubs": None if len(hubs) == len(self.of(end)) else bytes(hubs).hex(),
            "informationTheoretic": only_its,
        }

    # ---- what an end sends

    def _send(self, end: str, step: Json, output: Json) -> tuple[bytes | None, bytes]:
        link = self.link(end, output["to"])
        own, heard = link.ends[end], bytes.fromhex(step["input"].get("octets") or "")
        match output["message"]:
            case "HELLO":
                initial = output["choices"].get("initialKey", 0)
                if initial not in own.initial_keys() or own.probe and initial != own.next:
                    raise ValueError("a hello under an initial key that it cannot be under")
                body = wire.Hello(link.client_id, own.probe or own.salt, b"").body()
                return None, body + envelope.hello_tag(link.suite, link.hello_keys(initial).hello, b"", body)
            case "HELLO_REPLY":
                asked = wire.decode_outer(heard)
                assert isinstance(asked, wire.Hello)
                initial = link.hello_is_under(own, asked)
                if initial is None:
                    raise ValueError("the reply to a hello with a wrong tag")
                body = wire.HelloReply(link.client_id, self._hub_salt(link, asked.salt), b"").body()
                session = link.session_of((asked.salt, body[5:21]), initial)
                if (link, session) not in self._sessions:
                    self._sessions.append((link, session))
                return None, body + envelope.hello_tag(link.suite, link.hello_keys(initial).reply, asked.salt, body)
            case "HELLO_REQUEST":
                # The next key, if there is one, for every other AEAD tag.
                initial = own.next if own.next is not None and heard[-16] & 1 else own.present
                body = wire.HelloRequest(link.client_id, b"").body()
                return None, body + envelope.hello_tag(link.suite, link.hello_keys(initial).request, heard[-16:], body)
        inner = self._inner(link, end, step, output)
        assert own.session is not None
        own.session.used = True
        key = own.session.keys.uplink if end == link.client else own.session.keys.downlink
        salt_c = own.session.salts[0] if output["choices"]["fresh"] else None
        if output["choices"]["seq"] in own.numbers:
            raise ValueError("a sequence number twice")
        own.numbers.add(output["choices"]["seq"])
        octets = envelope.seal(link.suite, key, link.client_id, salt_c, output["choices"]["seq"], inner)
        return inner, octets

    def _inner(self, link: Link, end: str, step: Json, output: Json) -> bytes:
        own, at = link.ends[end], output["choices"]
        # Of the message; the tables of the other direction are those that this end receives by.
        way = wire.UPLINK if end == link.client else wire.DOWNLINK
        kind: str = output["message"]
        match kind:
            case "FETCH":
                return wire.Fetch().encode()
            case "FETCHED":
                return wire.Fetched(at["waiting"]).encode()
            case "BUSY":
                return wire.Busy(at["table"], at["index"]).encode()
            case "REFILLED":
                return wire.Refilled(at["direction"], at["table"], at["next"]).encode()
            case "REFILL":
                table = link.refills[at["direction"], at["table"]]
                pad = table[16 * at["first"] : 16 * (at["first"] + at["count"])]
                return wire.Refill(at["direction"], at["table"], at["elements"], at["first"], pad).encode()
            case "LEASE_REQUEST":
                own.asked = wire.LeaseRequest(at["table"], own.nonce, at["mark"], at["want"])
                return own.asked.encode()
            case "LEASE_DENIED":
                assert own.granted is not None
                return wire.LeaseDenied(at["table"], own.granted.nonce, at["mark"]).encode()
            case "LEASE_GRANT":
                assert own.granted is not None
                body = wire.LeaseGrant(at["table"], own.granted.nonce, at["start"], at["end"], b"").body()
                own.leases.append((at["table"], at["start"], at["end"]))
                return body + link.tag(link.elements(1 - way, at["table"], at["start"], 2), way, body)
            case "CONFIRM":
                key = self.keys[at["key"]]
                responder = bytes.fromhex(key.stated["responder"])
                return wire.Confirm(key.key_id, responder, key.confirmation()).encode()
            case "UPLOAD" | "DELIVERY" | "UPLOAD_SEALED" | "DELIVERY_SEALED":
                return self._share(link, own, way, kind, at)
            case "ANSWER" | "ANSWER_SEALED":
                return self._answer(link, way, kind, at)
        return self._commanded(link, own, way, kind, at, bytes.fromhex(output["body"]))

    def _noted(self, link: Link, way: int, at: Json, held: dict[tuple[int, int, int, int], int], value: int) -> None:
        held[self.links.index(link), way, at["table"], at["index"]] = value

    def _share(self, link: Link, own: LinkEnd, way: int, kind: str, at: Json) -> bytes:
        key = self.keys[at["key"]]
        stated, share = key.stated, key.shares[link.coordinate]
        error = self.hubs[link.hub]["error"]
        if error is not None and way == wire.DOWNLINK:
            # A hub that lies.
            share = xor(share, bytes.fromhex(error))
        peer = bytes.fromhex(stated["responder"] if way == wire.UPLINK else stated["initiator"])
        terms = wire.Terms(
            stated["suite"],
            stated["threshold"],
            stated["keyLength"],
            stated["lifetime"],
            key.coordinates,
            bytes.fromhex(stated["origins"]),
        )
        message = wire.Upload if way == wire.UPLINK else wire.Delivery
        own.sent[at["table"], at["index"], at.get("number", 0)] = kind
        if kind.endswith("_SEALED"):
            self._noted(link, way, at, self.epochs, stated["suite"])
            own.epochs[at["table"], at["index"]] = stated["suite"]
            plain = message(at["table"], at["index"], at["floor"], key.key_id, peer, terms, key.secret_tag, b"", b"")
            body = plain.body()
            head = epochs.head(body, at["number"])
            _, share_key = link.epoch_keys(way, stated["suite"], at["table"], at["index"])
            nonce = epochs.nonce(at["number"])
            return head + epochs.seal(stated["suite"], share_key, nonce, link.before(way) + head, share)
        self._noted(link, way, at, self.blocks, len(share) // 16)
        pad = link.elements(way, at["table"], at["index"] + 4, len(share) // 16)
        travels = b"" if at.get("direct") else xor(share, pad)
        unsigned = message(
            at["table"], at["index"], at["floor"], key.key_id, peer, terms, key.secret_tag, travels, b""
        )
        body = unsigned.body()
        return body + link.tag(link.elements(way, at["table"], at["index"] + 2, 2), way, body)

    def _answer(self, link: Link, way: int, kind: str, at: Json) -> bytes:
        confirmation = None
        if way == wire.UPLINK and at["status"] == wire.Status.ACCEPTED:
            confirmation = self.keys[self._key_of(link, at)].confirmation()
        body = wire.Answer(at["table"], at["index"], at["status"], confirmation, b"").body()
        if kind == "ANSWER":
            return body + link.tag(link.elements(1 - way, at["table"], at["index"], 2), way, body)
        suite = self.epochs[self.links.index(link), 1 - way, at["table"], at["index"]]
        head = epochs.head(body, at["number"])
        answer_key, _ = link.epoch_keys(1 - way, suite, at["table"], at["index"])
        return head + epochs.seal(suite, answer_key, epochs.nonce(at["number"]), link.before(way) + head, b"")

    def _key_of(self, link: Link, at: Json) -> int:
        """The key whose delivery is answered."""
        return self.delivered[self.links.index(link), at["table"], at["index"], at.get("number", 0)]

    def _commanded(self, link: Link, own: LinkEnd, way: int, kind: str, at: Json, body: bytes) -> bytes:
        types = {"LOOKUP": 30, "PUBLISH": 31, "WITHDRAW": 32, "AUTHORISE": 33}
        place = at["table"].to_bytes(2, "big") + at["index"].to_bytes(4, "big")
        if kind == "OUTCOME":
            octets = bytes([34]) + place + bytes([at["status"]]) + body
            return octets + link.tag(link.elements(1 - way, at["table"], at["index"], 2), way, octets)
        self._noted(link, way, at, self.blocks, 0)
        own.sent[at["table"], at["index"], 0] = kind
        octets = bytes([types[kind]]) + place + at["floor"].to_bytes(4, "big") + body
        return octets + link.tag(link.elements(way, at["table"], at["index"] + 2, 2), way, octets)

    # ---- what the file says beside the steps

    def values(self) -> Json:
        values: Json = {
            "sessions": [
                {
                    "client": link.client,
                    "hub": link.hub,
                    "saltC": session.salts[0].hex(),
                    "saltH": session.salts[1].hex(),
                    "prk": envelope.session_prk(link.suite, link.k0s[session.initial], *session.salts).hex(),
                    "uplinkKey": session.keys.uplink.hex(),
                    "downlinkKey": session.keys.downlink.hex(),
                }
                for link, session in self._sessions
                if session.used
            ],
            "blocks": [
                {
                    **self._place(place),
                    "answerKey": self._elements(place, 0, 2),
                    "messageKey": self._elements(place, 2, 2),
                    "pad": self._elements(place, 4, length),
                }
                for place, length in sorted(self.blocks.items())
            ],
            "epochs": [],
        }
        for place, suite in sorted(self.epochs.items()):
            link, way, table, index = place
            answer, share = self.links[link].epoch_keys(way, suite, table, index)
            values["epochs"].append(
                {**self._place(place), "suite": suite, "answerKey": answer.hex(), "shareKey": share.hex()}
            )
        for i, key in enumerate(self.keys):
            values |= {f"keys[{i}].{name}": value for name, value in key_values(key).items()}
        return values

    def _place(self, place: tuple[int, int, int, int]) -> Json:
        link, way, table, index = place
        names = self.links[link]
        return {"client": names.client, "hub": names.hub, "direction": way, "table": table, "index": index}

    def _elements(self, place: tuple[int, int, int, int], first: int, count: int) -> str:
        link, way, table, index = place
        return self.links[link].elements(way, table, index + first, count).hex()

    # ---- the receiver of the last message

    def refuse(self, end: str, other: str, octets: bytes) -> None:
        """Raises what refuses the message, at the first layer that does (D "Outer messages" to "Commands")."""
        message = wire.decode_outer(octets)
        links = [link for link in self.of(end) if link.client_id == message.client_id]
        if end in self.clients:
            links = [link for link in links if link.hub == other]
        if not links or links[0].revoked and end == links[0].hub:
            raise WrongState("a client id that the hub has not given, or has revoked")
        link = links[0]
        inner = self._opened(link, end, message)
        if inner is None:
            return
        number, decoded = 0, None
        if inner[:1] and inner[0] in epochs.ONE_TIME:
            number, decoded = epochs.decode(inner)
        else:
            decoded = wire.decode_inner(inner)
        if isinstance(decoded, TO_CLIENTS if end == link.hub else TO_HUBS):
            raise WrongState("a message that never goes this way")
        self._judge(link, end, inner, number, decoded)

    def _opened(self, link: Link, end: str, message: wire.Outer) -> bytes | None:
        own, suite = link.ends[end], link.suite
        if isinstance(message, wire.Sealed):
            session = own.session
            if end == link.hub and message.salt is not None and (session is None or session.salts[0] != message.salt):
                return link.session_that_opens(own, message, self._hub_salt(link, message.salt))[1]
            if session is None or (end == link.client and message.salt is not None):
                raise WrongState("no session that could open it")
            if not own.window.fresh(message.seq):
                raise WrongState("it was taken before")
            key = session.keys.uplink if end == link.hub else session.keys.downlink
            return envelope.open_sealed(suite, key, message)
        if isinstance(message, wire.HelloReply):
            if end == link.hub or own.session is not None and not own.probe:
                raise WrongState("no hello waits for it")
            verifies = link.reply_is_under(own, message) is not None
        elif isinstance(message, wire.Hello):
            if end == link.client:
                raise WrongState("a message that never goes this way")
            verifies = link.hello_is_under(own, message) is not None
        else:
            raise WrongState("about no message of this end")
        if not verifies:
            raise NotAuthentic("a hello")
        return None

    def _judge(self, link: Link, end: str, inner: bytes, number: int, message: Any) -> None:
        own, receives = link.ends[end], wire.UPLINK if end == link.hub else wire.DOWNLINK
        match message:
            case wire.LeaseRequest():
                before = own.granted
                if before and before.nonce != message.nonce and message.mark <= before.mark:
                    raise WrongState("a repetition that came late")
            case wire.LeaseGrant():
                asked = own.asked
                if asked is None or (asked.nonce, asked.table) != (message.nonce, message.table):
                    raise WrongState("nothing that was asked")
                if message.start < asked.mark or not 3 <= message.end - message.start <= asked.want:
                    raise WrongState("another lease than was asked for")
                self._verify(link, receives, inner, 1 - receives, message.table, message.start)
            case wire.LeaseDenied():
                if own.asked is None or own.asked.nonce != message.nonce:
                    raise WrongState("nothing that was asked")
            case wire.Share():
                sealed = inner[0] in epochs.ONE_TIME
                self._judge_share(link, own, end, inner, number if sealed else None, message)
            case wire.Command():
                self._must_open(link, own, receives, message.table, message.index, 4)
                self._verify(link, receives, inner, receives, message.table, message.index + 2)
            case wire.Answer() | wire.Outcome():
                if (message.table, message.index, number) not in own.sent:
                    raise WrongState("the answer to what was not sent")
                if inner[0] in epochs.ONE_TIME:
                    suite = own.epochs[message.table, message.index]
                    answer_key, _ = link.epoch_keys(1 - receives, suite, message.table, message.index)
                    epochs.open_sealed(suite, answer_key, link.before(receives), inner)
                else:
                    self._verify(link, receives, inner, 1 - receives, message.table, message.index)
            case wire.Confirm():
                key = next((key for key in self.keys if key.key_id == message.key_id), None)
                if key is None or key.stated["responder"] != message.peer.hex():
                    raise WrongState("a key that nobody asked for")
                told = message.confirmation
                right = keys.confirmation_tag(key.parts["confirmKey"], key.context, told.origins, told.lying)
                if not equal(right, told.tag):
                    raise NotAuthentic("B's tag")
            case wire.Refill():
                if message.elements > LONGEST_REFILL:
                    raise Policy("longer than this client takes")
                if message.first:
                    raise WrongState("not the next part")
            case wire.Refilled():
                table = link.refills.get((message.direction, message.table))
                if table is None or 16 * message.next > len(table):
                    raise WrongState("no such table is sent")

    def _verify(self, link: Link, way: int, inner: bytes, of: int, table: int, index: int) -> None:
        if not equal(link.tag(link.elements(of, table, index, 2), way, inner[:-16]), inner[-16:]):
            raise NotAuthentic("a one-time tag")

    def _must_open(self, link: Link, own: LinkEnd, way: int, table: int, index: int, length: int) -> None:
        """D "Opening blocks"."""
        if (way, table) not in link.tables or (way, table) in own.retired:
            raise WrongState("no such table")
        if not any(of == table and start + 2 <= index and index + length <= end for of, start, end in own.leases):
            raise WrongState("no lease holds the block")
        if any(of == table and index < end and start < index + length for of, start, end in own.used):
            raise WrongState("it overlaps a block that was used")

    def _judge_share(
        self, link: Link, own: LinkEnd, end: str, inner: bytes, number: int | None, message: wire.Share
    ) -> None:
        way = wire.UPLINK if end == link.hub else wire.DOWNLINK
        terms = message.terms
        if number is None:
            length = 4 + wire.secret_block_elements(terms.key_length)
            self._must_open(link, own, way, message.table, message.index, length)
            self._verify(link, way, inner, way, message.table, message.index + 2)
        else:
            if (message.table, message.index) not in own.epochs:
                self._must_open(link, own, way, message.table, message.index, 4)
            _, share_key = link.epoch_keys(way, terms.suite, message.table, message.index)
            epochs.open_sealed(terms.suite, share_key, link.before(way), inner)
        content = (message.peer, terms, message.secret_tag)
        if own.contents.get(message.key_id, content) != content:
            raise Policy("the key id came with other content before")
        if end == link.hub:
            tags_there = [other.client_tag for other in self.of(end) if not other.revoked]
            if message.peer not in tags_there:
                raise Policy("no client with the responder's tag")
            if not self.hubs[end]["authorised"]:
                raise Policy("the responder has not authorised the initiator")
            if terms.suite not in self.hubs[end]["suites"]:
                raise Policy("a suite that the hub does not relay")
            return
        policy = self.clients[end]
        if terms.threshold < policy["minimumThreshold"]:
            raise Policy("a threshold below the responder's")
        if terms.lifetime > policy["longestLifetime"]:
            raise Policy("a lifetime longer than the responder's")
        if policy["informationTheoretic"] and (terms.suite != keys.ITS or any(terms.origins)):
            raise Policy("less assurance than the responder's")
        if not set(terms.coordinates) <= {other.coordinate for other in self.of(end)}:
            raise Policy("a hub that the responder does not have")

    # ---- which key a delivery is of

    @property
    def delivered(self) -> dict[tuple[int, int, int, int], int]:
        return self._delivered

    _delivered: dict[tuple[int, int, int, int], int]

    def note_deliveries(self, steps: list[Json]) -> None:
        self._delivered = {}
        for step in steps:
            for output in step["outputs"]:
                if output["type"] == "Send" and output["message"].startswith("DELIVERY"):
                    at = output["choices"]
                    link = self.links.index(self.link(step["end"], output["to"]))
                    self._delivered[link, at["table"], at["index"], at.get("number", 0)] = at["key"]


def key_values(key: Key) -> Json:
    values: Json = {
        "keyId": key.key_id.hex(),
        "context": key.context.hex(),
        **{name: key.parts[name].hex() for name in ("tagKey", "key", "confirmKey")},
        "block": key.block.hex(),
        "secretTag": key.secret_tag.hex(),
    }
    for i, stated in enumerate(key.stated["shares"]):
        values[f"shares[{i}].share"] = key.shares[stated["coordinate"]].hex()
    if key.stated["confirmation"] is not None:
        told = key.confirmation()
        values |= {"confirmation.lying": told.lying.hex(), "confirmation.tag": told.tag.hex()}
    return values


def _play(case: Case, until_last: bool = False) -> tuple[World, Json]:
    world = World(case)
    steps = case.test["steps"]
    world.note_deliveries(steps)
    computed: Json = {}
    for number, step in enumerate(steps[:-1] if until_last else steps):
        refused = not case.valid and number == len(steps) - 1
        for path, value in world.step(step, refused).items():
            computed[f"steps[{number}].{path}"] = value
    return world, computed


def _outputs(case: Case) -> list[str]:
    paths = ["sessions", "blocks", "epochs"]
    # What both ends of a link are given: the second one gets what the first one got.
    seen: list[tuple[Any, ...]] = []
    clients = [client["name"] for client in case.test["clients"]]
    for number, step in enumerate(case.test["steps"]):
        given = step["input"]
        link = (step["end"], given.get("about")) if step["end"] in clients else (given.get("about"), step["end"])
        what = (*link, given["type"], given.get("direction"), given.get("table"))
        if given["type"] in ("InitialKey", "Provision") and seen.count(what) % 2:
            paths.append(f"steps[{number}].input.{'key' if given['type'] == 'InitialKey' else 'octets'}")
        seen.append(what)
        if given["type"] == "Request" and given["wish"] is not None:
            names = ("suite", "threshold", "lifetime", "hubs", "informationTheoretic")
            paths += [f"steps[{number}].input.{name}" for name in names]
        if given["type"] == "AddTable":
            paths.append(f"steps[{number}].input.octets")
        for place, output in enumerate(step["outputs"]):
            names = {"Send": ("inner", "octets"), "Key": ("key",)}.get(output["type"], ())
            paths += [f"steps[{number}].outputs[{place}].{name}" for name in names]
    for i, key in enumerate(case.test["keys"]):
        names = ["keyId", "context", "tagKey", "key", "confirmKey", "block", "secretTag"]
        names += [f"shares[{j}].share" for j in range(len(key["shares"]))]
        names += ["confirmation.lying", "confirmation.tag"] if key["confirmation"] is not None else []
        paths += [f"keys[{i}].{name}" for name in names]
    return paths


def _exchange(case: Case) -> Json:
    world, computed = _play(case)
    return computed | world.values()


def _refused(case: Case) -> str | None:
    if case.valid:
        return None
    world, _ = _play(case, until_last=True)
    last = case.test["steps"][-1]
    if last["input"]["type"] == "Start":
        return layer_of(lambda: world.stored(last["end"], last["input"]))
    return layer_of(lambda: world.refuse(last["end"], last["input"]["from"], bytes.fromhex(last["input"]["octets"])))


EXCHANGE = Kind(_outputs, _exchange, _refused)


# ---- what somebody finds who recorded everything


def _observed(case: Case) -> FoundKey:
    test = case.test
    roster = {hub["coordinate"]: bytes.fromhex(hub["hubId"]) for hub in test["roster"]}
    hubs = {hub["name"]: hub for hub in test["roster"]}
    links = {
        link["hub"]: ObservedLink(
            bytes.fromhex(hubs[link["hub"]]["hubId"]),
            hubs[link["hub"]]["coordinate"],
            link["clientId"],
            bytes.fromhex(link["initialKey"]),
            {(way, link[name]["number"]): bytes.fromhex(link[name]["octets"]) for way, name in enumerate(WAYS)},
        )
        for link in test["links"]
    }
    observer = Observer(SUITES[test["envelopeSuite"]], bytes.fromhex(test["clientTag"]), roster, links)
    for captured in test["captured"]:
        observer.see(captured["hub"], captured["direction"], bytes.fromhex(captured["octets"]))
    return observer.key(test["links"][0]["client"] == "alice")


WAYS = ("uplink", "downlink")


def _passive(case: Case) -> Json:
    if not case.valid:
        return {"found": None}
    found = _observed(case)
    terms, confirmation = found.terms, found.confirmation
    return {
        "found": {
            "keyId": found.key_id.hex(),
            "initiator": found.initiator.hex(),
            "responder": found.responder.hex(),
            "suite": terms.suite,
            "threshold": terms.threshold,
            "keyLength": terms.key_length,
            "lifetime": terms.lifetime,
            "origins": terms.origins.hex(),
            "context": found.context.hex(),
            "tagKey": found.block[:48].hex(),
            "key": keys.key_of_block(found.block, terms.key_length).hex(),
            "confirmKey": keys.confirm_key_of_block(found.block).hex(),
            "block": found.block.hex(),
            "secretTag": found.secret_tag.hex(),
            "shares": [{"coordinate": x, "share": share.hex()} for x, share in found.shares.items()],
            "confirmation": confirmation
            and {
                "origins": confirmation.origins.hex(),
                "lying": confirmation.lying.hex(),
                "tag": confirmation.tag.hex(),
            },
        }
    }


PASSIVE = Kind(lambda _: ["found"], _passive, lambda case: layer_of(lambda: _observed(case)))

FILES: dict[str, dict[str, Kind]] = {"dske-transcripts": {"Exchange": EXCHANGE, "Passive": PASSIVE}}
