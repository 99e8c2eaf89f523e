"""The state machine of one end (U "State Machine"). One machine plays both roles, and does no input or output.

What it wants done is a list of effects, to be done in order: a `Persist` is durable before anything behind it leaves
(U "Rules for Storage", 1). If one fails, nothing more may be done with the machine: restore what was stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..octets import DecodeError, Policy, WrongState, u32
from ..suites import SUITES, NotAuthentic, equal
from . import recovery, schedule, wire
from .exporter import Answering, Naming, index_of
from .schedule import Enrolment, EpochKeys, Handshake, other
from .state import (
    HELD,
    LIVE,
    OPEN,
    RECOVERY_LANE,
    UNCONFIRMED,
    VOID,
    WANTED,
    Ahead,
    Durable,
    Followed,
    Held,
    Previous,
    Session,
)

# U "Timers", in seconds.
FIRST_WAIT = 1.0
SENDINGS = 5
# Sendings of a third message, two repetitions among them, after which an attempt runs beside the next one (U "Start").
PATIENCE = 3
ATTEMPT_LIFE = 31.0
THIRD_LONGEST = 3600.0
UNCONFIRMED_LIFE = 3600.0
SESSION_LIFE = 24 * 3600.0


@dataclass(frozen=True)
class Config:
    enrolment: Enrolment
    # In the order of preference; what an initiator offers, and what a responder chooses from and allows.
    suites: tuple[int, ...] = (1, 2, 3, 4, 5)
    stateless: bool = False
    consumer_confirms: bool = False
    # "never", "accept" or "require" (U "Fresh Secret Material").
    mix: str = "accept"


# ---- effects


@dataclass(frozen=True)
class Persist:
    durable: Durable


@dataclass(frozen=True)
class Send:
    octets: bytes
    # Where to: a path that something came from, or `None`, the configured address of the peer.
    path: int | None


@dataclass(frozen=True)
class Established:
    """The session is live, or the responder's is good: keys may be exported."""

    session_id: bytes
    initiated: bool


@dataclass(frozen=True)
class Resumed:
    """A start found a session."""

    session_id: bytes


@dataclass(frozen=True)
class Ended:
    """The session is void. Why: `void` since its handshake, `peerVoid`, or `expired` at this end."""

    session_id: bytes
    why: str


@dataclass(frozen=True)
class RolledBack:
    """The peer proved that this end was rolled back or cloned. Only an enrolment helps."""


@dataclass(frozen=True)
class GaveUp:
    """No answer to an attempt."""


@dataclass(frozen=True)
class MixStored:
    """The blocks that were provided are durable."""


@dataclass(frozen=True)
class MixLost:
    """The peer moved with a block that this end has lost. Provided again, it lets the pair live."""


@dataclass(frozen=True)
class MixRefused:
    """One of the ends requires a block, and none is in common."""


Effect = Persist | Send | Established | Resumed | Ended | RolledBack | GaveUp | MixStored | MixLost | MixRefused


class Full(Exception):
    """There is no place for another block."""


# ---- what is in memory only


@dataclass
class Attempt:
    first: wire.First
    h1: bytes
    sent: int
    due: float
    # The places of the blocks that it offers, in this order.
    offered: tuple[int, ...]
    # From the network, and not authentic: one is taken between two repetitions, and sent with each until another is.
    cookie: bytes | None = None
    cookie_taken: bool = False
    # By the peer, for want of a block in common: it gives way to any (U "Glare").
    refused: bool = False


@dataclass
class Answer:
    first: wire.First
    second: wire.Second
    keys: Handshake
    ends: float
    # Whether an own attempt was given up for it.
    yielded: bool
    # The place of the block that it chooses.
    place: int | None = None
    # Nobody may go on with it: it only ends.
    refusal: bool = False


class Peer:
    def __init__(self, config: Config, durable: Durable, random: Callable[[int], bytes], now: float) -> None:
        """Starts from what was stored. Rule 4: it is written anew, and nothing leaves before that is durable."""
        self.effects: list[Effect] = []
        self.under_load = False
        self._config = config
        self._is_recovery = config.enrolment.lane == RECOVERY_LANE
        self._random = random
        # Where the reference implementation draws what names its receipts (U "Randomness").
        random(8)
        self._boot_key = random(32)
        self._peer_path: int | None = None
        self._attempt: Attempt | None = None
        self._answer: Answer | None = None
        self._naming: Naming | None = None
        self._round = 0
        self._highest_round = 0
        self._third_due: float | None = None
        self._third_sent = 0
        self._third_left = -THIRD_LONGEST
        # A session is wanted, and nobody has answered the third message.
        self._waits = False
        self._session_from = now
        self._stopped = False
        # The places of blocks with which the peer may have moved.
        self._needed = {place for place, held in enumerate(durable.places) if held is not None}
        self._events: list[Effect] = []
        self._change(durable)
        self._persist()
        if isinstance(durable.link, Ahead):
            self._send_third(now, durable.link.third.encode())
        elif durable.session.recovery == WANTED and self._may_start():
            self._begin_attempt(now)
        if durable.session.status in (UNCONFIRMED, LIVE):
            self._events.append(Resumed(durable.session.session_id))
        self._tell()

    @property
    def durable(self) -> Durable:
        return self._durable

    def _change(self, durable: Durable) -> None:
        """What has to be durable, at the latest when `_persist` comes."""
        self._durable = durable
        self._keys: EpochKeys = schedule.epoch_keys(SUITES[durable.suite], durable.chain_key, durable.epoch)
        self._unwritten = True

    def _persist(self) -> None:
        if self._unwritten:
            self.effects.append(Persist(self._durable))
            self._unwritten = False

    def _tell(self) -> None:
        """What the application is told, it is told last."""
        self.effects += self._events
        self._events = []

    # ---- the application

    def establish(self, now: float) -> None:
        """A new session is wanted (U "Start"). To be asked again where nothing comes of it."""
        if self._stopped:
            return
        if self._durable.session.recovery == HELD:
            raise WrongState("this lane is held")
        if not self._may_start():
            raise WrongState("a block is required, and none is held")
        if self._is_recovery and self._durable.session.recovery != WANTED:
            self._set_recovery(WANTED)
        link = self._durable.link
        if isinstance(link, Ahead) and not link.by_consumer:
            self._waits = True
            if self._attempt or self._third_sent < PATIENCE:
                self._send_third(now, link.third.encode())
            else:
                self._begin_attempt(now)
                self._next_third(now)
            return
        if self._attempt:
            return
        if self._answer and self._answer.yielded:
            # Who does not wait for what may come of it must not yield to copies for ever (U "Glare").
            self._round = self._highest_round + 1
        self._begin_attempt(now)

    def _may_start(self) -> bool:
        places = self._durable.places
        asks_for_room = all(held is not None and held.withdrawn for held in places)
        return self._config.mix != "require" or bool(self._active()) or asks_for_room

    def provide(self, block: bytes) -> None:
        """A block of fresh secret material (U "Fresh Secret Material")."""
        if self._config.mix == "never" or len(block) != 32:
            raise WrongState("no block is taken")
        places = list(self._durable.places)
        at = next((i for i, held in enumerate(places) if held and equal(held.block, block)), None)
        if at is None:
            needed = self._needed | set(self._attempt.offered if self._attempt else ())
            free = [i for i, held in enumerate(places) if held is None]
            withdrawn = [i for i, held in enumerate(places) if held and held.withdrawn and i not in needed]
            if not free + withdrawn:
                raise Full
            at = (free + withdrawn)[0]
        if places[at] != Held(block):
            places[at] = Held(block)
            self._change(replace(self._durable, places=(places[0], places[1])))
            self._persist()
        self._events.append(MixStored())
        self._tell()

    def withdraw(self) -> None:
        """No block is offered or chosen any more; all are held still."""
        if self._active():
            first, second = (held and replace(held, withdrawn=True) for held in self._durable.places)
            self._change(replace(self._durable, places=(first, second)))
            self._persist()

    def _active(self) -> list[int]:
        return [i for i, held in enumerate(self._durable.places) if held and not held.withdrawn]

    def _block(self, place: int | None) -> bytes | None:
        held = None if place is None else self._durable.places[place]
        return held.block if held else None

    def confirmed_by_consumer(self, now: float) -> None:
        """The consumer verified a message of the peer under an exported key. The link stays AHEAD."""
        link = self._durable.link
        if isinstance(link, Ahead) and self._durable.session.status == UNCONFIRMED:
            self._change(self._durable.with_status(LIVE, replace(link, by_consumer=True)))
            self._third_due = now + THIRD_LONGEST
            self._live(now)

    # ---- recovery

    def allow(self) -> None:
        """The recovery lane answers, until a recovery has gone through at this end."""
        if self._is_recovery and not self._durable.session.recovery:
            self._set_recovery(OPEN)

    def enrol_by_recovery(self, secret: bytes) -> None:
        """This lane is enrolled anew, and held. Again with the same secret, it changes nothing."""
        enrolment, side = self._config.enrolment, self._durable.side
        chain_key = enrolment.first_chain_key(secret)
        if self._durable.session.recovery == HELD and equal(self._durable.chain_key, chain_key):
            return
        self._attempt, self._answer, self._naming = None, None, None
        self._waits = False
        self._round, self._highest_round = 0, 0
        self._third_due, self._third_left = None, -THIRD_LONGEST
        self._stopped = False
        self._needed = set()
        self._change(Durable(side, 0, enrolment.suite, chain_key, Session(recovery=HELD)))
        self._persist()

    def release(self) -> None:
        """The recovery lane holds no secret any more, durably."""
        if self._durable.session.recovery == HELD:
            self._set_recovery(0)

    def conclude(self) -> None:
        """Every other lane was enrolled by this recovery lane, durably: the secret is erased."""
        session = self._durable.session
        if recovery.secret(self._durable) is None or session.answering is None:
            raise WrongState("no recovery has gone through")
        moved = replace(session.answering, kept=dict(session.answering.kept))
        moved.take_output(index_of(recovery.initiator(self._durable), 0))
        self._change(replace(self._durable, session=replace(session, answering=moved)))
        self._persist()

    def _set_recovery(self, recovery: int) -> None:
        self._change(replace(self._durable, session=replace(self._durable.session, recovery=recovery)))
        self._persist()

    def can_name(self) -> bool:
        """Not after a start, until the next handshake: the chain was reserved as a whole, and is gone."""
        return self._naming is not None

    def name_output(self, label: str, context: bytes = b"") -> tuple[int, bytes]:
        """The next output of the own chain: its index and key."""
        self._may_export()
        if self._naming is None:
            raise WrongState("this end names nothing until the next handshake")
        return self._naming.name(label, context)

    def take_output(self, index: int, label: str, context: bytes = b"") -> bytes:
        """The output that the peer named. The taking is durable before the key may be used."""
        self._may_export()
        session = self._durable.session
        assert session.answering is not None
        moved = replace(session.answering, kept=dict(session.answering.kept))
        key = moved.take(index, label, context)
        self._change(replace(self._durable, session=replace(session, answering=moved)))
        self._persist()
        return key

    def _may_export(self) -> None:
        """An initiator gives no keys before its session is live, except where the consumer confirms."""
        status = self._durable.session.status
        if status != LIVE and not (status == UNCONFIRMED and self._config.consumer_confirms):
            raise WrongState("no session")
        if self._is_recovery:
            raise WrongState("what the recovery lane gives, it gives to the other lanes alone")

    # ---- time

    def deadline(self) -> float | None:
        """When `timeout` is due."""
        times = [self._session_ends()]
        if self._attempt:
            times.append(self._attempt.due)
        if self._answer:
            times.append(self._answer.ends)
        if self._third_due is not None:
            times.append(self._third_due)
        first = min((time for time in times if time is not None), default=None)
        return None if self._stopped else first

    def timeout(self, now: float) -> None:
        if self._stopped:
            return
        ends = self._session_ends()
        if ends is not None and now >= ends:
            self._end_session("expired")
            self._persist()
        link = self._durable.link
        repeated = False
        if self._third_due is not None and now >= self._third_due and isinstance(link, Ahead):
            repeated = True
            if self._waits and not self._attempt and self._third_sent >= PATIENCE and self._may_start():
                # Nobody answers: whether the peer is there, an attempt beside it finds out (U "Start").
                self._begin_attempt(now)
                self._next_third(now)
            else:
                self._send_third(now, link.third.encode())
        attempt = self._attempt
        if attempt and now >= attempt.due:
            if attempt.sent >= SENDINGS:
                self._attempt, self._waits = None, False
                self._events.append(GaveUp())
            else:
                self._send_first(now, with_third=not repeated)
        if self._answer and now >= self._answer.ends:
            answer, self._answer = self._answer, None
            if answer.yielded:
                # Nothing came of it: the next attempt outbids whoever made this end yield (U "Glare").
                self._round = self._highest_round + 1
                if self._may_start():
                    self._begin_attempt(now)
        self._tell()

    def _session_ends(self) -> float | None:
        life = {UNCONFIRMED: UNCONFIRMED_LIFE, LIVE: SESSION_LIFE}.get(self._durable.session.status)
        return None if life is None or self._is_recovery else self._session_from + life

    def _slot(self, now: float) -> int:
        return int(now // ATTEMPT_LIFE)

    # ---- sending

    def _send(self, octets: bytes, path: int | None) -> None:
        self.effects.append(Send(octets, path))

    def _void_flag(self) -> int:
        return wire.VOID if self._durable.session.status == VOID else 0

    def _begin_attempt(self, now: float) -> None:
        side, epoch = self._durable.side, self._durable.epoch
        first = wire.First(
            self._void_flag(), self._keys.pseudonyms[side], self._random(12) + u32(self._round), self._config.suites
        )
        offered = () if self._config.mix == "never" else tuple(self._active())
        if offered:
            blocks = [held.block for held in map(self._durable.places.__getitem__, offered) if held]
            offer = schedule.mix_offer(
                self._keys.suite, self._durable.chain_key, epoch, side, first.nonce, blocks
            )
            first = replace(first, extension=offer)
        first = replace(first, mac=schedule.mac1(self._keys.suite, self._keys.k1[self._durable.side], first))
        h1 = schedule.hash1(self._keys.suite, first)
        self._attempt = Attempt(first, h1, 0, now, offered)
        self._answer = None
        self._waits = False
        self._send_first(now)

    def _send_first(self, now: float, with_third: bool = True) -> None:
        attempt = self._attempt
        assert attempt is not None
        octets = replace(attempt.first, cookie=attempt.cookie).encode()
        attempt.cookie_taken = False
        self._send(octets, self._own_account(attempt.sent))
        is_first = attempt.sent == 0
        attempt.due = now + FIRST_WAIT * 2**attempt.sent
        attempt.sent += 1
        link = self._durable.link
        if with_third and isinstance(link, Ahead) and not (is_first and link.by_consumer):
            # The peer may be an epoch behind, and could not read it.
            self._repeat_third(now, link.third.encode())

    def _send_third(self, now: float, octets: bytes) -> None:
        self._repeat_third(now, octets)
        self._next_third(now)

    def _repeat_third(self, now: float, octets: bytes) -> None:
        self._send(octets, self._own_account(self._third_sent))
        # The first of a move or a start is no repetition.
        if self._third_sent:
            self._third_left = now
        self._third_sent += 1

    def _next_third(self, now: float) -> None:
        """The wait doubles with each repetition, those that go with first messages among them."""
        link = self._durable.link
        by_consumer = isinstance(link, Ahead) and link.by_consumer
        wait = FIRST_WAIT * 2 ** min(self._third_sent - 1, 16)
        self._third_due = now + (THIRD_LONGEST if by_consumer else min(wait, THIRD_LONGEST))

    def _own_account(self, sent: int) -> int | None:
        """To where the peer is known to be, and every second repetition to the configured address (U "Paths")."""
        return self._peer_path if sent % 2 == 0 else None

    # ---- receiving

    def receive(self, now: float, path: int, octets: bytes) -> str | None:
        """Takes a message, or discards it with nothing changed: the layer that refuses it, and `None` if none does."""
        try:
            self._receive(now, path, wire.decode(octets))
        except DecodeError:
            return "decode"
        except NotAuthentic:
            return "authenticate"
        except Policy:
            self._tell()
            return "policy"
        except WrongState:
            # A cookie message may have been drawn, or a loss told.
            self._tell()
            return "state"
        self._tell()
        return None

    def _receive(self, now: float, path: int, message: wire.Message) -> None:
        if self._stopped:
            raise WrongState("this end was rolled back")
        if self._durable.session.recovery == HELD:
            raise WrongState("this lane is held")
        match message:
            case wire.First():
                self._first(now, path, message)
            case wire.Second():
                self._second(now, path, message)
            case wire.Third():
                self._short_third(now, path, message)
            case wire.LongThird():
                self._long_third(now, path, message)
            case wire.Fourth():
                self._fourth(now, path, message)
            case wire.Cookie():
                self._cookie(message)
            case wire.Stale():
                self._stale(message)

    def _first(self, now: float, path: int, first: wire.First) -> None:
        if self._is_recovery and not self._durable.session.recovery:
            raise Policy("the recovery lane is shut")
        peer = other(self._durable.side)
        previous = self._durable.previous
        if equal(first.pseudonym, self._keys.pseudonyms[peer]):
            suite, k1 = self._keys.suite, self._keys.k1[peer]
        elif previous and equal(first.pseudonym, previous.pseudonyms[peer]):
            suite, k1 = SUITES[previous.suite], previous.peer_k1
        else:
            raise WrongState("an unknown pseudonym")
        h1 = schedule.hash1(suite, first)
        if self.under_load and not self._shows_cookie(now, path, first, h1):
            self._send_cookie(now, path, first, h1)
            raise WrongState("under load, and no cookie")
        if not equal(schedule.mac1(suite, k1, first), first.mac):
            raise NotAuthentic("MAC1")
        if k1 == self._keys.k1[peer]:
            self._first_of_this_epoch(now, path, first)
        else:
            self._first_of_the_last_epoch(now, path, first, h1, k1)

    def _first_of_this_epoch(self, now: float, path: int, first: wire.First) -> None:
        self._highest_round = max(self._highest_round, first.round)
        void = bool(first.flags & wire.VOID)
        if isinstance(self._durable.link, Ahead):
            self._peer_followed(now, void, "peerVoid")
        elif void and self._durable.session.status == LIVE:
            self._end_session("peerVoid")
        self._persist()
        suite = next((code for code in self._config.suites if code in first.offer), None)
        if suite is None:
            raise Policy("no suite in common")
        if self._attempt:
            if not self._attempt.refused and self._wins(self._attempt.first, first):
                return
            self._attempt = None
            # It may turn out fruitless. What was answered before ends when it would have.
            self._answer = None
            yielded, ends = True, now + ATTEMPT_LIFE
        else:
            yielded = bool(self._answer and self._answer.yielded)
            ends = self._answer.ends if self._answer else now + ATTEMPT_LIFE
        # What is wanted still is begun here too, if nothing comes of this, and a recovery that came to nothing.
        session = self._durable.session
        yielded = yielded or self._waits or (session.recovery == WANTED and session.status == VOID)
        self._answer_first(now, path, first, suite, yielded, ends)

    def _wins(self, own: wire.First, theirs: wire.First) -> bool:
        """U "Glare": the round, then the first 12 octets of Ni, then side a."""
        mine = (own.round, own.nonce[:12])
        other_one = (theirs.round, theirs.nonce[:12])
        return mine > other_one or (mine == other_one and self._durable.side == "a")

    def _choose(self, first: wire.First) -> tuple[bytes, int | None]:
        """The extension block of the second message, and the place of the block that it chooses."""
        if self._config.mix != "never" and len(first.extension) == 16:
            references = (first.extension[:8], first.extension[8:])
            for number, reference in enumerate(references, 1):
                place = self._refers(first, reference, self._active())
                if place is not None:
                    return bytes([number]), place
        return (b"\0" if self._config.mix == "require" else b""), None

    def _refers(self, first: wire.First, reference: bytes, places: Sequence[int]) -> int | None:
        """The place of the block that a reference of the peer's is to."""
        peer, epoch = other(self._durable.side), self._durable.epoch
        for place in places:
            block = self._block(place)
            if block and equal(
                schedule.mix_reference(self._keys.suite, block, epoch, peer, first.nonce), reference
            ):
                return place
        return None

    def _answer_first(
        self, now: float, path: int, first: wire.First, suite: int, yielded: bool, ends: float
    ) -> None:
        """A copy draws the same second message, and does not prolong the answer's life."""
        flags = self._void_flag() | (wire.STATELESS if self._config.stateless else 0)
        h1 = schedule.hash1(self._keys.suite, first)
        extension, place = self._choose(first)
        second = wire.Second(flags, first.attempt, b"", suite, extension=extension)
        nonce = schedule.responder_nonce(
            self._keys.suite, self._boot_key, self._durable.epoch, self._slot(now), h1, second
        )
        second = replace(second, nonce=nonce)
        keys = self._handshake(other(self._durable.side), h1, second, place)
        second = replace(second, mac=keys.mac2())
        if place is not None:
            self._needed.add(place)
        answered = self._answer
        # A refusal takes nothing away but an attempt.
        if extension != b"\0" or answered is None or answered.refusal:
            self._answer = Answer(first, second, keys, ends, yielded, place, extension == b"\0")
        self._send(second.encode(), path)

    def _handshake(self, initiator: str, h1: bytes, second: wire.Second, place: int | None) -> Handshake:
        binding = self._config.enrolment.binding
        chain_key, epoch = self._durable.chain_key, self._durable.epoch
        block = self._block(place)
        return schedule.handshake(self._keys.suite, chain_key, binding, epoch, initiator, h1, second, block)

    def _first_of_the_last_epoch(self, now: float, path: int, first: wire.First, h1: bytes, k1: bytes) -> None:
        previous, link = self._durable.previous, self._durable.link
        assert previous is not None
        if not isinstance(link, Ahead):
            notice = wire.Stale(first.attempt)
            mac = schedule.stale(SUITES[previous.suite], k1, notice, h1)
            self._send(replace(notice, mac=mac).encode(), path)
        elif path != self._peer_path and not self._shows_cookie(now, path, first, h1):
            self._send_cookie(now, path, first, h1)
        elif now >= self._third_left + FIRST_WAIT:
            self._third_left = now
            self._send(link.third.encode(), path)

    def _shows_cookie(self, now: float, path: int, first: wire.First, h1: bytes) -> bool:
        """A cookie is valid in its slot and the next."""
        slot = self._slot(now)
        rights = [schedule.cookie(self._keys.suite, self._boot_key, path, at, h1) for at in (slot, slot - 1) if at >= 0]
        return first.cookie is not None and any(equal(first.cookie, right) for right in rights)

    def _send_cookie(self, now: float, path: int, first: wire.First, h1: bytes) -> None:
        cookie = schedule.cookie(self._keys.suite, self._boot_key, path, self._slot(now), h1)
        self._send(wire.Cookie(first.attempt, cookie).encode(), path)

    def _second(self, now: float, path: int, second: wire.Second) -> None:
        attempt = self._attempt
        if attempt is None or not equal(second.attempt, attempt.first.attempt):
            raise WrongState("no such attempt")
        place = self._chosen(attempt, second.extension)
        keys = self._handshake(self._durable.side, attempt.h1, second, place)
        if second.suite not in SUITES or not equal(keys.mac2(), second.mac):
            raise NotAuthentic("MAC2")
        if second.suite not in attempt.first.offer:
            raise Policy("a suite that was not offered")
        if second.extension == b"\0" or (place is None and self._config.mix == "require"):
            # The peer has not moved: what was chosen before is not needed any more.
            self._needed = set()
            if not attempt.offered and self._config.mix == "require":
                self._attempt, self._waits = None, False
            attempt.refused = True
            self._events.append(MixRefused())
            raise Policy("a block is required, and none is in common")
        self._peer_path = path
        self._move_ahead(now, attempt.first, second, keys, place)

    def _chosen(self, attempt: Attempt, extension: bytes) -> int | None:
        """The place of the block that a second message chooses of those that were offered."""
        if extension in (b"", b"\0"):
            return None
        if extension not in (b"\1", b"\2") or extension[0] > len(attempt.offered):
            raise Policy("a choice of what was not offered")
        return attempt.offered[extension[0] - 1]

    def _move_ahead(
        self, now: float, first: wire.First, second: wire.Second, keys: Handshake, place: int | None
    ) -> None:
        """The initiator's commit: the link is AHEAD, the session unconfirmed."""
        third = wire.Third(first.pseudonym)
        third = replace(third, mac=keys.mac3(third))
        # As a receiver reads it: without the tags of the first and the second.
        long_third = wire.LongThird(third, replace(first, mac=b""), replace(second, mac=b""))
        k1 = self._keys.k1[self._durable.side]
        long_third = replace(long_third, guard=schedule.guard(self._keys.suite, k1, long_third))
        statuses = (wire.GOOD_STATUS, wire.VOID_STATUS)
        mac4 = {status: keys.mac4(wire.Fourth(first.pseudonym, status)) for status in statuses}
        self._step(now, keys, UNCONFIRMED, True, Ahead(long_third, mac4), place)
        self._third_sent = 0
        stateless = bool(second.flags & wire.STATELESS)
        self._send_third(now, long_third.encode() if stateless else third.encode())
        if self._consumer_confirms():
            # It may export now, and is the one to find out.
            self._established()

    def _step(
        self,
        now: float,
        keys: Handshake,
        status: int,
        initiated: bool,
        link: Ahead | Followed,
        place: int | None,
    ) -> None:
        """To epoch e + 1, durably. What is not kept here is gone: CK_e, MS and the own k1."""
        side = self._durable.side
        peer = other(side)
        answering = None
        self._naming = None
        if status != VOID:
            # The recovery lane has one chain at both ends, and nobody names anything.
            owner = side if self._is_recovery and initiated else peer
            answering = Answering(owner, keys.next_suite, keys.export_chain(owner))
            if not self._is_recovery:
                self._naming = Naming(side, keys.next_suite, keys.export_chain(side))
        still = 0
        if self._is_recovery and (initiated or status == VOID):
            still = WANTED if initiated else OPEN
        # The block that was mixed in goes, and what was withdrawn.
        places = enumerate(self._durable.places)
        kept = [None if held is None or held.withdrawn or i == place else held for i, held in places]
        self._needed = set()
        self._attempt, self._answer, self._waits = None, None, False
        self._round, self._highest_round = 0, 0
        self._third_due, self._third_left = None, -THIRD_LONGEST
        self._session_from = now
        self._change(
            Durable(
                side=side,
                epoch=self._durable.epoch + 1,
                suite=keys.next_suite,
                chain_key=keys.chain_key(),
                session=Session(status, keys.session_id(), initiated, place is not None, still, answering),
                previous=Previous(self._durable.suite, self._keys.pseudonyms, self._keys.k1[peer]),
                link=link,
                places=(kept[0], kept[1]),
            )
        )
        self._persist()

    def _short_third(self, now: float, path: int, third: wire.Third) -> None:
        peer = other(self._durable.side)
        if not equal(third.pseudonym, self._keys.pseudonyms[peer]):
            self._third_again(path, third)
            return
        if self._answer is None or self._answer.refusal:
            # The initiator repeats it in the long form.
            raise WrongState("no answer is remembered")
        if third.extension:
            raise Policy("a third message has no block of its own")
        if not equal(self._answer.keys.mac3(third), third.mac):
            raise NotAuthentic("MAC3")
        answer = self._answer
        self._follow(now, path, third, answer.first, answer.second, answer.keys, answer.place)

    def _long_third(self, now: float, path: int, message: wire.LongThird) -> None:
        peer = other(self._durable.side)
        previous = self._durable.previous
        if equal(message.third.pseudonym, self._keys.pseudonyms[peer]):
            suite, k1 = self._keys.suite, self._keys.k1[peer]
            if not equal(schedule.guard(suite, k1, message), message.guard):
                raise NotAuthentic("the guard tag")
            if message.third.extension or message.second.extension not in (b"", b"\1", b"\2"):
                raise Policy("no such block in a third message")
            first = replace(message.first, mac=schedule.mac1(suite, k1, message.first))
            place = self._needed_by(message)
            keys = self._handshake(peer, schedule.hash1(suite, first), message.second, place)
            if message.second.suite not in SUITES or not equal(keys.mac3(message.third), message.third.mac):
                raise NotAuthentic("MAC3")
            self._follow(now, path, message.third, first, message.second, keys, place)
        elif previous and equal(message.third.pseudonym, previous.pseudonyms[peer]):
            if not equal(schedule.guard(SUITES[previous.suite], previous.peer_k1, message), message.guard):
                raise NotAuthentic("the guard tag")
            self._third_again(path, message.third)
        else:
            raise WrongState("an unknown pseudonym")

    def _needed_by(self, message: wire.LongThird) -> int | None:
        """The place of the block with which the peer moved: the guard tag says that it did."""
        choice, offer = message.second.extension, message.first.extension
        if not choice:
            return None
        reference = offer[8 * (choice[0] - 1) :][:8]
        if len(reference) != 8:
            raise Policy("a choice of what was not offered")
        held = [i for i, held in enumerate(self._durable.places) if held]
        place = self._refers(message.first, reference, held)
        if place is None:
            self._needed = set()
            self._events.append(MixLost())
            raise WrongState("the block is lost")
        return place

    def _follow(
        self,
        now: float,
        path: int,
        third: wire.Third,
        first: wire.First,
        second: wire.Second,
        keys: Handshake,
        place: int | None,
    ) -> None:
        """The responder's commit, whatever its policy says: the peer has moved."""
        self._peer_path = path
        h1 = schedule.hash1(self._keys.suite, first)
        slot = self._slot(now)
        ours = [
            schedule.responder_nonce(self._keys.suite, self._boot_key, self._durable.epoch, at, h1, second)
            for at in (slot, slot - 1)
            if at >= 0
        ]
        fresh = any(equal(second.nonce, nonce) for nonce in ours)
        good = fresh and second.suite in self._config.suites
        status = wire.GOOD_STATUS if good else wire.VOID_STATUS
        fourth = wire.Fourth(third.pseudonym, status)
        fourth = replace(fourth, mac=keys.mac4(fourth))
        self._step(now, keys, LIVE if good else VOID, False, Followed(third.mac, status, fourth.mac), place)
        if not (good and self._consumer_confirms()):
            self._send(fourth.encode(), path)
        if good:
            self._established()
        else:
            self._events.append(Ended(self._durable.session.session_id, "void"))

    def _third_again(self, path: int, third: wire.Third) -> None:
        previous, link = self._durable.previous, self._durable.link
        peer = other(self._durable.side)
        if previous is None or not equal(third.pseudonym, previous.pseudonyms[peer]):
            raise WrongState("an unknown pseudonym")
        if not isinstance(link, Followed):
            raise WrongState("nothing is owed")
        if third.extension:
            raise NotAuthentic("a third message has no block of its own")
        if not equal(third.mac, link.mac3):
            raise NotAuthentic("MAC3")
        # It may be anybody's copy: no path is learned.
        self._send(wire.Fourth(third.pseudonym, link.status, link.mac4).encode(), path)

    def _fourth(self, now: float, path: int, fourth: wire.Fourth) -> None:
        previous, link = self._durable.previous, self._durable.link
        if previous is None or not isinstance(link, Ahead):
            raise WrongState("no fourth message is waited for")
        if not equal(fourth.pseudonym, previous.pseudonyms[self._durable.side]):
            raise WrongState("an unknown pseudonym")
        if not equal(fourth.mac, link.mac4[fourth.status]):
            raise NotAuthentic("MAC4")
        self._peer_path = path
        self._peer_followed(now, fourth.status == wire.VOID_STATUS, "void")
        session = self._durable.session
        idle = self._attempt is None and self._answer is None
        # Nothing was recovered at either end; or the session was over or known as live before, and another is wanted.
        is_due = self._waits or (session.recovery == WANTED and session.status == VOID)
        if is_due and idle:
            self._waits = False
            if self._may_start():
                self._begin_attempt(now)

    def _peer_followed(self, now: float, void: bool, why: str) -> None:
        """Out of AHEAD: the session is live, or ends. Rule 5: that it is live need not be written at once."""
        was = self._durable.session.status
        self._third_due, self._third_sent = None, 0
        if void:
            self._change(replace(self._durable, link=None))
            if was in (UNCONFIRMED, LIVE):
                # Whoever waited for it is told so.
                self._waits = False
                self._end_session(why)
            self._persist()
            return
        self._change(self._durable.with_status(LIVE if was == UNCONFIRMED else was, None))
        if was == UNCONFIRMED:
            self._live(now)
            if self._is_recovery:
                # That it has gone through is durable before the other lanes are enrolled with it.
                self._set_recovery(0)
            if not self._consumer_confirms():
                self._established()

    def _consumer_confirms(self) -> bool:
        return self._config.consumer_confirms and not self._is_recovery

    def _live(self, now: float) -> None:
        self._session_from = now
        # The session that was wanted; an attempt that ran beside the long third message ends.
        self._waits = False
        self._attempt = None

    def _end_session(self, why: str) -> None:
        self._events.append(Ended(self._durable.session.session_id, why))
        self._change(self._durable.with_status(VOID, self._durable.link))

    def _established(self) -> None:
        session = self._durable.session
        self._events.append(Established(session.session_id, session.initiated))

    def _cookie(self, message: wire.Cookie) -> None:
        """Nothing authenticates it. One is taken between two repetitions, and sent with each until another is."""
        attempt = self._attempt
        if attempt is None or not equal(message.attempt, attempt.first.attempt):
            raise WrongState("no such attempt")
        if attempt.cookie_taken:
            raise WrongState("a cookie was taken")
        attempt.cookie, attempt.cookie_taken = message.cookie, True

    def _stale(self, notice: wire.Stale) -> None:
        attempt = self._attempt
        if attempt is None or not equal(notice.attempt, attempt.first.attempt):
            raise WrongState("no such attempt")
        k1 = self._keys.k1[self._durable.side]
        if not equal(schedule.stale(self._keys.suite, k1, notice, attempt.h1), notice.mac):
            raise NotAuthentic("the tag of a stale notice")
        self._stopped = True
        self._attempt = None
        self._third_due = None
        if self._durable.session.status in (UNCONFIRMED, LIVE) or isinstance(self._durable.link, Ahead):
            # The peer left this session with its move.
            self._change(self._durable.with_status(VOID, None))
            self._persist()
        self._events.append(RolledBack())
