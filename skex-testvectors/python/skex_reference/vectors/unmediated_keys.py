"""What the files `unmediated-keys` and `unmediated-exporter` mean."""

from __future__ import annotations

from dataclasses import replace

from ..octets import WrongState
from ..suites import SUITES, NotAuthentic, Suite, equal
from ..unmediated import exporter, schedule, wire
from ..unmediated.schedule import Enrolment
from .case import Case, Json, Kind, always, flip, layer_of

# ---- unmediated-keys: enrolment and epochs


def _enrolled(case: Case) -> tuple[bytes, bytes]:
    enrolment = Enrolment(
        case.octets("nameA"),
        case.octets("nameB"),
        case.number("lane"),
        case.group["suite"],
        case.octets("context"),
    )
    return enrolment.binding, enrolment.first_chain_key(case.octets("secret"))


def _enrolment(case: Case) -> Json:
    if not case.valid:
        return {"binding": None, "chainKey": None}
    binding, chain_key = _enrolled(case)
    return {"binding": binding.hex(), "chainKey": chain_key.hex()}


ENROLMENT = Kind(always("binding", "chainKey"), _enrolment, lambda case: layer_of(lambda: _enrolled(case)))


def _epoch(case: Case) -> Json:
    keys = schedule.epoch_keys(case.suite, case.octets("chainKey"), case.number("epoch"))
    return {
        "pseudonymA": keys.pseudonyms["a"].hex(),
        "pseudonymB": keys.pseudonyms["b"].hex(),
        "macKeyA": keys.k1["a"].hex(),
        "macKeyB": keys.k1["b"].hex(),
    }


EPOCH = Kind(always("pseudonymA", "pseudonymB", "macKeyA", "macKeyB"), _epoch, lambda _: None)


# ---- unmediated-keys: handshakes

# What a handshake is made of; all else follows.
HANDSHAKE_INPUTS = ("epoch", "suite", "binding", "chainKey", "initiator", "firstBody", "secondBody", "block")


def handshake(given: Json) -> Json:
    """Every value of a handshake, from its inputs."""
    suite, epoch, side = SUITES[given["suite"]], given["epoch"], given["initiator"]
    binding, chain_key = bytes.fromhex(given["binding"]), bytes.fromhex(given["chainKey"])
    own = schedule.epoch_keys(suite, chain_key, epoch)
    k1 = own.k1[side]
    first = _parse_first(bytes.fromhex(given["firstBody"]))
    first = replace(first, mac=schedule.mac1(suite, k1, first))
    second = _parse_second(bytes.fromhex(given["secondBody"]))
    h1 = schedule.hash1(suite, first)
    block = None if given["block"] is None else bytes.fromhex(given["block"])
    keys = schedule.handshake(suite, chain_key, binding, epoch, side, h1, second, block)
    third = wire.Third(first.pseudonym)
    third = replace(third, mac=keys.mac3(third))
    long_third = wire.LongThird(third, first, second)
    long_third = replace(long_third, guard=schedule.guard(suite, k1, long_third))
    fourths = [wire.Fourth(first.pseudonym, status) for status in (wire.GOOD_STATUS, wire.VOID_STATUS)]
    good, void = (replace(fourth, mac=keys.mac4(fourth)).encode() for fourth in fourths)
    notice = wire.Stale(first.attempt)
    notice = replace(notice, mac=schedule.stale(suite, k1, notice, h1))
    values = {
        "pseudonym": own.pseudonyms[side],
        "macKey": k1,
        "mac1": first.mac,
        "h1": h1,
        "h2": suite.hash(second.body()),
        "transcriptHash": schedule.transcript_hash(suite, binding, epoch, side, h1, second),
        "masterSecret": keys.ms,
        "mac2": keys.mac2(),
        "third": third.encode(),
        "longThird": long_third.encode(),
        "fourthGood": good,
        "fourthVoid": void,
        "staleNotice": notice.encode(),
        "sessionId": keys.session_id(),
        "exportA": keys.export_chain("a"),
        "exportB": keys.export_chain("b"),
        "nextChainKey": keys.chain_key(),
    }
    mix_key = None if keys.mix_key is None else keys.mix_key.hex()
    return {"nextSuite": second.suite, "mixKey": mix_key} | {name: value.hex() for name, value in values.items()}


def _parse_first(body: bytes) -> wire.First:
    message = wire.decode(body + bytes(wire.MAC))
    assert isinstance(message, wire.First)
    return message


def _parse_second(body: bytes) -> wire.Second:
    message = wire.decode(body + bytes(wire.MAC))
    assert isinstance(message, wire.Second)
    return message


def _handshake_outputs(case: Case) -> list[str]:
    return [f"handshake.{name}" for name in case.test["handshake"] if name not in HANDSHAKE_INPUTS]


def _handshake(case: Case) -> Json:
    return {f"handshake.{name}": value for name, value in handshake(case.test["handshake"]).items()}


HANDSHAKE = Kind(_handshake_outputs, _handshake, lambda _: None)


# ---- unmediated-keys: tags


def _tag(suite: Suite, key: bytes, after: bytes, octets: bytes) -> bytes:
    """The tag that a message should have: under k1 of the initiator, or MS."""
    message = wire.decode(octets)
    # Tags do not depend on the next suite.
    made = schedule.Handshake(suite, suite.code, key)
    match message:
        case wire.First():
            return schedule.mac1(suite, key, message)
        case wire.Second():
            return made.mac2()
        case wire.Third():
            return made.mac3(message)
        case wire.LongThird():
            return schedule.guard(suite, key, message)
        case wire.Fourth():
            return made.mac4(message)
        case wire.Stale():
            return schedule.stale(suite, key, message, after)
        case wire.Cookie():
            raise ValueError("nothing authenticates a cookie")


def _tag_length(case: Case) -> int:
    return wire.GUARD if case.test["messageType"] == "THIRD_LONG" else wire.MAC


def _tag_outputs(case: Case) -> list[str]:
    # What is changed otherwise is about values that the test does not state.
    return ["octets"] if case.flag in ("Normal", "ModifiedTag") else []


def _tag_body(case: Case) -> list[int]:
    return list(case.octets("octets")[: -_tag_length(case)])


def _tagged(case: Case) -> Json:
    if case.flag not in ("Normal", "ModifiedTag"):
        return {}
    body = bytes(case.hints)
    tag = _tag(case.suite, case.octets("key"), case.octets("after"), body + bytes(_tag_length(case)))
    return {"octets": (body + (flip(tag, -1) if case.flag == "ModifiedTag" else tag)).hex()}


def _judge_tag(case: Case) -> str | None:
    def attempt() -> None:
        octets = case.octets("octets")
        tag = _tag(case.suite, case.octets("key"), case.octets("after"), octets)
        if not equal(tag, octets[-_tag_length(case) :]):
            raise NotAuthentic("the tag is wrong")

    return layer_of(attempt)


TAG = Kind(_tag_outputs, _tagged, _judge_tag, _tag_body)


# ---- unmediated-keys: the responder's nonce, and cookies


def _nonce(case: Case) -> Json:
    h1 = case.suite.hash(case.octets("first"))
    suite, extension = case.number("nextSuite"), case.octets("extension")
    second = wire.Second(case.number("secondFlags"), b"", b"", suite, extension=extension)
    nonce = schedule.responder_nonce(
        case.suite, case.octets("bootKey"), case.number("epoch"), case.number("slot"), h1, second
    )
    return {"h1": h1.hex(), "nonce": nonce.hex()}


NONCE = Kind(always("h1", "nonce"), _nonce, lambda _: None)


def _offer_outputs(case: Case) -> list[str]:
    return [*(f"references[{i}]" for i in range(len(case.test["blocks"]))), "filling", "extension"]


def _offer(case: Case) -> Json:
    chain_key, nonce = case.octets("chainKey"), case.octets("nonce")
    about = case.number("epoch"), case.test["initiator"], nonce
    blocks = [bytes.fromhex(block) for block in case.test["blocks"]]
    references = [schedule.mix_reference(case.suite, block, *about).hex() for block in blocks]
    return {f"references[{i}]": reference for i, reference in enumerate(references)} | {
        "filling": schedule.mix_filling(case.suite, chain_key, *about).hex(),
        "extension": schedule.mix_offer(case.suite, chain_key, *about, blocks).hex(),
    }


OFFER = Kind(_offer_outputs, _offer, lambda _: None)


def _cookie(case: Case) -> Json:
    h1 = case.suite.hash(case.octets("first"))
    cookie = schedule.cookie(case.suite, case.octets("bootKey"), case.number("path"), case.number("slot"), h1)
    return {"h1": h1.hex(), "cookie": cookie.hex()}


COOKIE = Kind(always("h1", "cookie"), _cookie, lambda _: None)


# ---- unmediated-exporter


def _chain_outputs(case: Case) -> list[str]:
    links = [f"links[{i}]" for i in range(1, len(case.test["links"]))]
    return [*links, "indices", *(f"outputs[{i}]" for i in range(len(case.test["outputs"])))]


def _chain(case: Case) -> Json:
    link, count = case.octets("links[0]"), len(case.test["outputs"])
    computed: Json = {"indices": [exporter.index_of(case.test["owner"], i) for i in range(count)]}
    for i in range(count):
        ok, link = exporter.step(case.suite.code, link, i)
        computed |= {f"outputs[{i}]": ok.hex(), f"links[{i + 1}]": link.hex()}
    return computed


CHAIN = Kind(_chain_outputs, _chain, lambda _: None)


def _key(case: Case) -> Json:
    key = exporter.output_key(
        case.suite.code, case.octets("output"), case.test["label"], case.number("index"), case.octets("context")
    )
    return {"key": key.hex()}


KEY = Kind(always("key"), _key, lambda _: None)


def _window_outputs(case: Case) -> list[str]:
    return [f"operations[{i}].output" for i in range(len(case.test["operations"]))]


def _operate(case: Case) -> list[bytes | None]:
    """What each operation gives; `None` where it is refused."""
    given: list[bytes | None] = []
    chain = exporter.Answering(case.test["owner"], case.suite.code, case.octets("link"))
    for operation in case.test["operations"]:
        before = exporter.Answering(chain.side, chain.suite, chain.chain, chain.position, dict(chain.kept))
        try:
            given.append(chain.take_output(operation["index"]))
        except exporter.Refused:
            given.append(None)
        if operation["operation"] == "peek" or given[-1] is None:
            chain = before
    return given


def _window(case: Case) -> Json:
    outputs = [None if output is None else output.hex() for output in _operate(case)]
    return {f"operations[{i}].output": output for i, output in enumerate(outputs)}


def _judge_window(case: Case) -> str | None:
    def attempt() -> None:
        outputs = _operate(case)
        if None in outputs[:-1]:
            raise ValueError("refused before the last operation")
        if outputs[-1] is None:
            raise WrongState("no such output now")

    return layer_of(attempt)


WINDOW = Kind(_window_outputs, _window, _judge_window)

FILES = {
    "unmediated-keys": {
        "Enrolment": ENROLMENT,
        "Epoch": EPOCH,
        "Handshake": HANDSHAKE,
        "Tag": TAG,
        "Nonce": NONCE,
        "Offer": OFFER,
        "Cookie": COOKIE,
    },
    "unmediated-exporter": {"Chain": CHAIN, "Key": KEY, "Window": WINDOW},
}
