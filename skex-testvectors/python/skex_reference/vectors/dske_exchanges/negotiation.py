"""The terms of a key from a wish, and from what hubs said of the peer."""

from __future__ import annotations

from ...dske import negotiation
from ..case import Json
from .world import World


def negotiate(world: World, end: str, wish: Json) -> Json:
    """All tables of these tests have room, and come out of band."""
    client, said = world.clients[end], world.said[end]
    own = negotiation.Demands(client["minimumThreshold"], client["informationTheoretic"], client["longestLifetime"])
    room = {link.coordinate: [negotiation.OUT_OF_BAND] for link in world.of(end)}
    offers = [found.offer for found in said.values() if found.offer is not None]
    offer = max(offers, key=offers.count)
    said_by = [x for x, found in said.items() if found.offer == offer]
    hubs = tuple(room if wish["hubs"] is None else bytes.fromhex(wish["hubs"]))
    wanted = negotiation.Terms(wish["suite"], wish["threshold"], wish["lifetime"], hubs, wish["informationTheoretic"])
    agreed = negotiation.terms(own, room, offer, said_by, wanted)
    return {
        "suite": agreed.suite,
        "threshold": agreed.threshold,
        "lifetime": agreed.lifetime,
        "hubs": None if len(agreed.hubs) == len(room) else bytes(agreed.hubs).hex(),
        "informationTheoretic": agreed.information_theoretic,
    }
