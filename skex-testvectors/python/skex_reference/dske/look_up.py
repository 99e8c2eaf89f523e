"""What the hubs' answers to a look-up amount to (D "Look-up", "Offers")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..octets import Policy
from . import wire

OUT_OF_BAND = 0

# How long the client waits for more answers: not at all, as for slow hubs, or until its time is over.
NO, LITTLE, LONG = "no", "little", "long"


class NotSaid(Policy):
    """Nothing is believed."""


class NoAgreement(NotSaid):
    """Fewer hubs than the threshold say the same."""


class Contradiction(NotSaid):
    """As many hubs as the threshold say one thing, and as many another."""

    def __init__(self, camps: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        # The coordinates of those that say each thing: tags in ascending order, then nobody.
        self.camps = camps


@dataclass(frozen=True)
class Answer:
    """An OUTCOME, with the coordinate of its hub and the origin of the table that authenticated it. `status` is `None` where
    none has come."""

    coordinate: int
    origin: int
    status: int | None
    found: wire.Found | None


@dataclass(frozen=True)
class Agreed:
    """Who has the name: `None` where nobody has. Hubs are told by their coordinates."""

    client: bytes | None
    agreed: tuple[int, ...]
    otherwise: tuple[int, ...]
    # Of nobody: `None`.
    information_theoretic: bool | None = None
    offer: wire.Offer | None = None
    said_by: tuple[int, ...] | None = None


def judge(threshold: int, answers: Sequence[Answer]) -> Agreed:
    """`threshold` is the least of the client's own policy."""
    camps = _camps(threshold, answers)
    if not camps:
        raise NoAgreement
    if len(camps) > 1:
        raise Contradiction(tuple(_coordinates(camp) for camp in camps))
    agreed = camps[0]
    otherwise = [answer for answer in answers if answer.status is not None and answer not in agreed]
    if agreed[0].found is None:
        return Agreed(None, _coordinates(agreed), _coordinates(otherwise))
    offer, said_by = _offer(threshold, agreed)
    return Agreed(
        agreed[0].found.client,
        _coordinates(agreed),
        _coordinates(otherwise),
        all(answer.origin == OUT_OF_BAND for answer in agreed),
        offer,
        said_by,
    )


def waits(threshold: int, answers: Sequence[Answer]) -> str:
    """How long it waits for more than these."""
    if all(answer.status is not None for answer in answers):
        return NO
    camps = _camps(threshold, answers)
    if not camps:
        return LONG
    offers = [len(say) for camp in camps for _, say in _offers(camp)]
    return LONG if offers and 2 * max(offers) <= len(answers) else LITTLE


def _camps(threshold: int, answers: Sequence[Answer]) -> list[list[Answer]]:
    """Of each thing that k hubs say, those that say it."""
    tags = sorted({answer.found.client for answer in answers if answer.found})
    camps = [[answer for answer in answers if answer.found and answer.found.client == tag] for tag in tags]
    camps.append([answer for answer in answers if answer.status == wire.OutcomeStatus.UNKNOWN])
    return [camp for camp in camps if len(camp) >= threshold]


def _offers(camp: Sequence[Answer]) -> list[tuple[wire.Offer, list[Answer]]]:
    offers: dict[wire.Offer, list[Answer]] = {}
    for answer in camp:
        if answer.found and answer.found.offer:
            offers.setdefault(answer.found.offer, []).append(answer)
    return list(offers.items())


def _offer(threshold: int, camp: Sequence[Answer]) -> tuple[wire.Offer | None, tuple[int, ...] | None]:
    """The one that most say alike, and more than any other."""
    offers = _offers(camp)
    most = max((len(say) for _, say in offers), default=0)
    best = [(offer, say) for offer, say in offers if len(say) == most]
    if most < threshold or len(best) != 1:
        return None, None
    return best[0][0], _coordinates(best[0][1])


def _coordinates(answers: Sequence[Answer]) -> tuple[int, ...]:
    return tuple(answer.coordinate for answer in answers)
