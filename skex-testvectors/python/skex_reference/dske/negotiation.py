"""The terms of a key from what the peer offers, the own policy and a wish (D "Policy negotiation")."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..octets import Policy
from . import wire
from .key import ITS

# In the order of D "Suites".
SUITES = (1, 2, 3)
OUT_OF_BAND = 0


class NoTerms(Policy):
    """There is no agreement."""


class TooFewSay(NoTerms):
    """So few of the hubs could lie together. How many say it, and how many have to."""


class NoSuite(NoTerms):
    """None is offered that is good enough for both."""


class TooFewHubs(NoTerms):
    """How many serve both ends, and the least threshold."""


@dataclass(frozen=True)
class Demands:
    """What an end demands of every key."""

    threshold: int
    information_theoretic: bool
    lifetime: int


@dataclass(frozen=True)
class Terms:
    suite: int
    threshold: int
    lifetime: int
    hubs: tuple[int, ...]
    information_theoretic: bool


def terms(
    own: Demands, room: Mapping[int, Collection[int]], offer: wire.Offer, said_by: Collection[int], wish: Terms
) -> Terms:
    """`room` has, of each hub of the own roster by its coordinate, the origins of the uplink tables with room for the key."""
    wished = [x for x in sorted(room) if x in wish.hubs]
    say = sum(x in said_by for x in wished)
    have_to = max(own.threshold, wish.threshold, len(wished) // 2 + 1)
    if say < have_to:
        raise TooFewSay(say, have_to)
    only_its = own.information_theoretic or offer.information_theoretic or wish.information_theoretic
    suites = [x for x in (wish.suite, *SUITES) if x in offer.suites and (x == ITS or not only_its)]
    if not suites:
        raise NoSuite
    hubs = [x for x in wished if x in offer.coordinates and (OUT_OF_BAND in room[x] or room[x] and not only_its)]
    least = max(own.threshold, offer.threshold, wish.threshold, 2)
    if least > len(hubs):
        raise TooFewHubs(len(hubs), least)
    threshold = max(least, len(hubs) // 2 + 1)
    return Terms(suites[0], threshold, min(wish.lifetime, offer.lifetime, own.lifetime), tuple(hubs), only_its)
