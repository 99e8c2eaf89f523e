"""The terms of a key from a wish, and from what hubs said of the peer (D "Policy negotiation")."""

from __future__ import annotations

from ...dske import key as keys
from ..case import Json
from .world import World


def negotiate(world: World, end: str, wish: Json) -> Json:
    """Terms from what the client's hubs say (D "Policy negotiation"). All tables of these tests have room."""
    own, said = world.clients[end], world.said[end]
    chosen = wish["hubs"] and bytes.fromhex(wish["hubs"])
    wished = [link.coordinate for link in world.of(end) if chosen is None or link.coordinate in chosen]
    offers = [found.offer for found in said.values() if found.offer is not None]
    offer = max(offers, key=offers.count)
    alike = [x for x in wished if x in said and said[x].offer == offer]
    if len(alike) < max(own["minimumThreshold"], wish["threshold"], len(wished) // 2 + 1):
        raise ValueError("too few hubs say this offer")
    only_its = wish["informationTheoretic"] or own["informationTheoretic"] or offer.information_theoretic
    suites = [
        suite for suite in (wish["suite"], 1, 2, 3) if suite in offer.suites and (suite == keys.ITS or not only_its)
    ]
    hubs = [x for x in wished if x in offer.coordinates]
    least = max(own["minimumThreshold"], offer.threshold, wish["threshold"], 2)
    if least > len(hubs):
        raise ValueError("too few hubs serve both")
    return {
        "suite": suites[0],
        "threshold": max(least, len(hubs) // 2 + 1),
        "lifetime": min(wish["lifetime"], offer.lifetime, own["longestLifetime"]),
        "hubs": None if len(hubs) == len(world.of(end)) else bytes(hubs).hex(),
        "informationTheoretic": only_its,
    }
