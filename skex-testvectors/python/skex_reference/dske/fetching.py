"""When a client asks a hub for what waits (D "Timers")."""

from dataclasses import dataclass

from .link import FIRST_WAIT, Backoff

FETCH_EVERY = 15.0
FETCH_BY = 60.0


@dataclass
class Fetching:
    """Of an envelope that is known to be open. Before, FETCH has the backoff of the envelope."""

    due: float
    # When even a client that hears the hub all the time asks.
    by: float
    # While a FETCH has no FETCHED.
    retry: Backoff | None = None
    # FETCHEDs that may be on their way still to what was asked under SEALED_FRESH.
    early: int = 0
    # What part of the interval passes before the second question of a session.
    spread: float | None = None

    def is_due(self, now: float) -> bool:
        return now >= (self.retry.due if self.retry else self.due)

    def sent(self, now: float) -> None:
        if self.retry is None:
            self.retry = Backoff(now + FIRST_WAIT, 2 * FIRST_WAIT)
        elif now >= self.retry.due:
            self.retry.again(now)
        self.by = now + FETCH_BY

    def answered(self, now: float) -> None:
        if self.early:
            self.early -= 1
            return
        self.retry = None
        part, self.spread = 1.0 if self.spread is None else self.spread, None
        self.due = now + part * FETCH_EVERY

    def heard(self, now: float) -> None:
        """Something else has come."""
        if self.retry is None:
            self.due = max(self.due, min(now + FETCH_EVERY, self.by))
