"""What the file `dske-epochs` means."""

from __future__ import annotations

from ..dske import epochs, wire
from ..suites import NotAuthentic
from .case import Case, Json, Kind, always, flip, layer_of
from .dske_messages import OTHER_CLIENT, OTHER_HUB


def _keys(case: Case) -> Json:
    answer, share = epochs.keys(
        case.suite,
        case.number("direction"),
        case.number("clientId"),
        case.octets("hubId"),
        case.number("keySuite"),
        case.number("table"),
        case.number("index"),
        case.octets("answerSecret"),
        case.octets("shareSecret"),
    )
    return {"answerKey": answer.hex(), "shareKey": share.hex()}


KEYS = Kind(always("answerKey", "shareKey"), _keys, lambda _: None)


def _before(case: Case) -> bytes:
    return wire.tag_input(case.number("direction"), case.number("clientId"), case.octets("hubId"), b"")


def _sealed(case: Case) -> Json:
    direction, client, hub = case.number("direction"), case.number("clientId"), case.octets("hubId")
    number, head, plaintext = case.number("number"), case.octets("head"), case.octets("plaintext")
    aad = _before(case) + head
    changed, under = aad, epochs.nonce(number)
    if case.flag == "OtherDirection":
        changed = wire.tag_input(1 - direction, client, hub, head)
    if case.flag == "OtherClient":
        changed = wire.tag_input(direction, OTHER_CLIENT, hub, head)
    if case.flag == "OtherHub":
        changed = wire.tag_input(direction, client, OTHER_HUB, head)
    if case.flag == "OtherNumber":
        under = epochs.nonce(number + 1)
    octets = head + epochs.seal(case.group["keySuite"], case.octets("key"), under, changed, plaintext)
    if case.flag == "ModifiedTag":
        octets = flip(octets, -1)
    if case.flag == "ModifiedCiphertext":
        octets = flip(octets, 8 * len(head) + 7)
    if case.flag == "ModifiedHeader":
        octets = flip(octets, 8 * len(head) - 1)
    if case.flag == "Truncated":
        octets = octets[:-1]
    if case.flag == "TrailingBytes":
        octets += bytes(1)
    return {"nonce": epochs.nonce(number).hex(), "aad": aad.hex(), "octets": octets.hex()}


def _judge(case: Case) -> str | None:
    def attempt() -> None:
        octets = case.octets("octets")
        opened = epochs.open_sealed(case.group["keySuite"], case.octets("key"), _before(case), octets)
        if opened != case.octets("plaintext") or epochs.decode(octets)[0] != case.number("number"):
            raise NotAuthentic("another message")

    return layer_of(attempt)


SEALED = Kind(always("nonce", "aad", "octets"), _sealed, _judge)

FILES = {"dske-epochs": {"Keys": KEYS, "Sealed": SEALED}}
