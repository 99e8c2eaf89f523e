"""What the files `tags`, `shamir` and `dske-key` mean."""

from __future__ import annotations

from ..dske import decoding, key, look_up, negotiation, sharing, tags, wire
from ..octets import xor
from ..suites import equal
from .case import Case, Json, Kind, always, flip, layer_of

# ---- tags


def _message_tag_outputs(case: Case) -> list[str]:
    changed = case.flag in ("ModifiedMessage", "LengthExtension")
    return ["tag", "message"] if changed else ["tag"]


def _message_tag(case: Case) -> Json:
    flag, secret = case.flag, case.octets("key")
    if flag == "ErasedKey":
        return {"tag": None}
    if flag == "ModifiedMessage":
        before = case.before("message")
        # The comment says "first" or "last bit".
        message = flip(before, 0 if case.test["name"].startswith("first") else -1)
        return {"tag": tags.message_tag(secret, before).hex(), "message": message.hex()}
    if flag == "LengthExtension":
        before = case.derive("message", case.lengths["message"] - 1)
        return {"tag": tags.message_tag(secret, before).hex(), "message": (before + b"\0").hex()}
    tag = tags.message_tag(secret, case.octets("message"))
    if flag == "ModifiedTag":
        tag = flip(tag, 0 if case.test["name"].startswith("first") else -1)
    return {"tag": tag.hex()}


def _judge_message_tag(case: Case) -> str | None:
    tag = bytes(16) if case.test["tag"] is None else case.octets("tag")

    def attempt() -> bool:
        return tags.message_tag_verifies(case.octets("key"), case.octets("message"), tag)

    layer = layer_of(attempt)
    return layer or (None if attempt() else "authenticate")


MESSAGE_TAG = Kind(_message_tag_outputs, _message_tag, _judge_message_tag)

_CHANGED = {"payload changed": "payload", "context changed": "context", "key changed": "key"}


def _secret_tag_outputs(case: Case) -> list[str]:
    changed = _CHANGED.get(case.test["name"])
    return ["tag", *([changed] if changed else [])]


def _secret_tag(case: Case) -> Json:
    changed = _CHANGED.get(case.test["name"])
    given = {
        path: case.before(path) if path == changed else case.octets(path) for path in ("key", "payload", "context")
    }
    secret, payload, context = given["key"], given["payload"], given["context"]
    outputs = {}
    if changed:
        # The first bit; of a key, that of its last element e.
        outputs[changed] = flip(given[changed], 256 if changed == "key" else 0).hex()
    if case.flag == "MovedBoundary":
        both = payload + context
        payload, context = both[:32], both[32:]
    tag = tags.secret_tag(secret, payload, context)
    if case.flag == "ModifiedTag":
        tag = flip(tag, -1)
    if case.flag == "ShiftedKey":
        tag = tags.secret_tag(secret[:32] + bytes(16), payload, context)
    return outputs | {"tag": tag.hex()}


def _judge_secret_tag(case: Case) -> str | None:
    right = tags.secret_tag_verifies(
        case.octets("key"), case.octets("payload"), case.octets("context"), case.octets("tag")
    )
    return None if right else "authenticate"


SECRET_TAG = Kind(_secret_tag_outputs, _secret_tag, _judge_secret_tag)


# ---- shamir


def _shares(case: Case) -> list[tuple[int, bytes]]:
    return [(share["coordinate"], bytes.fromhex(share["share"])) for share in case.test["shares"]]


def _following(case: Case) -> list[bytes]:
    direct = [bytes.fromhex(share) for share in case.test["direct"]]
    return sharing.split(case.number("threshold"), case.test["coordinates"], case.octets("secret"), direct)


def _split(case: Case) -> Json:
    return {"following": [share.hex() for share in _following(case)] if case.valid else None}


SPLIT = Kind(always("following"), _split, lambda case: layer_of(lambda: _following(case)))


def _combined(case: Case) -> bytes:
    return sharing.combine(case.number("threshold"), _shares(case))


def _combine(case: Case) -> Json:
    return {"secret": _combined(case).hex() if case.valid else None}


COMBINE = Kind(always("secret"), _combine, lambda case: layer_of(lambda: _combined(case)))


def _decode_outputs(case: Case) -> list[str]:
    shares = [f"shares[{i}].share" for i in range(len(case.test["shares"]))]
    return [*shares, "secretTag", "culprits", "blameIsCertain", *([] if case.valid else ["secret"])]


def _honest_shares(case: Case, secret: bytes) -> list[tuple[int, bytes]]:
    """Those of an initiator, with direct ones at the first k - 1 coordinates in the order of the test."""
    coordinates = [share["coordinate"] for share in case.test["shares"]]
    points = {0: secret}
    for i, x in enumerate(coordinates[: case.number("threshold") - 1]):
        points[x] = case.derive(f"direct[{i}]", len(secret))
    return [(x, sharing.interpolate(points, x)) for x in coordinates]


def _liars(case: Case) -> list[int]:
    """Which shares are lies. Where nobody can decode them, the file says it by these shares alone."""
    secret = case.derive("secret", case.lengths["shares[0].share"])
    honest = _honest_shares(case, secret)
    return [x for (x, right), (_, came) in zip(honest, _shares(case)) if right != came]


def _lie(case: Case, honest: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    liars = case.hints
    errors = {x: case.derive(f"errors[{i}]", len(honest[0][1])) for i, x in enumerate(liars)}
    if case.flag == "LiarsAgree":
        # Both errors, as the first k shares weigh them at zero, cancel.
        first = [x for x, _ in honest[: case.number("threshold")]]
        weights = {x: sharing.interpolate({y: bytes([y == x]) for y in first}, 0)[0] for x in liars}
        factor = sharing.multiply(weights[liars[0]], sharing.inverse(weights[liars[1]]))
        errors[liars[1]] = sharing.scale(errors[liars[0]], factor)
    return [(x, xor(share, errors[x]) if x in errors else share) for x, share in honest]


def _decode(case: Case) -> Json:
    length = case.lengths["shares[0].share"]
    secret = case.derive("secret", length)
    shares = _lie(case, _honest_shares(case, secret))
    tag = key.tag_of_block(secret, case.octets("context"))
    found = decoding.decode(
        case.number("threshold"), shares, case.octets("context"), tag, case.number("workLimit")
    )
    outputs: Json = {f"shares[{i}].share": share.hex() for i, (_, share) in enumerate(shares)}
    outputs |= {
        "secretTag": tag.hex(),
        "culprits": found.culprits if found else None,
        "blameIsCertain": found.blame_is_certain if found else None,
    }
    return outputs if case.valid else outputs | {"secret": found.secret.hex() if found else None}


def _judge_decode(case: Case) -> str | None:
    found = decoding.decode(
        case.number("threshold"),
        _shares(case),
        case.octets("context"),
        case.octets("secretTag"),
        case.number("workLimit"),
    )
    if found is None:
        return "authenticate"
    if found.secret != case.octets("secret"):
        raise ValueError("another secret")
    return None


DECODE = Kind(_decode_outputs, _decode, _judge_decode, _liars)


# ---- dske-key


def _context(case: Case) -> Json:
    hubs = [
        key.HubOfKey(bytes.fromhex(hub["hubId"]), hub["coordinate"], hub["origin"]) for hub in case.test["hubs"]
    ]
    about = key.context(
        case.number("suite"),
        case.octets("keyId"),
        case.octets("initiator"),
        case.octets("responder"),
        case.number("threshold"),
        case.number("keyLength"),
        case.number("lifetime"),
        hubs,
    )
    return {"context": about.hex()}


CONTEXT = Kind(always("context"), _context, lambda _: None)


def _block_outputs(case: Case) -> list[str]:
    changed = ["context"] if case.flag == "OtherContext" else []
    return ["block", "secretTag", "confirmationTag", *changed]


def _block(case: Case) -> Json:
    confirm_key = case.octets("confirmKey")
    origins, lying = case.octets("origins"), case.octets("lying")
    block = key.secret_block(case.octets("tagKey"), case.octets("key"), confirm_key)
    confirmed = context = case.before("context") if case.flag == "OtherContext" else case.octets("context")
    outputs = {}
    if case.flag == "OtherContext":
        # A lifetime that is longer or shorter by a second: the last bit of the fixed part of 58 octets.
        context = flip(confirmed, 8 * 58 - 1)
        outputs["context"] = context.hex()
    if case.flag == "ModifiedBitmap":
        # The bit of the first hub, the least significant.
        origins = flip(origins, 7) if "origin" in case.test["name"] else origins
        lying = flip(lying, 7) if "liar" in case.test["name"] else lying
    tag = key.confirmation_tag(confirm_key, confirmed, origins, lying)
    if case.flag == "ModifiedTag":
        tag = flip(tag, -1)
    return outputs | {
        "block": block.hex(),
        "secretTag": key.tag_of_block(block, context).hex(),
        "confirmationTag": tag.hex(),
    }


def _judge_block(case: Case) -> str | None:
    context, block = case.octets("context"), case.octets("block")
    if not tags.secret_tag_verifies(block[:48], block[48:], context, case.octets("secretTag")):
        raise ValueError("the secret tag is wrong")
    tag = key.confirmation_tag(
        key.confirm_key_of_block(block), context, case.octets("origins"), case.octets("lying")
    )
    return None if equal(tag, case.octets("confirmationTag")) else "authenticate"


SECRET_BLOCK = Kind(_block_outputs, _block, _judge_block)


def _terms(stated: Json) -> negotiation.Terms:
    hubs = tuple(bytes.fromhex(stated["hubs"]))
    return negotiation.Terms(
        stated["suite"], stated["threshold"], stated["lifetime"], hubs, stated["informationTheoretic"]
    )


def _agreed(case: Case) -> negotiation.Terms:
    test = case.test
    own = negotiation.Demands(test["minimumThreshold"], test["informationTheoretic"], test["longestLifetime"])
    room = {hub["coordinate"]: hub["room"] for hub in test["hubs"]}
    offer = wire.decode_offer(case.octets("offer"))
    return negotiation.terms(own, room, offer, case.octets("saidBy"), _terms(test["wish"]))


def _negotiation(case: Case) -> Json:
    try:
        agreed = _agreed(case)
    except negotiation.NoTerms as refused:
        found, needed = refused.args or (None, None)
        return {"terms": None, "found": found, "needed": needed, "flags": [type(refused).__name__]}
    made = {
        "suite": agreed.suite,
        "threshold": agreed.threshold,
        "lifetime": agreed.lifetime,
        "hubs": bytes(agreed.hubs).hex(),
        "informationTheoretic": agreed.information_theoretic,
    }
    return {"terms": made, "found": None, "needed": None, "flags": ["Normal"]}


NEGOTIATION = Kind(
    always("terms", "found", "needed", "flags"), _negotiation, lambda case: layer_of(lambda: _agreed(case))
)



def _answers(case: Case) -> list[look_up.Answer]:
    def found(answer: Json) -> wire.Found | None:
        if answer["client"] is None:
            return None
        offer = None if answer["offer"] is None else wire.decode_offer(bytes.fromhex(answer["offer"]))
        return wire.Found(bytes.fromhex(answer["client"]), offer)

    return [
        look_up.Answer(answer["coordinate"], answer["origin"], answer["status"], found(answer))
        for answer in case.test["answers"]
    ]


def _said(case: Case) -> look_up.Agreed:
    return look_up.judge(case.number("minimumThreshold"), _answers(case))


def _look_up(case: Case) -> Json:
    made: Json = dict.fromkeys(("client", "agreed", "otherwise", "informationTheoretic", "offer", "saidBy"))
    made |= {"waits": look_up.waits(case.number("minimumThreshold"), _answers(case)), "camps": []}
    try:
        said = _said(case)
    except look_up.NotSaid as refused:
        camps = refused.camps if isinstance(refused, look_up.Contradiction) else ()
        return made | {"camps": [bytes(camp).hex() for camp in camps], "flags": [type(refused).__name__]}
    made |= {"agreed": bytes(said.agreed).hex(), "otherwise": bytes(said.otherwise).hex()}
    if said.client is None:
        return made | {"flags": ["Nobody"]}
    return made | {
        "client": said.client.hex(),
        "informationTheoretic": said.information_theoretic,
        "offer": said.offer.encode().hex() if said.offer else None,
        "saidBy": bytes(said.said_by).hex() if said.said_by else None,
        "flags": ["Dissent" if said.otherwise else "Normal"],
    }


LOOK_UP = Kind(
    always(
        *("waits", "client", "agreed", "otherwise", "informationTheoretic", "offer", "saidBy", "camps", "flags"),
    ),
    _look_up,
    lambda case: layer_of(lambda: _said(case)),
)

FILES = {
    "tags": {"MessageTag": MESSAGE_TAG, "SecretTag": SECRET_TAG},
    "shamir": {"Split": SPLIT, "Combine": COMBINE, "Decode": DECODE},
    "dske-key": {"Context": CONTEXT, "SecretBlock": SECRET_BLOCK, "Negotiation": NEGOTIATION, "LookUp": LOOK_UP},
}
