"""A link between a client and a hub, with what each end has of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...dske import envelope, epochs, tags, wire
from ...dske.envelope import ReplayWindow, SessionKeys
from ...suites import SUITES, NotAuthentic
from ..case import Json

Place = tuple[int, int, int]


def decoded(inner: bytes) -> tuple[int, Any]:
    """An inner message, behind its number in an epoch; 0 where it has none."""
    if inner[:1] and inner[0] in epochs.ONE_TIME:
        return epochs.decode(inner)
    return 0, wire.decode_inner(inner)


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
