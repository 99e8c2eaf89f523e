"""What somebody finds who recorded everything (D "What is not provided")."""

from __future__ import annotations

from ...dske import key as keys
from ...dske.observer import FoundKey, ObservedLink, Observer
from ...suites import SUITES
from ..case import Case, Json, Kind, layer_of

WAYS = ("uplink", "downlink")


def _observed(case: Case) -> FoundKey:
    test = case.test
    roster = {hub["coordinate"]: bytes.fromhex(hub["hubId"]) for hub in test["roster"]}
    hubs = {hub["name"]: hub for hub in test["roster"]}
    links = {
        link["hub"]: ObservedLink(
            bytes.fromhex(hubs[link["hub"]]["hubId"]),
            hubs[link["hub"]]["coordinate"],
            link["clientId"],
            bytes.fromhex(link["initialKey"]),
            {(way, link[name]["number"]): bytes.fromhex(link[name]["octets"]) for way, name in enumerate(WAYS)},
        )
        for link in test["links"]
    }
    observer = Observer(SUITES[test["envelopeSuite"]], bytes.fromhex(test["clientTag"]), roster, links)
    for captured in test["captured"]:
        observer.see(captured["hub"], captured["direction"], bytes.fromhex(captured["octets"]))
    return observer.key(test["links"][0]["client"] == "alice")


def _passive(case: Case) -> Json:
    if not case.valid:
        return {"found": None}
    found = _observed(case)
    terms, confirmation = found.terms, found.confirmation
    return {
        "found": {
            "keyId": found.key_id.hex(),
            "initiator": found.initiator.hex(),
            "responder": found.responder.hex(),
            "suite": terms.suite,
            "threshold": terms.threshold,
            "keyLength": terms.key_length,
            "lifetime": terms.lifetime,
            "origins": terms.origins.hex(),
            "context": found.context.hex(),
            "tagKey": found.block[:48].hex(),
            "key": keys.key_of_block(found.block, terms.key_length).hex(),
            "confirmKey": keys.confirm_key_of_block(found.block).hex(),
            "block": found.block.hex(),
            "secretTag": found.secret_tag.hex(),
            "shares": [{"coordinate": x, "share": share.hex()} for x, share in found.shares.items()],
            "confirmation": confirmation
            and {
                "origins": confirmation.origins.hex(),
                "lying": confirmation.lying.hex(),
                "tag": confirmation.tag.hex(),
            },
        }
    }


PASSIVE = Kind(lambda _: ["found"], _passive, lambda case: layer_of(lambda: _observed(case)))
