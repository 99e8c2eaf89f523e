"""What an end draws, and the key that it makes of that (D "Randomness", "The secret block and its shares")."""

from __future__ import annotations

from ...dske import key as keys
from ...dske import wire
from ...dske.sharing import interpolate
from ..case import Json
from .key import Key
from .world import World, messages


def draw(world: World, end: str, step: Json) -> None:
    shares: list[bytes] = []
    making: Key | None = None
    for drawn in step["draws"]:
        octets, world.random[end] = world.random[end][: drawn["length"]], world.random[end][drawn["length"] :]
        if len(octets) != drawn["length"]:
            raise ValueError("more is drawn than there is")
        match drawn["what"]:
            case "instance":
                pass
            case "bootKey":
                for link in world.of(end):
                    link.boot_key = octets
            case "salt":
                # At a start all are drawn before any is seen: in the order of the links.
                own = world.link(end, drawn["about"]).ends[end]
                own.salt, own.session, own.probe = octets, None, b""
            case "probe":
                world.link(end, drawn["about"]).ends[end].probe = octets
            case "nonce":
                world.link(end, drawn["about"]).ends[end].nonce = octets
            case "keyId":
                _ask(world, octets)
            case "tagKey":
                if making is not None:
                    _make(world, end, step, making, shares)
                    shares = []
                # In one step they are made in the order of their ids.
                waiting = [key for key in world.keys[: world.keys_asked] if "tagKey" not in key.parts]
                making = min(waiting, key=lambda key: key.key_id)
                making.parts["tagKey"] = octets
            case "key" | "confirmKey":
                assert making is not None
                making.parts[drawn["what"]] = octets
            case "share":
                shares.append(octets)
            case what:
                raise ValueError(f"draws {what}")
    if making is not None:
        _make(world, end, step, making, shares)


def _ask(world: World, key_id: bytes) -> None:
    if world.keys_asked < len(world.keys):
        world.keys[world.keys_asked].key_id = key_id
    world.keys_asked += 1


def _make(world: World, end: str, step: Json, key: Key, drawn: list[bytes]) -> None:
    """The secret block and its shares (D "The secret block and its shares")."""
    stated = key.stated
    links = [link for link in world.of(end) if key.chosen is None or link.coordinate in key.chosen]
    key.coordinates = tuple(sorted(link.coordinate for link in links))
    origins = int.from_bytes(bytes.fromhex(stated["origins"]), "little")
    hubs = [
        keys.HubOfKey(link.hub_id, link.coordinate, origins >> i & 1)
        for i, link in enumerate(sorted(links, key=lambda link: link.coordinate))
    ]
    key.context = keys.context(
        stated["suite"],
        key.key_id,
        bytes.fromhex(stated["initiator"]),
        bytes.fromhex(stated["responder"]),
        stated["threshold"],
        stated["keyLength"],
        stated["lifetime"],
        hubs,
    )
    key.block = keys.secret_block(key.parts["tagKey"], key.parts["key"], key.parts["confirmKey"])
    key.secret_tag = keys.tag_of_block(key.block, key.context)
    points = {0: key.block} | {link.coordinate: share for link, share in zip(links, drawn)}
    for to, message in messages(step):
        at = message["choices"]
        if at.get("direct") and world.keys[at["key"]] is key:
            link = world.link(end, to)
            points[link.coordinate] = link.elements(
                wire.UPLINK, at["table"], at["index"] + 4, len(key.block) // 16
            )
    if len(points) != stated["threshold"]:
        raise ValueError("another number of given shares than one less than the threshold")
    key.shares = {link.coordinate: interpolate(points, link.coordinate) for link in links}
