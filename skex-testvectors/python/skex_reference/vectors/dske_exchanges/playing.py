"""One step of an exchange: what follows from it."""

from __future__ import annotations

from ...dske import entries, wire
from ...records import replay
from ..case import Json
from . import drawing, hearing, negotiation, sending
from .world import World


def step(world: World, step: Json, refused: bool) -> Json:
    """What follows from the step: the paths of values within it, and the values."""
    end, given = step["end"], step["input"]
    made: Json = {}
    if given["type"] == "Start":
        if refused:
            return made
        stored(world, end, given)
        for link in world.of(end):
            link.ends[end] = link.ends[end].after_a_start()
            link.generation = 0 if end == link.hub else link.generation
    if given["type"] == "Request":
        terms = given
        if given["wish"] is not None:
            terms = negotiation.negotiate(world, end, given["wish"])
            made |= {f"input.{name}": value for name, value in terms.items()}
        # Of a refused test there may be no key of it yet.
        for key in world.keys[world.keys_asked : world.keys_asked + 1]:
            key.chosen = None if terms["hubs"] is None else bytes.fromhex(terms["hubs"])
    drawing.draw(world, end, step)
    match given["type"]:
        case "Refill":
            link = world.link(end, given["client"])
            link.refills[given["direction"], given["table"]] = bytes.fromhex(given["octets"])
        case "AddTable":
            link = world.link(end, given["hub"])
            coming = link.ends[end].refill
            assert coming is not None
            link.tables[given["direction"], given["table"]] = coming[2]
            made["input.octets"] = coming[2].hex()
        case "InitialKey":
            link = world.link(end, given["about"])
            own = link.ends[end]
            if own.given == len(link.k0s):
                link.k0s.append(bytes.fromhex(given["key"]))
            else:
                made["input.key"] = link.k0s[own.given].hex()
            own.next, own.given = own.given, own.given + 1
        case "Provision":
            link, place = world.link(end, given["about"]), (given["direction"], given["table"])
            if place in link.tables:
                made["input.octets"] = link.tables[place].hex()
            else:
                link.tables[place] = bytes.fromhex(given["octets"])
        case "Command":
            world.said[end] = {}
        case "Retire":
            own = world.link(end, given["about"]).ends[end]
            own.retired.add((given["direction"], given["table"]))
            own.session = None
        case "Revoke":
            world.link(end, given["client"]).revoked = True
        case "Message":
            octets = bytes.fromhex(given["octets"])
            if octets not in world.sent and not refused:
                raise ValueError("a message that nobody sent")
            if given["accepted"] or not refused:
                hearing.hear(world, end, given["from"], octets)
    for place, output in enumerate(step["outputs"]):
        if output["type"] == "Send":
            inner, octets = sending.send(world, end, step, output)
            made[f"outputs[{place}].inner"] = None if inner is None else inner.hex()
            if inner is not None and output["messages"]:
                made |= {
                    f"outputs[{place}].messages[{i}].inner": message.hex()
                    for i, message in enumerate(wire.each(inner))
                }
            made[f"outputs[{place}].octets"] = octets.hex()
            world.sent.add(octets)
        elif output["type"] == "Key":
            key = next(key for key in world.keys if key.key_id.hex() == output["keyId"])
            made[f"outputs[{place}].key"] = (key.parts["key"] if output["initiator"] else key.accept()[0]).hex()
    return made


def stored(world: World, end: str, given: Json) -> dict[bytes, bytes]:
    """What stands in the records from which an end starts (D "Records")."""
    kind = entries.HUB if end in world.hubs else entries.CLIENT
    machine = bytes.fromhex(world.hubs[end]["hubId"] if end in world.hubs else world.clients[end]["tag"])[:8]
    standing = replay([bytes.fromhex(record) for record in given["records"]], kind, machine)
    for name, value in standing.items():
        entries.entry(kind, name, value)
    return standing
