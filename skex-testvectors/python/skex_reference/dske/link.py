"""The two ends of a link: tables, leases and one-time tags in each direction, and the sessions of the envelope
(D "Envelope", "Ledger")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ..octets import DecodeError, xor
from ..suites import SUITES, NotAuthentic, Suite, equal
from . import envelope, epochs, ledger, wire
from .envelope import ReplayWindow, SessionKeys
from .ledger import Receiver, Sender, Table

# D "Timers", in seconds.
FIRST_WAIT = 0.25
LONGEST_WAIT = 8.0


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
    # In ascending order of their numbers.
    uplinks: tuple[Table, ...]
    downlinks: tuple[Table, ...]


def suite_of(code: int) -> Suite:
    return SUITES[code]


@dataclass
class InitialKeys:
    """What one end has of the initial keys of a link (D "Replacement of the initial key")."""

    present: bytes
    next: bytes | None = None

    def all(self) -> list[bytes]:
        """The next one first."""
        return [self.present] if self.next is None else [self.next, self.present]

    def replace(self, key: bytes) -> bool:
        """Whether this changes anything."""
        if key in (self.present, self.next):
            return False
        self.next = key
        return True

    def is_proven_by(self, session: bytes) -> bool:
        """A session under this key is there. Whether that proves the next one; then it is the present one, and the older is gone."""
        if session != self.next:
            return False
        self.present, self.next = session, None
        return True

    def stored(self) -> dict[str, Any]:
        return {"initialKey": self.present.hex(), "nextInitialKey": self.next.hex() if self.next else None}


def initial_keys_of(config: LinkConfig, stored: dict[str, Any]) -> InitialKeys:
    following = stored.get("nextInitialKey")
    return InitialKeys(
        bytes.fromhex(stored.get("initialKey", config.k0.hex())), None if following is None else bytes.fromhex(following)
    )


class Tagger:
    """One-time tags of one link, in the direction that a message takes."""

    def __init__(self, config: LinkConfig) -> None:
        self._config = config

    def before(self, direction: int) -> bytes:
        return wire.tag_input(direction, self._config.client_id, self._config.hub_id, b"")

    def tag(self, key: bytes, direction: int, body: bytes) -> bytes:
        return ledger.tag(key, direction, self._config.client_id, self._config.hub_id, body)

    def verifies(self, key: bytes, direction: int, body: bytes, tag: bytes) -> bool:
        """A key of zeros only is a range that was erased: it verifies nothing."""
        return any(key) and equal(self.tag(key, direction, body), tag)


@dataclass(frozen=True)
class Answerable:
    """What one message can be answered with, once: a block, or a number in an epoch (D "Blocks", "Epochs")."""

    table: int
    index: int
    origin: int
    key: bytes
    # In an epoch: the number, and the suite.
    number: int | None = None
    suite: int = 0

    @property
    def place(self) -> tuple[int, int, int]:
        return self.table, self.index, self.number or 0


@dataclass(frozen=True)
class Sending:
    """Where a message goes: a block of its own, or a number in an epoch."""

    answerable: Answerable
    # The message key and pad of a block; of an epoch, the share key.
    key: bytes
    pad: bytes = b""


@dataclass
class Epoch:
    """An epoch at either end."""

    table: int
    index: int
    origin: int
    suite: int
    answer_key: bytes
    share_key: bytes
    next_number: int = 0
    received: set[int] = field(default_factory=set)


# An epoch's block, and that of a command: answer key and message key.
EPOCH_BLOCK = 4
OPEN_EPOCHS = 4


@dataclass
class Ends:
    """What one end holds of a link: it sends in one direction and receives in the other."""

    config: LinkConfig
    senders: dict[int, Sender]
    receivers: dict[int, Receiver]
    sends: int
    tagger: Tagger
    # The highest number of a table that was dropped, by direction: neither it nor a lower one is taken again.
    dropped: list[int]
    # The answers of this session; `None` where none was given yet.
    answers: dict[tuple[int, int, int], bytes | None] = field(default_factory=dict)
    # The table of which a lease was asked for: one request at a time.
    asking: int | None = None
    lease_backoff: Backoff | None = None
    sending_epochs: list[Epoch] = field(default_factory=list)
    receiving_epochs: dict[tuple[int, int], Epoch] = field(default_factory=dict)
    # Where messages of this end wait for an answer: their blocks hold the floor down.
    waiting: dict[tuple[int, int, int], Answerable] = field(default_factory=dict)
    # Whether a lease of a table of origin 1 was ever granted.
    granted_refilled: bool = False
    # Whether one was under an earlier enrolment, and a key may come of which a share left so (D "Several tables", "Origins").
    granted_before: bool = False

    @property
    def receives(self) -> int:
        return 1 - self.sends

    def stored(self) -> dict[str, Any]:
        return {
            "marks": {str(number): sender.mark for number, sender in self.senders.items()},
            "highWaters": {str(number): receiver.high_water for number, receiver in self.receivers.items()},
            "dropped": self.dropped,
            "grantedRefilled": self.granted_refilled,
            "grantedBefore": self.granted_before,
        }

    def end_session(self) -> None:
        for sender in self.senders.values():
            sender.end_session()
        for receiver in self.receivers.values():
            receiver.end_session()
        self.answers, self.waiting, self.asking, self.lease_backoff = {}, {}, None, None
        self.sending_epochs, self.receiving_epochs = [], {}
        # Used-up tables are dropped, but for the one with the highest number (D "Several tables").
        for direction, tables in ((self.sends, self.senders), (self.receives, self.receivers)):
            last = max(tables)
            for number in [number for number, end in tables.items() if end.used_up and number != last]:
                del tables[number]
                self.dropped[direction] = max(self.dropped[direction], number)

    def has_table(self, direction: int, number: int) -> bool:
        """Whether it is here, or was."""
        tables = self.senders if direction == self.sends else self.receivers
        return number in tables or number <= self.dropped[direction]

    def add_table(self, direction: int, table: Table) -> None:
        if direction == self.sends:
            self.senders[table.number] = Sender(table)
        else:
            self.receivers[table.number] = Receiver(table)

    def retire(self, direction: int, number: int) -> Table:
        """Takes a table out of service: it is to be erased once that is durable."""
        end = self.senders[number] if direction == self.sends else self.receivers[number]
        end.retire()
        return end.table

    def retired_but_there(self) -> list[tuple[int, Table]]:
        """What a crash kept from being erased: the direction, and the table."""
        ends = [(self.sends, end.retired, end.table) for end in self.senders.values()]
        others = [(self.receives, end.retired, end.table) for end in self.receivers.values()]
        return [
            (direction, table) for direction, retired, table in [*ends, *others] if retired and any(table.read(0, table.held))
        ]

    # ---- leases

    def _in_order(self, worst: int) -> list[Sender]:
        return [sender for _, sender in sorted(self.senders.items()) if sender.table.origin <= worst]

    def has_room(self, elements: int, worst: int = 1) -> bool:
        return any(sender.has_room(elements) for sender in self._in_order(worst))

    def may_have_room(self, elements: int, worst: int = 1) -> bool:
        return any(
            sender.has_room(elements) or sender.may_have_room(elements) for sender in self._in_order(worst)
        )

    def origin(self, elements: int) -> int:
        """The origin of the table from which a block would be taken now."""
        in_order = self._in_order(1)
        for sender in in_order:
            if sender.has_room(elements):
                return sender.table.origin
        return next((sender.table.origin for sender in in_order if sender.may_have_room(elements)), 0)

    def ask(self, random: Callable[[int], bytes], elements: int, worst: int = 1) -> wire.LeaseRequest | None:
        """The open request, or a new one of the table with the lowest number that may have room."""
        if self.asking is not None:
            return self.senders[self.asking].request
        for sender in self._in_order(worst):
            if sender.may_have_room(elements):
                self.asking = sender.table.number
                return sender.ask(random(16), elements)
        return None

    def grant(self, request: wire.LeaseRequest) -> wire.LeaseGrant | wire.LeaseDenied | None:
        # A grant goes the way that answers to the request go: the direction of the message is the receiver's.
        receiver = self.receivers.get(request.table)
        if receiver is None:
            return wire.LeaseDenied(request.table, request.nonce, 0)
        answer = receiver.grant(request, lambda key, body: self.tagger.tag(key, self.sends, body))
        if isinstance(answer, wire.LeaseGrant) and receiver.table.origin:
            self.granted_refilled = True
        return answer

    def take_grant(self, grant: wire.LeaseGrant) -> bool:
        sender = self.senders.get(grant.table)
        taken = sender is not None and sender.take_grant(
            grant, lambda key, message: self.tagger.verifies(key, self.receives, message.body(), message.tag)
        )
        if sender is not None and sender.request is None and grant.table == self.asking:
            self.asking, self.lease_backoff = None, None
        return taken

    def take_denied(self, denied: wire.LeaseDenied) -> bool:
        sender = self.senders.get(denied.table)
        if sender is None or not sender.take_denied(denied):
            return False
        self.asking, self.lease_backoff = None, None
        return True

    # ---- sending

    def allocate(self, length: int, worst: int = 1) -> Sending | None:
        """A block with a pad of so many elements; it is erased from the table."""
        for sender in self._in_order(worst):
            index = sender.allocate(EPOCH_BLOCK + length)
            if index is not None:
                table = sender.table
                block = ledger.block_at(table, index, EPOCH_BLOCK + length)
                table.erase(index, index + EPOCH_BLOCK + length)
                answerable = Answerable(table.number, index, table.origin, block.answer_key)
                self.waiting[answerable.place] = answerable
                return Sending(answerable, block.message_key, block.pad)
        return None

    def in_epoch(self, suite: int, worst: int = 1) -> Sending | None:
        """The next number of the newest epoch of the suite, or the first of a new one."""
        epoch = next(
            (
                epoch
                for epoch in reversed(self.sending_epochs)
                if epoch.suite == suite and epoch.next_number <= 255 and epoch.origin <= worst
            ),
            None,
        )
        if epoch is None:
            block = self.allocate(0, worst)
            if block is None:
                return None
            del self.waiting[block.answerable.place]
            epoch = self._epoch(self.sends, suite, block.answerable, block.key)
            # The four that were opened last are remembered; a message of an earlier one is void.
            self.sending_epochs = [*self.sending_epochs[1 - OPEN_EPOCHS :], epoch]
        number, epoch.next_number = epoch.next_number, epoch.next_number + 1
        answerable = Answerable(epoch.table, epoch.index, epoch.origin, epoch.answer_key, number, suite)
        self.waiting[answerable.place] = answerable
        return Sending(answerable, epoch.share_key)

    def _epoch(self, direction: int, suite: int, block: Answerable, message_key: bytes) -> Epoch:
        answer_key, share_key = epochs.keys(
            self.config.suite,
            direction,
            self.config.client_id,
            self.config.hub_id,
            suite,
            block.table,
            block.index,
            block.key,
            message_key,
        )
        return Epoch(block.table, block.index, block.origin, suite, answer_key, share_key)

    def remembers(self, sending: Sending) -> bool:
        """Whether a message in an epoch can still be opened by the other end."""
        place = sending.answerable
        return place.number is None or any(
            (epoch.table, epoch.index) == (place.table, place.index) for epoch in self.sending_epochs
        )

    def answered(self, answerable: Answerable) -> None:
        self.waiting.pop(answerable.place, None)

    def floor(self, table: int) -> int:
        """No block below will be sent again: the lowest that waits, else behind all that was allocated."""
        waiting = [place.index for place in self.waiting.values() if place.table == table]
        return min(waiting)

    def share_message(self, sending: Sending, message: wire.Share, share: bytes | None) -> bytes:
        """The octets of an upload or delivery, whose table, index, floor, share and tag are filled in. Without a share it
        is direct."""
        at = sending.answerable
        travels = b"" if share is None or at.number is not None else xor(share, sending.pad)
        whole = replace(message, table=at.table, index=at.index, floor=self.floor(at.table), share=travels)
        body = whole.body()
        if at.number is None:
            return body + self.tagger.tag(sending.key, self.sends, body)
        assert share is not None
        head = epochs.head(body, at.number)
        aad = self.tagger.before(self.sends) + head
        return head + epochs.seal(at.suite, sending.key, epochs.nonce(at.number), aad, share)

    def command(self, sending: Sending, what: wire.Lookup | wire.Publish | wire.Withdraw | wire.Authorise) -> bytes:
        at = sending.answerable
        body = wire.Command(at.table, at.index, self.floor(at.table), what, b"").body()
        return body + self.tagger.tag(sending.key, self.sends, body)

    # ---- receiving

    def known(self, place: tuple[int, int, int]) -> bool:
        """Whether the block or number was used before in this session."""
        return place in self.answers

    def open_share(self, octets: bytes, message: wire.Share, number: int | None) -> tuple[Answerable, bytes] | None:
        """How to answer an upload or delivery whose tag verifies, and its share. The block is used from now on."""
        if number is not None:
            return self._open_sealed(octets, message, number)
        length = wire.secret_block_elements(message.terms.key_length)
        opened = self._open(message, length, octets)
        if opened is None:
            return None
        answerable, pad = opened
        return answerable, xor(message.share, pad) if message.share else pad

    def open_command(self, octets: bytes, message: wire.Command) -> Answerable | None:
        opened = self._open(message, 0, octets)
        return opened and opened[0]

    def _open(self, message: wire.Share | wire.Command, length: int, octets: bytes) -> tuple[Answerable, bytes] | None:
        table, index = message.table, message.index
        receiver = self.receivers.get(table)
        if receiver is None or not receiver.opens(index, EPOCH_BLOCK + length):
            return None
        block = ledger.block_at(receiver.table, index, EPOCH_BLOCK + length)
        if not self.tagger.verifies(block.message_key, self.receives, octets[: -wire.TAG], octets[-wire.TAG :]):
            receiver.failed += 1
            return None
        receiver.use(index, EPOCH_BLOCK + length, message.floor)
        answerable = Answerable(table, index, receiver.table.origin, block.answer_key)
        self.answers[answerable.place] = None
        return answerable, block.pad

    def _open_sealed(self, octets: bytes, message: wire.Share, number: int) -> tuple[Answerable, bytes] | None:
        """D "Epochs", "Receiver"."""
        receiver, at = self.receivers.get(message.table), (message.table, message.index)
        if receiver is None or message.terms.suite not in epochs.AEADS:
            return None
        epoch = self.receiving_epochs.get(at)
        is_new = epoch is None
        if epoch is None:
            lowest = sorted([*self.receiving_epochs, at])[-OPEN_EPOCHS:]
            if at not in lowest or not receiver.opens(message.index, EPOCH_BLOCK):
                return None
            block = ledger.block_at(receiver.table, message.index, EPOCH_BLOCK)
            place = Answerable(message.table, message.index, receiver.table.origin, block.answer_key)
            epoch = self._epoch(self.receives, message.terms.suite, place, block.message_key)
        if epoch.suite != message.terms.suite or number in epoch.received or receiver.failed >= ledger.MAX_FAILED:
            return None
        try:
            share = epochs.open_sealed(epoch.suite, epoch.share_key, self.tagger.before(self.receives), octets)
        except NotAuthentic:
            receiver.failed += 1
            return None
        if is_new:
            receiver.use(message.index, EPOCH_BLOCK, message.floor)
            kept = sorted([*self.receiving_epochs, at])[-OPEN_EPOCHS:]
            self.receiving_epochs[at] = epoch
            self.receiving_epochs = {place: self.receiving_epochs[place] for place in kept}
        epoch.received.add(number)
        answerable = Answerable(*at, epoch.origin, epoch.answer_key, number, epoch.suite)
        self.answers[answerable.place] = None
        return answerable, share

    def answer(
        self, answerable: Answerable, status: int, confirmation: wire.Confirmation | None = None
    ) -> bytes:
        """The one answer that a block or number ever gets."""
        body = wire.Answer(answerable.table, answerable.index, status, confirmation, b"").body()
        if answerable.number is None:
            octets = body + self.tagger.tag(answerable.key, self.sends, body)
        else:
            head = epochs.head(body, answerable.number)
            aad = self.tagger.before(self.sends) + head
            octets = head + epochs.seal(
                answerable.suite, answerable.key, epochs.nonce(answerable.number), aad, b""
            )
        self.answers[answerable.place] = octets
        return octets

    def outcome(self, answerable: Answerable, status: int, found: wire.Found | None = None) -> bytes:
        body = wire.Outcome(answerable.table, answerable.index, status, found, b"").body()
        octets = body + self.tagger.tag(answerable.key, self.sends, body)
        self.answers[answerable.place] = octets
        return octets

    def answer_verifies(self, octets: bytes, number: int | None, answerable: Answerable) -> bool:
        """Whether an ANSWER or OUTCOME is the one to this message."""
        message_place = (int.from_bytes(octets[1:3], "big"), int.from_bytes(octets[3:7], "big"), number or 0)
        if message_place != answerable.place or (number is None) != (answerable.number is None):
            return False
        if number is None:
            return self.tagger.verifies(answerable.key, self.receives, octets[: -wire.TAG], octets[-wire.TAG :])
        try:
            epochs.open_sealed(answerable.suite, answerable.key, self.tagger.before(self.receives), octets)
        except NotAuthentic:
            return False
        return True


def ends_of(config: LinkConfig, sends: int, stored: dict[str, Any]) -> Ends:
    own, theirs = (config.uplinks, config.downlinks) if sends == wire.UPLINK else (config.downlinks, config.uplinks)
    marks, high_waters = stored.get("marks", {}), stored.get("highWaters", {})
    dropped = stored.get("dropped", [-1, -1])

    def there(table: Table, direction: int, known: dict[str, int]) -> bool:
        """A hub has a refilled table only once its client has it."""
        waits = sends == wire.DOWNLINK and table.origin == 1
        return str(table.number) in known or (table.number > dropped[direction] and not waits)

    senders = {
        table.number: Sender(table, marks.get(str(table.number), 0)) for table in own if there(table, sends, marks)
    }
    receivers = {
        table.number: Receiver(table, high_waters.get(str(table.number), 0))
        for table in theirs
        if there(table, 1 - sends, high_waters)
    }
    return Ends(
        config,
        senders,
        receivers,
        sends,
        Tagger(config),
        list(dropped),
        granted_refilled=stored.get("grantedRefilled", False),
        granted_before=stored.get("grantedBefore", False),
    )


def messages(inner: bytes) -> Iterator[tuple[bytes, int | None, wire.Inner]]:
    """What an envelope brought: the octets of each message, its number in an epoch, and what it says. What is refused is left out: one
    message, or all of a SEVERAL whose frame is wrong."""
    try:
        several = wire.each(inner)
    except DecodeError:
        return
    for octets in several:
        try:
            yield octets, *decode_inner(octets)
        except DecodeError:
            pass


def decode_inner(octets: bytes) -> tuple[int | None, wire.Inner]:
    """The number in its epoch of a sealed message, and the message."""
    if octets and octets[0] in epochs.ONE_TIME:
        number, message = epochs.decode(octets)
        return number, message
    return None, wire.decode_inner(octets)


# ---- the client's envelope (D "Sessions", first table)

AWAIT_REPLY = "AwaitReply"
FRESH = "Fresh"
OPEN = "Open"


@dataclass
class Probe:
    """A HELLO under the next initial key, beside a session."""

    salt: bytes
    backoff: Backoff


class ClientEnvelope:
    def __init__(
        self, config: LinkConfig, initial: InitialKeys, random: Callable[[int], bytes], now: float
    ) -> None:
        self._config = config
        self.initial = initial
        self._random = random
        self.hello(now)

    def hello(self, now: float) -> None:
        """A new salt; the session, if there was one, is over."""
        self.state = AWAIT_REPLY
        self.salt = self._random(16)
        self.backoff = Backoff(now)
        self._forget()

    def _forget(self) -> None:
        """What there was of a session."""
        self.session: SessionKeys | None = None
        # The initial key of the session.
        self._under: bytes | None = None
        self._window = ReplayWindow()
        self._seq = 0
        self._sent_tags: list[bytes] = []
        self._probe: Probe | None = None

    def hello_message(self) -> bytes:
        """Under the next initial key and the present one in turn."""
        keys = self.initial.all()
        return self._hello(keys[self.backoff.sent % len(keys)], self.salt)

    def _hello(self, k0: bytes, salt: bytes) -> bytes:
        message = wire.Hello(self._config.client_id, salt, b"")
        tag = envelope.hello_tag(self._config.suite, self._keys(k0).hello, b"", message.body())
        return message.body() + tag

    def _keys(self, k0: bytes) -> envelope.LinkKeys:
        return envelope.link_keys(self._config.suite, k0, self._config.hub_id)

    def forget_probe(self) -> None:
        """There is another next key."""
        self._probe = None

    def probe(self, now: float) -> bytes | None:
        """A probe, if one is due: where there is a session under another key than the next."""
        following = self.initial.next
        if self.state == AWAIT_REPLY or following is None or self._under == following:
            return None
        if self._probe is None:
            self._probe = Probe(self._random(16), Backoff(now))
        if now < self._probe.backoff.due:
            return None
        self._probe.backoff.again(now)
        return self._hello(following, self._probe.salt)

    def reply(self, now: float, message: wire.HelloReply) -> bool:
        """Whether a session begins with it; the one before, if there was one, is over."""
        if self.state == AWAIT_REPLY:
            asked = [(k0, self.salt) for k0 in self.initial.all()]
        elif self._probe is not None and self.initial.next is not None:
            asked = [(self.initial.next, self._probe.salt)]
        else:
            return False
        for k0, salt in asked:
            if envelope.hello_verifies(self._config.suite, self._keys(k0).reply, salt, message):
                self._forget()
                self.session = envelope.session_keys(
                    self._config.suite, k0, salt, message.salt, self._config.client_id, self._config.hub_id
                )
                self._under, self.salt = k0, salt
                self.state, self.backoff = FRESH, Backoff(now)
                return True
        return False

    def proves_next(self) -> bool:
        """Something opened in the session. Whether that proves the next initial key."""
        return self._under is not None and self.initial.is_proven_by(self._under)

    def asked_again(self, message: wire.HelloRequest) -> bool:
        """Whether the hub says, about one of the last 64 messages, that it has no session."""
        if self.state == AWAIT_REPLY:
            return False
        requests = [self._keys(k0).request for k0 in self.initial.all()]
        return any(
            envelope.hello_verifies(self._config.suite, key, tag, message)
            for key in requests
            for tag in self._sent_tags
        )

    @property
    def overhead(self) -> int:
        """Octets of a datagram beside what is sealed in it now."""
        return envelope.overhead(self.salt if self.state == FRESH else None)

    def seal(self, inner: bytes) -> bytes:
        assert self.session is not None
        salt = self.salt if self.state == FRESH else None
        octets = envelope.seal(self._config.suite, self.session.uplink, self._config.client_id, salt, self._seq, inner)
        self._seq += 1
        self._sent_tags = [*self._sent_tags[-63:], octets[-wire.TAG :]]
        return octets

    def open(self, message: wire.Sealed) -> bytes | None:
        if self.session is None or message.salt is not None or not self._window.fresh(message.seq):
            return None
        try:
            inner = envelope.open_sealed(self._config.suite, self.session.downlink, message)
        except NotAuthentic:
            return None
        self._window.mark(message.seq)
        return inner


# ---- the hub's envelope (D "Sessions", second table)


@dataclass
class HubSession:
    salt: bytes
    keys: SessionKeys
    # The initial key that it rests on.
    under: bytes
    window: ReplayWindow = field(default_factory=ReplayWindow)
    seq: int = 0
    # Whether the client showed by a SEALED that it heard the hub.
    heard: bool = False


class HubEnvelope:
    def __init__(self, config: LinkConfig, initial: InitialKeys, boot_key: bytes) -> None:
        self._config = config
        self.initial = initial
        self._boot_key = boot_key
        self._generation = 0
        self.session: HubSession | None = None

    def _salt(self, salt_c: bytes) -> bytes:
        return envelope.hub_salt(
            self._config.suite, self._boot_key, self._config.client_id, salt_c, self._generation
        )

    def hello(self, message: wire.Hello) -> bytes | None:
        """The reply, for which nothing is stored, under the initial key of the question."""
        for k0 in self.initial.all():
            keys = self._keys(k0)
            if envelope.hello_verifies(self._config.suite, keys.hello, b"", message):
                reply = wire.HelloReply(self._config.client_id, self._salt(message.salt), b"")
                return reply.body() + envelope.hello_tag(self._config.suite, keys.reply, message.salt, reply.body())
        return None

    def _keys(self, k0: bytes) -> envelope.LinkKeys:
        return envelope.link_keys(self._config.suite, k0, self._config.hub_id)

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
        for k0 in self.initial.all():
            keys = envelope.session_keys(
                self._config.suite,
                k0,
                message.salt,
                self._salt(message.salt),
                self._config.client_id,
                self._config.hub_id,
            )
            fresh = HubSession(message.salt, keys, k0)
            inner = self._open_in(fresh, message)
            if inner is not None:
                self.session = fresh
                self._generation += 1
                return inner, True
        return None

    def proves_next(self) -> bool:
        """A session has begun. Whether that proves the next initial key."""
        return self.session is not None and self.initial.is_proven_by(self.session.under)

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
        keys = self.initial.all()
        # Of two keys the last bit of the first octet of the AEAD tag chooses; the client sends again, and has another.
        k0 = keys[0] if message.tag[0] & 1 else keys[-1]
        tag = envelope.hello_tag(self._config.suite, self._keys(k0).request, message.tag, request.body())
        return request.body() + tag

    @property
    def overhead(self) -> int:
        """Octets of a datagram beside what is sealed in it."""
        return envelope.overhead(None)

    def seal(self, inner: bytes) -> bytes:
        session = self.session
        assert session is not None
        octets = envelope.seal(
            self._config.suite, session.keys.downlink, self._config.client_id, None, session.seq, inner
        )
        session.seq += 1
        return octets
