"""What an end sends: every octet of it, but for what it was free to choose."""

from __future__ import annotations

from ...dske import envelope, epochs, wire
from ...octets import xor
from ..case import Json
from .link import Link, LinkEnd
from .world import World


def send(world: World, end: str, step: Json, output: Json) -> tuple[bytes | None, bytes]:
    link = world.link(end, output["to"])
    own, heard = link.ends[end], bytes.fromhex(step["input"].get("octets") or "")
    match output["message"]:
        case "HELLO":
            initial = output["choices"].get("initialKey", 0)
            if initial not in own.initial_keys() or own.probe and initial != own.next:
                raise ValueError("a hello under an initial key that it cannot be under")
            body = wire.Hello(link.client_id, own.probe or own.salt, b"").body()
            return None, body + envelope.hello_tag(link.suite, link.hello_keys(initial).hello, b"", body)
        case "HELLO_REPLY":
            asked = wire.decode_outer(heard)
            assert isinstance(asked, wire.Hello)
            initial = link.hello_is_under(own, asked)
            if initial is None:
                raise ValueError("the reply to a hello with a wrong tag")
            body = wire.HelloReply(link.client_id, world.hub_salt(link, asked.salt), b"").body()
            session = link.session_of((asked.salt, body[5:21]), initial)
            if (link, session) not in world.sessions:
                world.sessions.append((link, session))
            return None, body + envelope.hello_tag(link.suite, link.hello_keys(initial).reply, asked.salt, body)
        case "HELLO_REQUEST":
            # The next key, if there is one, for every other AEAD tag.
            initial = own.next if own.next is not None and heard[-16] & 1 else own.present
            body = wire.HelloRequest(link.client_id, b"").body()
            return None, body + envelope.hello_tag(link.suite, link.hello_keys(initial).request, heard[-16:], body)
    inner = _inner(world, link, end, step, output)
    assert own.session is not None
    own.session.used = True
    key = own.session.keys.uplink if end == link.client else own.session.keys.downlink
    salt_c = own.session.salts[0] if output["choices"]["fresh"] else None
    if output["choices"]["seq"] in own.numbers:
        raise ValueError("a sequence number twice")
    own.numbers.add(output["choices"]["seq"])
    octets = envelope.seal(link.suite, key, link.client_id, salt_c, output["choices"]["seq"], inner)
    return inner, octets


def _inner(world: World, link: Link, end: str, step: Json, output: Json) -> bytes:
    own, at = link.ends[end], output["choices"]
    # Of the message; the tables of the other direction are those that this end receives by.
    way = wire.UPLINK if end == link.client else wire.DOWNLINK
    kind: str = output["message"]
    match kind:
        case "SEVERAL":
            several = [_inner(world, link, end, step, message) for message in output["messages"]]
            return wire.Several(tuple(several)).encode()
        case "FETCH":
            return wire.Fetch().encode()
        case "FETCHED":
            return wire.Fetched(at["waiting"]).encode()
        case "BUSY":
            return wire.Busy(at["table"], at["index"]).encode()
        case "REFILLED":
            return wire.Refilled(at["direction"], at["table"], at["next"]).encode()
        case "REFILL":
            table = link.refills[at["direction"], at["table"]]
            pad = table[16 * at["first"] : 16 * (at["first"] + at["count"])]
            return wire.Refill(at["direction"], at["table"], at["elements"], at["first"], pad).encode()
        case "LEASE_REQUEST":
            own.asked = wire.LeaseRequest(at["table"], own.nonce, at["mark"], at["want"])
            return own.asked.encode()
        case "LEASE_DENIED":
            assert own.granted is not None
            return wire.LeaseDenied(at["table"], own.granted.nonce, at["mark"]).encode()
        case "LEASE_GRANT":
            assert own.granted is not None
            body = wire.LeaseGrant(at["table"], own.granted.nonce, at["start"], at["end"], b"").body()
            own.leases.append((at["table"], at["start"], at["end"]))
            return body + link.tag(link.elements(1 - way, at["table"], at["start"], 2), way, body)
        case "CONFIRM":
            key = world.keys[at["key"]]
            responder = bytes.fromhex(key.stated["responder"])
            return wire.Confirm(key.key_id, responder, key.confirmation()).encode()
        case "UPLOAD" | "DELIVERY" | "UPLOAD_SEALED" | "DELIVERY_SEALED":
            return _share(world, link, own, way, kind, at)
        case "ANSWER" | "ANSWER_SEALED":
            return _answer(world, link, way, kind, at)
    return _commanded(world, link, own, way, kind, at, bytes.fromhex(output["body"]))


def _noted(
    world: World, link: Link, way: int, at: Json, held: dict[tuple[int, int, int, int], int], value: int
) -> None:
    held[world.links.index(link), way, at["table"], at["index"]] = value


def _share(world: World, link: Link, own: LinkEnd, way: int, kind: str, at: Json) -> bytes:
    key = world.keys[at["key"]]
    stated, share = key.stated, key.shares[link.coordinate]
    error = world.hubs[link.hub]["error"]
    if error is not None and way == wire.DOWNLINK:
        # A hub that lies.
        share = xor(share, bytes.fromhex(error))
    peer = bytes.fromhex(stated["responder"] if way == wire.UPLINK else stated["initiator"])
    terms = wire.Terms(
        stated["suite"],
        stated["threshold"],
        stated["keyLength"],
        stated["lifetime"],
        key.coordinates,
        bytes.fromhex(stated["origins"]),
    )
    message = wire.Upload if way == wire.UPLINK else wire.Delivery
    own.sent[at["table"], at["index"], at.get("number", 0)] = kind
    if kind.endswith("_SEALED"):
        _noted(world, link, way, at, world.epochs, stated["suite"])
        own.epochs[at["table"], at["index"]] = stated["suite"]
        plain = message(at["table"], at["index"], at["floor"], key.key_id, peer, terms, key.secret_tag, b"", b"")
        body = plain.body()
        head = epochs.head(body, at["number"])
        _, share_key = link.epoch_keys(way, stated["suite"], at["table"], at["index"])
        nonce = epochs.nonce(at["number"])
        return head + epochs.seal(stated["suite"], share_key, nonce, link.before(way) + head, share)
    _noted(world, link, way, at, world.blocks, len(share) // 16)
    pad = link.elements(way, at["table"], at["index"] + 4, len(share) // 16)
    travels = b"" if at.get("direct") else xor(share, pad)
    unsigned = message(
        at["table"], at["index"], at["floor"], key.key_id, peer, terms, key.secret_tag, travels, b""
    )
    body = unsigned.body()
    return body + link.tag(link.elements(way, at["table"], at["index"] + 2, 2), way, body)


def _answer(world: World, link: Link, way: int, kind: str, at: Json) -> bytes:
    confirmation = None
    if way == wire.UPLINK and at["status"] == wire.Status.ACCEPTED:
        confirmation = world.keys[_key_of(world, link, at)].confirmation()
    body = wire.Answer(at["table"], at["index"], at["status"], confirmation, b"").body()
    if kind == "ANSWER":
        return body + link.tag(link.elements(1 - way, at["table"], at["index"], 2), way, body)
    suite = world.epochs[world.links.index(link), 1 - way, at["table"], at["index"]]
    head = epochs.head(body, at["number"])
    answer_key, _ = link.epoch_keys(1 - way, suite, at["table"], at["index"])
    return head + epochs.seal(suite, answer_key, epochs.nonce(at["number"]), link.before(way) + head, b"")


def _key_of(world: World, link: Link, at: Json) -> int:
    """The key whose delivery is answered."""
    return world.delivered[world.links.index(link), at["table"], at["index"], at.get("number", 0)]


def _commanded(world: World, link: Link, own: LinkEnd, way: int, kind: str, at: Json, body: bytes) -> bytes:
    types = {"LOOKUP": 30, "PUBLISH": 31, "WITHDRAW": 32, "AUTHORISE": 33}
    place = at["table"].to_bytes(2, "big") + at["index"].to_bytes(4, "big")
    if kind == "OUTCOME":
        octets = bytes([34]) + place + bytes([at["status"]]) + body
        return octets + link.tag(link.elements(1 - way, at["table"], at["index"], 2), way, octets)
    _noted(world, link, way, at, world.blocks, 0)
    own.sent[at["table"], at["index"], 0] = kind
    octets = bytes([types[kind]]) + place + at["floor"].to_bytes(4, "big") + body
    return octets + link.tag(link.elements(way, at["table"], at["index"] + 2, 2), way, octets)
