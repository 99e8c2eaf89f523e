"""The two ends of a link: tables, leases and one-time tags in each direction, and the sessions of the envelope
(D "Envelope", "Ledger")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..suites import SUITES, NotAuthentic, Suite, equal
from . import envelope, ledger, wire
from .envelope import ReplayWindow, SessionKeys
from .ledger import Receiver, Sender, Table

# D "Timers", in seconds.
FIRST_WAIT = 0.25
LONGEST_WAIT = 8.0
FETCH_EVERY = 15.0


@dataclass
class Backoff:
    """When a request is repeated next: doubling, to a limit."""

    due: float
    wait: float = FIRST_WAIT
    sent: int = 0

    def again(self, now: float) -> None:
        self.sent += 1
        self.due = now + self.wait
        self.wait = min(2 * self.wait, LONGEST_WAIT)


@dataclass(frozen=True)
class LinkConfig:
    """What both ends of a link share (D "Provisioning")."""

    hub_id: bytes
    client_id: int
    client_tag: bytes
    k0: bytes
    suite: Suite
    uplink: Table
    downlink: Table


def suite_of(code: int) -> Suite:
    return SUITES[code]


class Tagger:
    """One-time tags of one link, in the direction that a message takes."""

    def __init__(self, config: LinkConfig) -> None:
        self._config = config

    def tag(self, key: bytes, direction: int, body: bytes) -> bytes:
        return ledger.tag(key, direction, self._config.client_id, self._config.hub_id, body)

    def verifies(self, key: bytes, direction: int, body: bytes, tag: bytes) -> bool:
        """A key of zeros only is a range that was erased: it verifies nothing."""
        return any(key) and equal(self.tag(key, direction, body), tag)


@dataclass
class Ends:
    """What one end holds of a link: it sends in one direction and receives in the other."""

    config: LinkConfig
    sender: Sender
    receiver: Receiver
    sends: int
    tagger: Tagger
    # The answers of this session, by the first element of the block; `None` where none was given yet.
    answers: dict[int, wire.Answer | None] = field(default_factory=dict)
    lease_backoff: Backoff | None = None

    @property
    def receives(self) -> int:
        return 1 - self.sends

    def stored(self) -> dict[str, Any]:
        return {"mark": self.sender.mark, "highWater": self.receiver.high_water}

    def end_session(self) -> None:
        self.sender.end_session()
        self.receiver.end_session()
        self.answers = {}
        self.lease_backoff = None

    def grant(self, request: wire.LeaseRequest) -> wire.LeaseGrant | wire.LeaseDenied:
        # A grant goes the way that answers to the request go: the direction of the message is the receiver's.
        return self.receiver.grant(request, lambda key, body: self.tagger.tag(key, self.sends, body))

    def take_grant(self, grant: wire.LeaseGrant) -> bool:
        return self.sender.take_grant(
            grant, lambda key, message: self.tagger.verifies(key, self.receives, message.body(), message.tag)
        )

    def open_share(self, message: wire.Share) -> ledger.Block | None:
        """The block of an upload or delivery whose tag verifies. It is used from now on."""
        elements = 4 + wire.secret_block_elements(message.terms.key_length)
        if not self.receiver.opens(message.table, message.index, elements):
            return None
        block = ledger.block_at(self.receiver.table, message.index, elements)
        if not self.tagger.verifies(block.message_key, self.receives, message.body(), message.tag):
            self.receiver.failed += 1
            return None
        self.receiver.use(message.index, elements)
        self.receiver.table.erase(message.index, message.index + elements)
        self.answers[message.index] = None
        return block

    def answer(
        self, block: ledger.Block, status: int, confirmation: wire.Confirmation | None = None
    ) -> wire.Answer:
        """The one answer that a block ever gets."""
        unsigned = wire.Answer(self.receiver.table.number, block.index, status, confirmation, b"")
        tag = self.tagger.tag(block.answer_key, self.sends, unsigned.body())
        answer = wire.Answer(self.receiver.table.number, block.index, status, confirmation, tag)
        self.answers[block.index] = answer
        return answer

    def answer_verifies(self, answer: wire.Answer, block: ledger.Block) -> bool:
        return self.tagger.verifies(block.answer_key, self.receives, answer.body(), answer.tag)


def ends_of(config: LinkConfig, sends: int, stored: dict[str, Any]) -> Ends:
    own, theirs = (config.uplink, config.downlink) if sends == wire.UPLINK else (config.downlink, config.uplink)
    sender = Sender(own, stored.get("mark", 0))
    receiver = Receiver(theirs, stored.get("highWater", 0))
    return Ends(config, sender, receiver, sends, Tagger(config))


# ---- the client's envelope (D "Sessions", first table)

AWAIT_REPLY = "AwaitReply"
FRESH = "Fresh"
OPEN = "Open"


class ClientEnvelope:
    def __init__(self, config: LinkConfig, random: Callable[[int], bytes], now: float) -> None:
        self._config = config
        self._random = random
        self._keys = envelope.link_keys(config.suite, config.k0, config.hub_id)
        self.hello(now)

    def hello(self, now: float) -> None:
        """A new salt; the session, if there was one, is over."""
        self.state = AWAIT_REPLY
        self.salt = self._random(16)
        self.backoff = Backoff(now)
        self._session: SessionKeys | None = None
        self._window = ReplayWindow()
        self._seq = 0
        self._sent_tags: list[bytes] = []

    def hello_message(self) -> bytes:
        message = wire.Hello(self._config.client_id, self.salt, b"")
        tag = envelope.hello_tag(self._config.suite, self._keys.hello, b"", message.body())
        return message.body() + tag

    def reply(self, now: float, message: wire.HelloReply) -> bool:
        if self.state != AWAIT_REPLY:
            return False
        if not envelope.hello_verifies(self._config.suite, self._keys.reply, self.salt, message):
            return False
        self._session = envelope.session_keys(
            self._config.suite,
            self._config.k0,
            self.salt,
            message.salt,
            self._config.client_id,
            self._config.hub_id,
        )
        self.state, self.backoff = FRESH, Backoff(now)
        return True

    def asked_again(self, message: wire.HelloRequest) -> bool:
        """Whether the hub says, about one of the last 64 messages, that it has no session."""
        if self.state == AWAIT_REPLY:
            return False
        return any(
            envelope.hello_verifies(self._config.suite, self._keys.request, tag, message) for tag in self._sent_tags
        )

    def seal(self, inner: bytes) -> bytes:
        assert self._session is not None
        salt = self.salt if self.state == FRESH else None
        octets = envelope.seal(self._config.suite, self._session.uplink, self._config.client_id, salt, self._seq, inner)
        self._seq += 1
        self._sent_tags = [*self._sent_tags[-63:], octets[-wire.TAG :]]
        return octets

    def open(self, message: wire.Sealed) -> bytes | None:
        if self._session is None or message.salt is not None or not self._window.fresh(message.seq):
            return None
        try:
            inner = envelope.open_sealed(self._config.suite, self._session.downlink, message)
        except NotAuthentic:
            return None
        self._window.mark(message.seq)
        return inner


# ---- the hub's envelope (D "Sessions", second table)


@dataclass
class HubSession:
    salt: bytes
    keys: SessionKeys
    window: ReplayWindow = field(default_factory=ReplayWindow)
    seq: int = 0
    # Whether the client showed by a SEALED that it heard the hub.
    heard: bool = False


class HubEnvelope:
    def __init__(self, config: LinkConfig, boot_key: bytes) -> None:
        self._config = config
        self._boot_key = boot_key
        self._keys = envelope.link_keys(config.suite, config.k0, config.hub_id)
        self._generation = 0
        self.session: HubSession | None = None

    def _salt(self, salt_c: bytes) -> bytes:
        return envelope.hub_salt(
            self._config.suite, self._boot_key, self._config.client_id, salt_c, self._generation
        )

    def hello(self, message: wire.Hello) -> bytes | None:
        """The reply, for which nothing is stored."""
        if not envelope.hello_verifies(self._config.suite, self._keys.hello, b"", message):
            return None
        reply = wire.HelloReply(self._config.client_id, self._salt(message.salt), b"")
        tag = envelope.hello_tag(self._config.suite, self._keys.reply, message.salt, reply.body())
        return reply.body() + tag

    def open(self, message: wire.Sealed) -> tuple[bytes, bool] | None:
        """What is inside, and whether a new session began with it."""
        session = self.session
        if session and message.salt in (None, session.salt):
            inner = self._open_in(session, message)
            if inner is None:
                return None
            session.heard = session.heard or message.salt is None
            return inner, False
        if message.salt is None:
            return None
        keys = envelope.session_keys(
            self._config.suite,
            self._config.k0,
            message.salt,
            self._salt(message.salt),
            self._config.client_id,
            self._config.hub_id,
        )
        fresh = HubSession(message.salt, keys)
        inner = self._open_in(fresh, message)
        if inner is None:
            return None
        self.session = fresh
        self._generation += 1
        return inner, True

    def _open_in(self, session: HubSession, message: wire.Sealed) -> bytes | None:
        if not session.window.fresh(message.seq):
            return None
        try:
            inner = envelope.open_sealed(self._config.suite, session.keys.uplink, message)
        except NotAuthentic:
            return None
        session.window.mark(message.seq)
        return inner

    def request(self, message: wire.Sealed) -> bytes:
        """Only where there is no session: else a damaged copy would end that of the true client."""
        request = wire.HelloRequest(self._config.client_id, b"")
        tag = envelope.hello_tag(self._config.suite, self._keys.request, message.tag, request.body())
        return request.body() + tag

    def seal(self, inner: bytes) -> bytes:
        session = self.session
        assert session is not None
        octets = envelope.seal(
            self._config.suite, session.keys.downlink, self._config.client_id, None, session.seq, inner
        )
        session.seq += 1
        return octets
