"""What a machine wants done, until somebody asks. Its inner messages wait unsealed; those for the same other end that wait for the same
state to be stored then share datagrams (D "Several messages in one")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .wire import Several

Effect = TypeVar("Effect")

# D "Several messages in one": octets that every path of IPv6 carries whole.
DATAGRAM = 1232


@dataclass(frozen=True)
class Persist:
    """To be durable before anything behind it leaves."""

    stored: dict[str, Any]


@dataclass
class Unsealed:
    """What is to leave in one envelope."""

    to: int
    # Of which it is: it leaves under no other.
    session: object
    # Octets for messages in a datagram that several of them share.
    room: int
    messages: list[bytes]

    @property
    def inner(self) -> bytes:
        return self.messages[0] if len(self.messages) == 1 else Several(tuple(self.messages)).encode()

    def takes(self, message: bytes) -> bool:
        return len(Several((*self.messages, message)).encode()) <= min(self.room, Several.LONGEST)


def leaving(wanted: Sequence[Effect | Unsealed], seal: Callable[[Unsealed], Effect | None]) -> list[Effect]:
    """What is to be done, in this order. What can be sealed no more is left out."""
    sealed = (seal(one) if isinstance(one, Unsealed) else one for one in _gathered(wanted))
    return [one for one in sealed if one is not None]


def _gathered(wanted: Sequence[Effect | Unsealed]) -> list[Effect | Unsealed]:
    """Of what is to be stored the last state alone, where the first one stands; and each message as early as it may leave."""
    states = [one for one in wanted if isinstance(one, Persist)]
    gathered: list[Effect | Unsealed] = []
    # By other end: what may take more.
    latest: dict[int, Unsealed] = {}
    for one in wanted:
        if isinstance(one, Persist):
            if one is states[0]:
                gathered.append(states[-1])
                latest = {}
        elif isinstance(one, Unsealed) and all(map(Several.admits, one.messages)):
            before = latest.get(one.to)
            if before is not None and before.session is one.session and before.takes(one.messages[0]):
                before.messages += one.messages
            else:
                latest[one.to] = one
                gathered.append(one)
        else:
            gathered.append(one)
    return gathered
