"""What the file says beside the steps."""

from __future__ import annotations

from ...dske import envelope
from ..case import Json
from .world import World


def values(world: World) -> Json:
    made: Json = {
        "sessions": [
            {
                "client": link.client,
                "hub": link.hub,
                "saltC": session.salts[0].hex(),
                "saltH": session.salts[1].hex(),
                "prk": envelope.session_prk(link.suite, link.k0s[session.initial], *session.salts).hex(),
                "uplinkKey": session.keys.uplink.hex(),
                "downlinkKey": session.keys.downlink.hex(),
            }
            for link, session in world.sessions
            if session.used
        ],
        "blocks": [
            {
                **_place(world, place),
                "answerKey": _elements(world, place, 0, 2),
                "messageKey": _elements(world, place, 2, 2),
                "pad": _elements(world, place, 4, length),
            }
            for place, length in sorted(world.blocks.items())
        ],
        "epochs": [],
    }
    for place, suite in sorted(world.epochs.items()):
        link, way, table, index = place
        answer, share = world.links[link].epoch_keys(way, suite, table, index)
        made["epochs"].append(
            {**_place(world, place), "suite": suite, "answerKey": answer.hex(), "shareKey": share.hex()}
        )
    for i, key in enumerate(world.keys):
        made |= {f"keys[{i}].{name}": value for name, value in key.values().items()}
    return made


def _place(world: World, place: tuple[int, int, int, int]) -> Json:
    link, way, table, index = place
    names = world.links[link]
    return {"client": names.client, "hub": names.hub, "direction": way, "table": table, "index": index}


def _elements(world: World, place: tuple[int, int, int, int], first: int, count: int) -> str:
    link, way, table, index = place
    return world.links[link].elements(way, table, index + first, count).hex()
