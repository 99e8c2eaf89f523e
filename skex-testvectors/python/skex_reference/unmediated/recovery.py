"""Recovery (U "Recovery"): what the recovery lane of a pair gives to its other lanes."""

from __future__ import annotations

from .exporter import index_of
from .schedule import other
from .state import LIVE, UNCONFIRMED, Durable

LABEL = "skex x1 lane"


def initiator(lane: Durable) -> str:
    """The side that began the session of a recovery lane."""
    return lane.side if lane.session.initiated else other(lane.side)


def secret(lane: Durable) -> bytes | None:
    """The new ES of the pair, from what a recovery lane has stored: output 0 of its initiator's chain, while it is there."""
    answering = lane.session.answering
    if lane.session.status != LIVE or answering is None or answering.position > 0:
        return None
    return answering.peek(index_of(initiator(lane), 0), LABEL, b"")


def is_over(lane: Durable) -> bool:
    """Whether lanes that are held may be released, by what the recovery lane has stored."""
    return lane.session.status != UNCONFIRMED and secret(lane) is None
