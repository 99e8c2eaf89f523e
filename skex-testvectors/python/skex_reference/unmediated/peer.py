"""The state machine of one end (U "State Machine"). One machine plays both roles, and does no input or output.

What it wants done is a list of effects, to be done in order: a `Persist` is durable before anything behind it leaves
(U "Rules for Storage", 1). If one fails, nothing more may be done with the machine: restore what was stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..octets import DecodeError, u32
from ..suites import SUITES, equal
from . import schedule, wire
from .exporter import Answering, Naming
from .schedule import Enrolment, EpochKeys, Handshake, other
from .state import LIVE, UNCONFIRMED, VOID, Ahead, Durable, Followed, Previous, Session

# U "Timers", in seconds.
FIRST_WAIT = 1.0
SENDINGS = 5
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
class Ended:
    """The session is void: at this end or at the other."""

    session_id: bytes


@dataclass(frozen=True)
class RolledBack:
    """The peer proved that this end was rolled back or cloned. Only an enrolment helps."""


@dataclass(frozen=True)
class GaveUp:
    """No answer to an attempt."""


Effect = Persist | Send | Established | Ended | RolledBack | GaveUp


# ---- what is in memory only


@dataclass
class Attempt:
    first: wire.First
    h1: bytes
    sent: int
    due: float
    ends: float
    # Taken from the network once between two repetitions, and not authentic.
    cookie: bytes | None = None


@dataclass
class Answer:
    first: wire.First
    second: wire.Second
    keys: Handshake
    ends: float
    # Whether an own attempt was given up for it.
    yielded: bool


class Peer:
    def __init__(self, config: Config, durable: Durable, random: Callable[[int], bytes], now: float) -> None:
        """Starts from what was stored. Rule 4: it is written anew, and nothing leaves before that is durable."""
        self.effects: list[Effect] = []
        self._config = config
        self._random = random
        self._boot_key = random(32)
        self._paths_peer: int | None = None
        self._attempt: Attempt | None = None
        self._answer: Answer | None = None
        self._naming: Naming | None = None
        self._wanted = False
        self._round = 0
        self._highest_round = 0
        self._third_due: float | None = None
        self._third_wait = FIRST_WAIT
        self._third_sent = 0
        self._third_drawn = -THIRD_LONGEST
        self._session_from = now
        self._stopped = False
        self._take(durable)
        self.effects.append(Persist(durable))
        if isinstance(durable.link, Ahead):
            self._send_third(now, wire_octets=durable.link.third)

    @property
    def durable(self) -> Durable:
        return self._durable

    def _take(self, durable: Durable) -> None:
        self._durable = durable
        self._keys: EpochKeys = schedule.epoch_keys(SUITES[durable.suite], durable.chain_key, durable.epoch)

    def _commit(self, durable: Durable) -> None:
        self._take(durable)
        self.effects.append(Persist(durable))

    # ---- the application

    def establish(self, now: float) -> None:
        """A new session is wanted (U "Start")."""
        if self._stopped or self._attempt:
            return
        self._wanted = True
        link = self._durable.link
        if isinstance(link, Ahead) and not link.by_consumer and self._third_sent < 3:
            self._send_third(now, wire_octets=link.third)
            return
        self._begin_attempt(now)

    def confirmed_by_consumer(self) -> None:
        """The consumer verified a message of the peer under an exported key. The link stays AHEAD."""
        link = self._durable.link
        if isinstance(link, Ahead) and self._durable.session.status == UNCONFIRMED:
            self._commit(self._durable.with_status(LIVE, replace(link, by_consumer=True)))
            self._third_wait = THIRD_LONGEST
            self._established()

    def can_name(self) -> bool:
        """Not after a start, until the next handshake: the chain was reserved as a whole, and is gone."""
        return self._naming is not None

    def name_output(self, label: str, context: bytes = b"") -> tuple[int, bytes]:
        """The next output of the own chain: its index and key."""
        self._may_export()
        if self._naming is None:
            raise ValueError("this end names nothing until the next handshake")
        return self._naming.name(label, context)

    def take_output(self, index: int, label: str, context: bytes = b"") -> bytes:
        """The output that the peer named. The taking is durable before the key may be used."""
        self._may_export()
        session = self._durable.session
        assert session.answering is not None
        moved = replace(session.answering, kept=dict(session.answering.kept))
        key = moved.take(index, label, context)
        self._commit(replace(self._durable, session=replace(session, answering=moved)))
        return key

    def _may_export(self) -> None:
        """An initiator gives no keys before its session is live, except where the consumer confirms."""
        status = self._durable.session.status
        if status != LIVE and not (status == UNCONFIRMED and self._config.consumer_confirms):
            raise ValueError("no session")

    # ---- time

    def next_timeout(self, now: float) -> float:
        times = [now + 3600, self._session_ends()]
        if self._attempt:
            times.append(self._attempt.due)
        if self._answer:
            times.append(self._answer.ends)
        if self._third_due is not None:
            times.append(self._third_due)
        return min(times)

    def timeout(self, now: float) -> None:
        if self._stopped:
            return
        if self._third_due is not None and now >= self._third_due:
            link = self._durable.link
            assert isinstance(link, Ahead)
            self._send_third(now, wire_octets=link.third)
            if self._wanted and self._third_sent >= 3 and not self._attempt:
                self._begin_attempt(now)
        attempt = self._attempt
        if attempt and now >= attempt.due:
            if now >= attempt.ends:
                self._attempt, self._wanted = None, False
                self.effects.append(GaveUp())
            else:
                self._send_first(now)
        if self._answer and now >= self._answer.ends:
            answer, self._answer = self._answer, None
            if answer.yielded:
                # Nothing came of it: the next attempt outbids whoever made this end yield (U "Glare").
                self._round = self._highest_round + 1
                self._begin_attempt(now)
        if now >= self._session_ends():
            session = self._durable.session
            self._commit(self._durable.with_status(VOID, self._durable.link))
            self.effects.append(Ended(session.session_id))

    def _session_ends(self) -> float:
        lives = {UNCONFIRMED: UNCONFIRMED_LIFE, LIVE: SESSION_LIFE}
        return self._session_from + lives.get(self._durable.session.status, float("inf"))

    def _slot(self, now: float) -> int:
        return int(now // ATTEMPT_LIFE)

    # ---- sending

    def _void_flag(self) -> int:
        return wire.VOID if self._durable.session.status == VOID else 0

    def _begin_attempt(self, now: float) -> None:
        first = wire.First(
            self._void_flag(),
            self._keys.pseudonyms[self._durable.side],
            self._random(12) + u32(self._round),
            self._config.suites,
        )
        first = replace(first, mac=schedule.mac1(self._keys.suite, self._keys.k1[self._durable.side], first))
        h1 = schedule.hash1(self._keys.suite, first)
        self._attempt = Attempt(first, h1, 0, now, now + ATTEMPT_LIFE)
        self._answer = None
        self._send_first(now)

    def _send_first(self, now: float) -> None:
        attempt = self._attempt
        assert attempt is not None
        octets = replace(attempt.first, cookie=attempt.cookie).encode()
        attempt.cookie = None
        self.effects.append(Send(octets, self._own_account(attempt.sent)))
        attempt.due = now + FIRST_WAIT * 2**attempt.sent
        attempt.sent += 1
        link = self._durable.link
        if isinstance(link, Ahead) and attempt.sent > 1:
            # The peer may be an epoch behind, and could not read it.
            self.effects.append(Send(link.third, self._own_account(attempt.sent)))

    def _send_third(self, now: float, wire_octets: bytes) -> None:
        self.effects.append(Send(wire_octets, self._own_account(self._third_sent)))
        self._third_sent += 1
        self._third_due = now + self._third_wait
        self._third_wait = min(2 * self._third_wait, THIRD_LONGEST)

    def _own_account(self, sent: int) -> int | None:
        """To where the peer is known to be, and every second repetition to the configured address (U "Paths")."""
        return self._paths_peer if sent % 2 == 0 else None

    # ---- receiving

    def receive(self, now: float, path: int, octets: bytes) -> None:
        """Input that is not authentic changes nothing."""
        if self._stopped:
            return
        try:
            message = wire.decode(octets)
        except DecodeError:
            return
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
                self._fourth(path, message)
            case wire.Cookie():
                if self._attempt and equal(message.attempt, self._attempt.first.attempt):
                    self._attempt.cookie = self._attempt.cookie or message.cookie
            case wire.Stale():
                self._stale(message)

    def _first(self, now: float, path: int, first: wire.First) -> None:
        peer = other(self._durable.side)
        previous = self._durable.previous
        if equal(first.pseudonym, self._keys.pseudonyms[peer]):
            if equal(schedule.mac1(self._keys.suite, self._keys.k1[peer], first), first.mac):
                self._first_of_this_epoch(now, path, first)
        elif previous and equal(first.pseudonym, previous.pseudonyms[peer]):
            if equal(schedule.mac1(SUITES[previous.suite], previous.peer_k1, first), first.mac):
                self._first_of_the_last_epoch(now, path, first, previous)

    def _first_of_this_epoch(self, now: float, path: int, first: wire.First) -> None:
        self._highest_round = max(self._highest_round, first.round)
        void = bool(first.flags & wire.VOID)
        if isinstance(self._durable.link, Ahead):
            self._peer_followed(void)
        elif void and self._durable.session.status == LIVE:
            self._end_session()
        suite = next((code for code in self._config.suites if code in first.offer), None)
        if suite is None:
            return
        yielded = bool(self._answer and self._answer.yielded)
        if self._attempt:
            if self._wins(self._attempt.first, first):
                return
            yielded = True
        self._attempt = None
        self._answer_first(now, path, first, suite, yielded)

    def _wins(self, own: wire.First, theirs: wire.First) -> bool:
        """U "Glare": the round, then the first 12 octets of Ni, then side a."""
        mine = (own.round, own.nonce[:12])
        other_one = (theirs.round, theirs.nonce[:12])
        return mine > other_one or (mine == other_one and self._durable.side == "a")

    def _answer_first(self, now: float, path: int, first: wire.First, suite: int, yielded: bool) -> None:
        flags = self._void_flag() | (wire.STATELESS if self._config.stateless else 0)
        h1 = schedule.hash1(self._keys.suite, first)
        second = wire.Second(flags, first.attempt, b"", suite)
        nonce = schedule.responder_nonce(
            self._keys.suite, self._boot_key, self._durable.epoch, self._slot(now), h1, second
        )
        second = replace(second, nonce=nonce)
        keys = self._handshake(other(self._durable.side), h1, second)
        second = replace(second, mac=keys.mac2())
        self._answer = Answer(first, second, keys, now + ATTEMPT_LIFE, yielded)
        self.effects.append(Send(second.encode(), path))

    def _handshake(self, initiator: str, h1: bytes, second: wire.Second) -> Handshake:
        binding = self._config.enrolment.binding
        return schedule.handshake(
            self._keys.suite, self._durable.chain_key, binding, self._durable.epoch, initiator, h1, second
        )

    def _first_of_the_last_epoch(self, now: float, path: int, first: wire.First, previous: Previous) -> None:
        suite = SUITES[previous.suite]
        h1 = schedule.hash1(suite, first)
        link = self._durable.link
        if not isinstance(link, Ahead):
            notice = wire.Stale(first.attempt)
            mac = schedule.stale(suite, previous.peer_k1, notice, h1)
            self.effects.append(Send(replace(notice, mac=mac).encode(), path))
            return
        slot = self._slot(now)
        cookies = [schedule.cookie(self._keys.suite, self._boot_key, path, at, h1) for at in (slot, slot - 1)]
        shown = first.cookie is not None and any(equal(first.cookie, right) for right in cookies)
        if path == self._paths_peer or shown:
            if now >= self._third_drawn + FIRST_WAIT:
                self._third_drawn = now
                self.effects.append(Send(link.third, path))
        else:
            self.effects.append(Send(wire.Cookie(first.attempt, cookies[0]).encode(), path))

    def _second(self, now: float, path: int, second: wire.Second) -> None:
        attempt = self._attempt
        if attempt is None or not equal(second.attempt, attempt.first.attempt):
            return
        if second.suite not in attempt.first.offer:
            return
        keys = self._handshake(self._durable.side, attempt.h1, second)
        if not equal(keys.mac2(), second.mac):
            return
        self._paths_peer = path
        self._move_ahead(now, attempt.first, second, keys)

    def _move_ahead(self, now: float, first: wire.First, second: wire.Second, keys: Handshake) -> None:
        """The initiator's commit: the link is AHEAD, the session unconfirmed."""
        third = wire.Third(first.pseudonym)
        third = replace(third, mac=keys.mac3(third))
        long_third = wire.LongThird(third, first, second)
        k1 = self._keys.k1[self._durable.side]
        long_third = replace(long_third, guard=schedule.guard(self._keys.suite, k1, long_third))
        statuses = (wire.GOOD_STATUS, wire.VOID_STATUS)
        mac4 = {status: keys.mac4(wire.Fourth(first.pseudonym, status)) for status in statuses}
        self._step(now, keys, UNCONFIRMED, True, Ahead(long_third.encode(), mac4))
        self._wanted = False
        self._third_wait, self._third_sent = FIRST_WAIT, 0
        stateless = bool(second.flags & wire.STATELESS)
        self._send_third(now, wire_octets=long_third.encode() if stateless else third.encode())

    def _step(self, now: float, keys: Handshake, status: str, initiated: bool, link: Ahead | Followed) -> None:
        """To epoch e + 1. What is not kept here is gone: CK_e, MS and the own k1."""
        side = self._durable.side
        peer = other(side)
        session_id = keys.session_id()
        answering = None
        self._naming = None
        if status != VOID:
            answering = Answering(peer, keys.next_suite, keys.export_chain(peer))
            self._naming = Naming(side, keys.next_suite, keys.export_chain(side))
        self._attempt, self._answer = None, None
        self._round, self._highest_round = 0, 0
        self._third_due = None
        self._session_from = now
        self._commit(
            Durable(
                side=side,
                epoch=self._durable.epoch + 1,
                suite=keys.next_suite,
                chain_key=keys.chain_key(),
                session=Session(status, session_id, initiated, answering),
                previous=Previous(self._durable.suite, self._keys.pseudonyms, self._keys.k1[peer]),
                link=link,
            )
        )

    def _short_third(self, now: float, path: int, third: wire.Third) -> None:
        peer = other(self._durable.side)
        if equal(third.pseudonym, self._keys.pseudonyms[peer]):
            # Needs what the answer holds; without it the initiator repeats in the long form.
            if self._answer and equal(self._answer.keys.mac3(third), third.mac):
                self._follow(now, path, third, self._answer.first, self._answer.second, self._answer.keys)
        else:
            self._third_again(path, third)

    def _long_third(self, now: float, path: int, message: wire.LongThird) -> None:
        peer = other(self._durable.side)
        previous = self._durable.previous
        if equal(message.third.pseudonym, self._keys.pseudonyms[peer]):
            suite, k1 = self._keys.suite, self._keys.k1[peer]
            if not equal(schedule.guard(suite, k1, message), message.guard):
                return
            first = replace(message.first, mac=schedule.mac1(suite, k1, message.first))
            if message.second.suite not in SUITES:
                return
            keys = self._handshake(peer, schedule.hash1(suite, first), message.second)
            if equal(keys.mac3(message.third), message.third.mac):
                self._follow(now, path, message.third, first, message.second, keys)
        elif previous and equal(message.third.pseudonym, previous.pseudonyms[peer]):
            if equal(schedule.guard(SUITES[previous.suite], previous.peer_k1, message), message.guard):
                self._third_again(path, message.third)

    def _follow(
        self, now: float, path: int, third: wire.Third, first: wire.First, second: wire.Second, keys: Handshake
    ) -> None:
        """The responder's commit, whatever its policy says: the peer has moved."""
        self._paths_peer = path
        h1 = schedule.hash1(self._keys.suite, first)
        slot = self._slot(now)
        ours = [
            schedule.responder_nonce(self._keys.suite, self._boot_key, self._durable.epoch, at, h1, second)
            for at in (slot, slot - 1)
        ]
        fresh = any(equal(second.nonce, nonce) for nonce in ours)
        good = fresh and second.suite in self._config.suites
        status = wire.GOOD_STATUS if good else wire.VOID_STATUS
        fourth = wire.Fourth(third.pseudonym, status)
        fourth = replace(fourth, mac=keys.mac4(fourth))
        self._step(now, keys, LIVE if good else VOID, False, Followed(third.mac, status, fourth.mac))
        if good:
            self._wanted = False
            self._established()
        else:
            self.effects.append(Ended(self._durable.session.session_id))
        if not (good and self._config.consumer_confirms):
            self.effects.append(Send(fourth.encode(), path))

    def _third_again(self, path: int, third: wire.Third) -> None:
        previous, link = self._durable.previous, self._durable.link
        peer = other(self._durable.side)
        if previous is None or not isinstance(link, Followed):
            return
        if equal(third.pseudonym, previous.pseudonyms[peer]) and equal(third.mac, link.mac3):
            self._paths_peer = path
            fourth = wire.Fourth(third.pseudonym, link.status, link.mac4)
            self.effects.append(Send(fourth.encode(), path))

    def _fourth(self, path: int, fourth: wire.Fourth) -> None:
        previous, link = self._durable.previous, self._durable.link
        if previous is None or not isinstance(link, Ahead):
            return
        if not equal(fourth.pseudonym, previous.pseudonyms[self._durable.side]):
            return
        if equal(fourth.mac, link.mac4[fourth.status]):
            self._paths_peer = path
            self._peer_followed(fourth.status == wire.VOID_STATUS)

    def _peer_followed(self, void: bool) -> None:
        """Out of AHEAD: the session is live, or ends."""
        was = self._durable.session
        self._third_due, self._third_wait, self._third_sent = None, FIRST_WAIT, 0
        if void:
            self._commit(self._durable.with_status(VOID, None))
            self.effects.append(Ended(was.session_id))
            return
        status = LIVE if was.status == UNCONFIRMED else was.status
        self._commit(self._durable.with_status(status, None))
        if was.status == UNCONFIRMED:
            # The session that was wanted; an attempt that ran beside the long third message ends.
            self._attempt, self._wanted = None, False
            self._established()

    def _end_session(self) -> None:
        self._commit(self._durable.with_status(VOID, self._durable.link))
        self.effects.append(Ended(self._durable.session.session_id))

    def _established(self) -> None:
        session = self._durable.session
        self.effects.append(Established(session.session_id, session.initiated))

    def _stale(self, notice: wire.Stale) -> None:
        attempt = self._attempt
        if attempt is None or not equal(notice.attempt, attempt.first.attempt):
            return
        k1 = self._keys.k1[self._durable.side]
        if equal(schedule.stale(self._keys.suite, k1, notice, attempt.h1), notice.mac):
            self._stopped = True
            self._attempt = None
            self.effects.append(RolledBack())


