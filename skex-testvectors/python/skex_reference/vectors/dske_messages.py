"""What the files `dske-wire` and `dske-envelope` mean."""

from __future__ import annotations

from ..dske import envelope, tags, wire
from ..octets import DecodeError
from ..suites import NotAuthentic
from .case import Case, Json, Kind, always, flip, layer_of

# ---- dske-wire: a message, as the files name its fields

OUTER = {"HELLO": wire.Hello, "HELLO_REPLY": wire.HelloReply}
SHARES = {"UPLOAD": wire.Upload, "DELIVERY": wire.Delivery}


def outer_from(fields: Json) -> wire.Outer:
    octets = {name: bytes.fromhex(value) for name, value in fields.items() if isinstance(value, str) and name != "type"}
    kind, client_id = fields["type"], fields["clientId"]
    if kind in OUTER:
        return OUTER[kind](client_id, octets["salt"], octets["tag"])
    if kind == "HELLO_REQUEST":
        return wire.HelloRequest(client_id, octets["tag"])
    salt = octets["salt"] if kind == "SEALED_FRESH" else None
    return wire.Sealed(client_id, salt, fields["seq"], octets["ciphertext"], octets["tag"])


def outer_to(message: wire.Outer) -> Json:
    if isinstance(message, wire.Sealed):
        fresh = {} if message.salt is None else {"salt": message.salt.hex()}
        return {
            "type": "SEALED" if message.salt is None else "SEALED_FRESH",
            "clientId": message.client_id,
            **fresh,
            "seq": message.seq,
            "ciphertext": message.ciphertext.hex(),
            "tag": message.tag.hex(),
        }
    if isinstance(message, wire.HelloRequest):
        return {"type": "HELLO_REQUEST", "clientId": message.client_id, "tag": message.tag.hex()}
    kind = "HELLO_REPLY" if isinstance(message, wire.HelloReply) else "HELLO"
    return {"type": kind, "clientId": message.client_id, "salt": message.salt.hex(), "tag": message.tag.hex()}


def inner_to(message: wire.Inner) -> Json:
    match message:
        case wire.LeaseRequest():
            return {
                "type": "LEASE_REQUEST",
                "table": message.table,
                "nonce": message.nonce.hex(),
                "mark": message.mark,
                "want": message.want,
            }
        case wire.LeaseGrant():
            return {
                "type": "LEASE_GRANT",
                "table": message.table,
                "nonce": message.nonce.hex(),
                "start": message.start,
                "end": message.end,
                "tag": message.tag.hex(),
            }
        case wire.LeaseDenied():
            return {
                "type": "LEASE_DENIED",
                "table": message.table,
                "nonce": message.nonce.hex(),
                "mark": message.mark,
            }
        case wire.Share():
            terms = message.terms
            fields = {
                "table": message.table,
                "index": message.index,
                "floor": message.floor,
                "keyId": message.key_id.hex(),
                "peer": message.peer.hex(),
                "terms": {
                    "suite": terms.suite,
                    "threshold": terms.threshold,
                    "keyLength": terms.key_length,
                    "lifetime": terms.lifetime,
                    "coordinates": list(terms.coordinates),
                    "origins": terms.origins.hex(),
                },
                "secretTag": message.secret_tag.hex(),
                "share": message.share.hex(),
            }
            kind = "DELIVERY" if isinstance(message, wire.Delivery) else "UPLOAD"
            return {"type": kind, "fields": fields, "tag": message.tag.hex()}
        case wire.Answer():
            return {
                "type": "ANSWER",
                "table": message.table,
                "index": message.index,
                "status": message.status,
                "confirmation": _confirmation_to(message.confirmation),
                "tag": message.tag.hex(),
            }
        case wire.Busy():
            return {"type": "BUSY", "table": message.table, "index": message.index}
        case wire.Confirm():
            return {
                "type": "CONFIRM",
                "keyId": message.key_id.hex(),
                "peer": message.peer.hex(),
                "confirmation": _confirmation_to(message.confirmation),
            }
        case wire.Fetch():
            return {"type": "FETCH"}
        case wire.Fetched():
            return {"type": "FETCHED", "waiting": message.waiting}
        case wire.Refill():
            return {
                "type": "REFILL",
                "direction": message.direction,
                "table": message.table,
                "elements": message.elements,
                "first": message.first,
                "pad": message.pad.hex(),
            }
        case wire.Refilled():
            return {
                "type": "REFILLED",
                "direction": message.direction,
                "table": message.table,
                "next": message.next,
            }
        case wire.Command():
            return _command_to(message)
        case wire.Outcome():
            found = message.found and {"client": message.found.client.hex(), "offer": _offer_to(message.found.offer)}
            return {
                "type": "OUTCOME",
                "table": message.table,
                "index": message.index,
                "status": message.status,
                "found": found,
                "tag": message.tag.hex(),
            }
        case wire.Several():
            return {"type": "SEVERAL", "messages": [octets.hex() for octets in message.messages]}


def _command_to(message: wire.Command) -> Json:
    kind, body = _command_body_to(message.what)
    return {
        "type": kind,
        "table": message.table,
        "index": message.index,
        "floor": message.floor,
        **body,
        "tag": message.tag.hex(),
    }


def _command_body_to(what: wire.Lookup | wire.Publish | wire.Withdraw | wire.Authorise) -> tuple[str, Json]:
    match what:
        case wire.Lookup():
            return "LOOKUP", {"name": what.name.hex()}
        case wire.Publish():
            return "PUBLISH", {"offer": _offer_to(what.offer)}
        case wire.Withdraw():
            return "WITHDRAW", {"keyId": what.key_id.hex()}
        case wire.Authorise():
            return "AUTHORISE", {"allowed": what.allowed, "client": what.client.hex()}


def _offer_to(offer: wire.Offer | None) -> Json | None:
    if offer is None:
        return None
    return {
        "minimumThreshold": offer.threshold,
        "informationTheoretic": offer.information_theoretic,
        "maximumLifetime": offer.lifetime,
        "suites": list(offer.suites),
        "coordinates": list(offer.coordinates),
    }


def _offer_from(fields: Json | None) -> wire.Offer | None:
    if fields is None:
        return None
    return wire.Offer(
        fields["minimumThreshold"],
        fields["informationTheoretic"],
        fields["maximumLifetime"],
        tuple(fields["suites"]),
        tuple(fields["coordinates"]),
    )


def _command_from(fields: Json, tag: bytes) -> wire.Command:
    what: wire.Lookup | wire.Publish | wire.Withdraw | wire.Authorise
    match fields["type"]:
        case "LOOKUP":
            what = wire.Lookup(bytes.fromhex(fields["name"]))
        case "PUBLISH":
            what = wire.Publish(_offer_from(fields["offer"]))
        case "WITHDRAW":
            what = wire.Withdraw(bytes.fromhex(fields["keyId"]))
        case _:
            what = wire.Authorise(fields["allowed"], bytes.fromhex(fields["client"]))
    return wire.Command(fields["table"], fields["index"], fields["floor"], what, tag)


def _confirmation_to(confirmation: wire.Confirmation | None) -> Json | None:
    if confirmation is None:
        return None
    return {
        "origins": confirmation.origins.hex(),
        "lying": confirmation.lying.hex(),
        "tag": confirmation.tag.hex(),
    }


def _confirmation_from(fields: Json | None) -> wire.Confirmation | None:
    if fields is None:
        return None
    octets = {name: bytes.fromhex(value) for name, value in fields.items()}
    return wire.Confirmation(octets["origins"], octets["lying"], octets["tag"])


def inner_from(fields: Json, tag: bytes) -> wire.Inner:
    """The message of these fields with this tag, whatever theirs says."""
    kind = fields["type"]
    if kind in SHARES:
        share = fields["fields"]
        terms = share["terms"]
        return SHARES[kind](
            share["table"],
            share["index"],
            share["floor"],
            bytes.fromhex(share["keyId"]),
            bytes.fromhex(share["peer"]),
            wire.Terms(
                terms["suite"],
                terms["threshold"],
                terms["keyLength"],
                terms["lifetime"],
                tuple(terms["coordinates"]),
                bytes.fromhex(terms["origins"]),
            ),
            bytes.fromhex(share["secretTag"]),
            bytes.fromhex(share["share"]),
            tag,
        )
    nonce = bytes.fromhex(fields.get("nonce", ""))
    match kind:
        case "LEASE_REQUEST":
            return wire.LeaseRequest(fields["table"], nonce, fields["mark"], fields["want"])
        case "LEASE_GRANT":
            return wire.LeaseGrant(fields["table"], nonce, fields["start"], fields["end"], tag)
        case "LEASE_DENIED":
            return wire.LeaseDenied(fields["table"], nonce, fields["mark"])
        case "ANSWER":
            confirmation = _confirmation_from(fields["confirmation"])
            return wire.Answer(fields["table"], fields["index"], fields["status"], confirmation, tag)
        case "BUSY":
            return wire.Busy(fields["table"], fields["index"])
        case "CONFIRM":
            confirmation = _confirmation_from(fields["confirmation"])
            assert confirmation is not None
            return wire.Confirm(bytes.fromhex(fields["keyId"]), bytes.fromhex(fields["peer"]), confirmation)
        case "FETCH":
            return wire.Fetch()
        case "FETCHED":
            return wire.Fetched(fields["waiting"])
        case "REFILL":
            pad = bytes.fromhex(fields["pad"])
            return wire.Refill(fields["direction"], fields["table"], fields["elements"], fields["first"], pad)
        case "REFILLED":
            return wire.Refilled(fields["direction"], fields["table"], fields["next"])
        case "LOOKUP" | "PUBLISH" | "WITHDRAW" | "AUTHORISE":
            return _command_from(fields, tag)
        case "OUTCOME":
            found = fields["found"] and wire.Found(
                bytes.fromhex(fields["found"]["client"]), _offer_from(fields["found"]["offer"])
            )
            return wire.Outcome(fields["table"], fields["index"], fields["status"], found, tag)
        case "SEVERAL":
            return wire.Several(tuple(map(bytes.fromhex, fields["messages"])))
    raise DecodeError("no such type")


# ---- dske-wire: outer messages

OUTER_KIND = Kind(
    lambda case: ["octets"] if case.valid else ["message"],
    lambda case: {"octets": outer_from(case.test["message"]).encode().hex()} if case.valid else {"message": None},
    lambda case: layer_of(lambda: _read_outer(case)),
)


def _read_outer(case: Case) -> None:
    if outer_to(wire.decode_outer(case.octets("octets"))) != case.test["message"]:
        raise ValueError("another message")


# ---- dske-wire: inner messages

OTHER_CLIENT = 8
OTHER_HUB = bytes([0xA2]) * 16


def _tagged(case: Case) -> bool:
    return case.test["tagKey"] is not None


def _inner_outputs(case: Case) -> list[str]:
    if case.test["message"] is None:
        return ["message", "tagInput"]
    return ["octets", "tagInput", *(["message.tag"] if _tagged(case) else [])]


def _tag_input(case: Case, body: bytes) -> bytes:
    return wire.tag_input(
        case.number("direction"), case.group["clientId"], bytes.fromhex(case.group["hubId"]), body
    )


def _inner(case: Case) -> Json:
    if case.test["message"] is None:
        return {"message": None, "tagInput": None}
    if not _tagged(case):
        return {"octets": inner_from(case.test["message"], b"").encode().hex(), "tagInput": None}
    body = inner_from(case.test["message"], bytes(16)).encode()[:-16]
    right = _tag_input(case, body)
    tagged = right
    if case.flag == "OtherDirection":
        tagged = bytes([1 - right[0]]) + right[1:]
    elif case.flag == "OtherClient":
        tagged = right[:1] + OTHER_CLIENT.to_bytes(4, "big") + right[5:]
    elif case.flag == "OtherHub":
        tagged = right[:5] + OTHER_HUB + right[21:]
    tag = tags.message_tag(case.octets("tagKey"), tagged)
    if case.flag == "ModifiedTag":
        tag = flip(tag, 0)
    return {"octets": (body + tag).hex(), "tagInput": right.hex(), "message.tag": tag.hex()}


def _judge_inner(case: Case) -> str | None:
    """Decoding, then the tag, then what the receiver knows of the key, then its policy."""
    layer = layer_of(lambda: wire.decode_inner(case.octets("octets")))
    if layer:
        return layer
    message = wire.decode_inner(case.octets("octets"))
    if inner_to(message) != case.test["message"]:
        raise ValueError("another message")
    if _tagged(case):
        octets = case.octets("octets")
        if not tags.message_tag_verifies(case.octets("tagKey"), _tag_input(case, octets[:-16]), octets[-16:]):
            return "authenticate"
    if isinstance(message, wire.Answer | wire.Confirm) and message.confirmation is not None:
        if not message.confirmation.fits(case.group["hubs"]):
            return "state"
    if isinstance(message, wire.Share) and message.terms.suite != 1:
        return "policy"
    return None


INNER = Kind(_inner_outputs, _inner, _judge_inner)


# ---- dske-envelope


def _keys(case: Case) -> Json:
    suite, k0, hub_id = case.suite, case.octets("initialKey"), case.octets("hubId")
    salt_c, salt_h = case.octets("saltC"), case.octets("saltH")
    link = envelope.link_keys(suite, k0, hub_id)
    session = envelope.session_keys(suite, k0, salt_c, salt_h, case.number("clientId"), hub_id)
    return {
        "prk0": envelope.prk0(suite, k0).hex(),
        "helloKey": link.hello.hex(),
        "replyKey": link.reply.hex(),
        "requestKey": link.request.hex(),
        "prk": envelope.session_prk(suite, k0, salt_c, salt_h).hex(),
        "uplinkKey": session.uplink.hex(),
        "downlinkKey": session.downlink.hex(),
    }


KEYS = Kind(
    always("prk0", "helloKey", "replyKey", "requestKey", "prk", "uplinkKey", "downlinkKey"), _keys, lambda _: None
)

CLIENT = 7


def _hello_outputs(case: Case) -> list[str]:
    return ["octets", "before"] if case.flag == "OtherBefore" else ["octets"]


def _hello(case: Case) -> Json:
    suite, key = case.suite, case.octets("key")
    before = case.before("before") if case.flag == "OtherBefore" else case.octets("before")
    # The salt of these tests, unless it is an example: the first half of the key with every bit flipped.
    salt = bytes(octet ^ 0xFF for octet in key[:16])
    if case.flag == "SpecificationExample":
        salt = bytes([0x5C if case.test["messageType"] == "HELLO" else 0x54]) * 16
    kind = case.test["messageType"]
    message = wire.HelloRequest(CLIENT, b"") if kind == "HELLO_REQUEST" else OUTER[kind](CLIENT, salt, b"")
    body, tag = message.body(), envelope.hello_tag(suite, key, before, message.body())
    if case.flag == "ModifiedTag":
        tag = flip(tag, -1)
    if case.flag == "ModifiedHeader":
        # The last bit of the client id.
        body = flip(body, 39)
    outputs = {"octets": (body + tag).hex()}
    return outputs | {"before": flip(before, 0).hex()} if case.flag == "OtherBefore" else outputs


def _judge_hello(case: Case) -> str | None:
    message = wire.decode_outer(case.octets("octets"))
    if isinstance(message, wire.Sealed):
        return "decode"
    if not envelope.hello_verifies(case.suite, case.octets("key"), case.octets("before"), message):
        return "authenticate"
    return None


HELLO = Kind(_hello_outputs, _hello, _judge_hello)


def _sealed(case: Case) -> Json:
    suite, key = case.suite, case.octets("key")
    salt = None if case.test["saltC"] is None else case.octets("saltC")
    seq, inner = case.number("seq"), case.octets("inner")
    if case.flag == "Reflected":
        # The key of the other direction, in these tests: with the first bit flipped.
        key = flip(key, 0)
    octets = envelope.seal(suite, key, case.number("clientId"), salt, seq, inner)
    aad = octets[: len(octets) - len(inner) - 16]
    change = {
        "tag": -1,
        "ciphertext": 8 * len(aad) + 7,
        "sequence number": 8 * len(aad) - 1,
        "client id": 39,
        "salt": 47,
    }
    part = case.test["name"].partition(", ")[2]
    if not case.valid and part in change:
        octets = flip(octets, change[part])
    return {"nonce": envelope.nonce(seq).hex(), "aad": aad.hex(), "octets": octets.hex()}


def _judge_sealed(case: Case) -> str | None:
    def attempt() -> None:
        message = wire.decode_outer(case.octets("octets"))
        if not isinstance(message, wire.Sealed):
            raise DecodeError("not sealed")
        if envelope.open_sealed(case.suite, case.octets("key"), message) != case.octets("inner"):
            raise NotAuthentic("another message inside")

    return layer_of(attempt)


SEALED = Kind(always("nonce", "aad", "octets"), _sealed, _judge_sealed)


def _salt(case: Case) -> Json:
    salt = envelope.hub_salt(
        case.suite,
        case.octets("bootKey"),
        case.number("clientId"),
        case.octets("saltC"),
        case.number("generation"),
    )
    return {"saltH": salt.hex()}


SALT = Kind(always("saltH"), _salt, lambda _: None)

FILES = {
    "dske-wire": {"Outer": OUTER_KIND, "Inner": INNER},
    "dske-envelope": {"Keys": KEYS, "Hello": HELLO, "Sealed": SEALED, "Salt": SALT},
}
