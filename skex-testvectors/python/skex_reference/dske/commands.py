"""What a client asks of its hubs beside keys (D "Commands")."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import look_up, wire
from .link import EPOCH_BLOCK, Backoff, Sending

if TYPE_CHECKING:
    from .client import Client

# D "Commands" and "Timers", in seconds.
PATIENCE = 30.0
GRACE = 0.5

What = wire.Lookup | wire.Publish | wire.Withdraw | wire.Authorise


def is_a_state(what: What) -> bool:
    """Whether it changes at a hub what a later one changes again."""
    return undoes(what, what)


def undoes(one: What, other: What) -> bool:
    """Whether of these two what is carried out last is what holds."""
    match one, other:
        case wire.Publish(), wire.Publish():
            return True
        case wire.Authorise(), wire.Authorise():
            return one.client == other.client
        case _:
            return False


@dataclass
class Part:
    """What concerns one hub."""

    sending: Sending | None = None
    octets: bytes = b""
    outcome: wire.Outcome | None = None
    backoff: Backoff = field(default_factory=lambda: Backoff(0.0))


class Task:
    """One command, at every hub."""

    def __init__(self, client: Client, now: float, what: What, ends: float) -> None:
        self._client = client
        self._what = what
        self._ends = min(ends, now + PATIENCE)
        self._agreed: float | None = None
        self._parts = [Part() for _ in client.config.hubs]
        self.done = False

    def step(self, now: float) -> None:
        client = self._client
        for i, part in enumerate(self._parts):
            if part.outcome is not None or not client.is_open(i):
                continue
            if part.sending is None:
                # A hub does what comes last: what is held back must not be that.
                if any(earlier.is_under_way(i, self._what) for earlier in client.before(self)):
                    continue
                if i in client.given_up and is_a_state(self._what):
                    client.restart(now, i)
                    continue
                part.sending = client.ends[i].allocate(0)
                if part.sending is None:
                    client.ask_for_lease(now, i, EPOCH_BLOCK)
                    continue
                part.octets = client.ends[i].command(part.sending, self._what)
                part.backoff = Backoff(now)
            if now >= part.backoff.due:
                client.send(i, part.octets)
                part.backoff.again(now)
        self._end(now)

    def is_under_way(self, hub: int, what: What) -> bool:
        """Whether this is to come to the hub before `what`."""
        return self._parts[hub].outcome is None and undoes(self._what, what)

    def new_session(self, hub: int) -> None:
        """Without an outcome, the same command in a new block."""
        if self._parts[hub].outcome is None:
            self._parts[hub].sending = None

    def outcome(self, now: float, hub: int, octets: bytes, message: wire.Outcome) -> None:
        part, ends = self._parts[hub], self._client.ends[hub]
        # After its time a hub may have forgotten what it did.
        if now >= self._ends or part.outcome is not None or part.sending is None:
            return
        if not ends.answer_verifies(octets, None, part.sending.answerable):
            return
        # DONE to a look-up has whom it found, and nothing else has.
        is_found = isinstance(self._what, wire.Lookup) and message.status == wire.OutcomeStatus.DONE
        if is_found == (message.found is not None):
            ends.answered(part.sending.answerable)
            part.outcome = message

    # ---- what the hubs say

    def _end(self, now: float) -> None:
        complete = all(part.outcome is not None for part in self._parts)
        if isinstance(self._what, wire.Lookup) and self._waits() == look_up.LITTLE:
            # The others have a little longer.
            self._agreed = self._agreed if self._agreed is not None else now
            complete = complete or now >= self._agreed + GRACE
        if complete or now >= self._ends:
            self.done = True
            for i, part in enumerate(self._parts):
                if part.sending is not None and part.outcome is None and is_a_state(self._what):
                    self._client.given_up.add(i)
            self._tell()

    def _answers(self) -> list[look_up.Answer]:
        return [
            look_up.Answer(
                hub.coordinate,
                part.sending.answerable.origin if part.sending else 0,
                part.outcome.status if part.outcome else None,
                part.outcome.found if part.outcome else None,
            )
            for hub, part in zip(self._client.config.hubs, self._parts)
        ]

    def _waits(self) -> str:
        return look_up.waits(self._client.config.minimum_threshold, self._answers())

    def _tell(self) -> None:
        from .client import CommandEnded, LookedUp, NothingSaid

        client = self._client
        coordinates = [hub.coordinate for hub in client.config.hubs]
        if not isinstance(self._what, wire.Lookup):
            outcomes = {
                x: None if part.outcome is None else part.outcome.status for x, part in zip(coordinates, self._parts)
            }
            client.effects.append(CommandEnded(self._what, outcomes))
            return
        try:
            said = look_up.judge(client.config.minimum_threshold, self._answers())
        except look_up.NotSaid as refused:
            client.effects.append(NothingSaid(self._what.name, refused))
            return
        if said.client is not None:
            client.found.add(said.client)
        client.effects.append(LookedUp(self._what.name, said))
