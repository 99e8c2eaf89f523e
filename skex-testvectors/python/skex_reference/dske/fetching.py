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
    # What part of the usual the first interval of a session is.
    spread: float | None = None
    interval: float = 0.0

    def is_due(self, now: float) -> bool:
        return now >= (self.retry.due if self.retry else self.due)

    def sent(self, now: float) -> None:
        if self.retry is None:
            self.retry = Backoff(now + FIRST_WAIT, 2 * FIRST_WAIT)
        elif now >= self.retry.due:
            self.retry.again(now)

    def answered(self, now: float) -> None:
        if self.early:
            self.early -= 1
            return
        if self.retry is None:
            # An answer that comes twice, or to no question: no more than anything else.
            return
        self.retry = None
        part, self.spread = 1.0 if self.spread is None else self.spread, None
        self.interval = part * FETCH_EVERY
        self.due, self.by = now + self.interval, now + part * FETCH_BY

    def heard(self, now: float) -> None:
        """Something has come."""
        if self.retry is None:
            self.due = max(self.due, min(now + self.interval, self.by))
