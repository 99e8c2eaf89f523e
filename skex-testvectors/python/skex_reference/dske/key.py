"""The context of a key, its secret block and its confirmation (D "Terms and context of a key", "The secret block")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..octets import u8, u16, u32
from .tags import SECRET_KEY, message_tag, secret_tag

VERSION = 1
ITS = 1
CONFIRM_KEY = 32


@dataclass(frozen=True)
class HubOfKey:
    hub_id: bytes
    coordinate: int
    # Of the initiator's uplink table there: 0 out of band, 1 refill.
    origin: int


def context(
    suite: int,
    key_id: bytes,
    initiator: bytes,
    responder: bytes,
    threshold: int,
    key_length: int,
    lifetime: int,
    hubs: Sequence[HubOfKey],
) -> bytes:
    """58 + 18 n octets, built by each end from its own knowledge and never sent."""
    head = u8(VERSION) + u8(suite) + key_id + initiator + responder
    head += u8(threshold) + u8(len(hubs)) + u32(key_length) + u16(lifetime)
    ascending = sorted(hubs, key=lambda hub: hub.coordinate)
    return head + b"".join(hub.hub_id + u8(hub.coordinate) + u8(hub.origin) for hub in ascending)


def secret_block(u: bytes, key: bytes, confirm_key: bytes) -> bytes:
    """u (48) | key | zeros to a multiple of 16 | confirm key (32)"""
    return u + key + bytes(-len(key) % 16) + confirm_key


def tag_of_block(block: bytes, about: bytes) -> bytes:
    """o = SecretTag(u, p, context)"""
    return secret_tag(block[:SECRET_KEY], block[SECRET_KEY:], about)


def key_of_block(block: bytes, key_length: int) -> bytes:
    return block[SECRET_KEY : SECRET_KEY + key_length]


def confirm_key_of_block(block: bytes) -> bytes:
    return block[-CONFIRM_KEY:]


def confirmation_tag(confirm_key: bytes, about: bytes, origins: bytes, lying: bytes) -> bytes:
    """MessageTag(confirm key, context | origins | lying)"""
    return message_tag(confirm_key, about + origins + lying)
