"""Epochs of the computational suites (D "Epochs"): keys, and the messages sealed under them."""

from __future__ import annotations

from ..octets import DecodeError, u16, u32
from ..schedule import expand
from ..suites import SUITES, Suite
from . import wire

# The AEAD of a suite of keys, by way of an envelope suite that has the same.
AEADS = {2: SUITES[1], 3: SUITES[2]}

# A sealed message is the one-time one with another type, and the number behind the index.
ONE_TIME = {11: 4, 12: 5, 13: 6}
NUMBER = 7


def keys(
    envelope: Suite,
    direction: int,
    client_id: int,
    hub_id: bytes,
    key_suite: int,
    table: int,
    index: int,
    answer_secret: bytes,
    share_secret: bytes,
) -> tuple[bytes, bytes]:
    """The answer key and the share key."""
    context = wire.tag_input(direction, client_id, hub_id, bytes([key_suite]) + u16(table) + u32(index))
    return (
        expand(envelope, answer_secret, "skex d1 ep answer", context, 32),
        expand(envelope, share_secret, "skex d1 ep share", context, 32),
    )


def nonce(number: int) -> bytes:
    return bytes(11) + bytes([number])


def head(body: bytes, number: int) -> bytes:
    """The octets before what is sealed, of a message as its one-time counterpart would be, without share and tag."""
    sealed = {one_time: kind for kind, one_time in ONE_TIME.items()}[body[0]]
    return bytes([sealed]) + body[1:NUMBER] + bytes([number]) + body[NUMBER:]


def decode(octets: bytes) -> tuple[int, wire.Share | wire.Answer]:
    """The number, and the message as its one-time counterpart would be."""
    if not octets or octets[0] not in ONE_TIME:
        raise DecodeError("not sealed")
    if len(octets) <= NUMBER:
        raise DecodeError("too short")
    message = wire.decode_inner(bytes([ONE_TIME[octets[0]]]) + octets[1:NUMBER] + octets[NUMBER + 1 :])
    assert isinstance(message, wire.Share | wire.Answer)
    if isinstance(message, wire.Share) and not message.share:
        raise DecodeError("a sealed share travels")
    return octets[NUMBER], message


def seal(key_suite: int, key: bytes, under: bytes, aad: bytes, plaintext: bytes) -> bytes:
    return AEADS[key_suite].seal(key, under, aad, plaintext)


def open_sealed(key_suite: int, key: bytes, before: bytes, octets: bytes) -> bytes:
    """What is sealed in a message; `before` is direction, client id and hub id."""
    number, message = decode(octets)
    length = 16 + (len(message.share) if isinstance(message, wire.Share) else 0)
    head = octets[: len(octets) - length]
    return AEADS[key_suite].open(key, nonce(number), before + head, octets[len(head) :])
