"""The keys and seals of the envelope in which every inner message travels (D "Envelope")."""

from __future__ import annotations

from dataclasses import dataclass

from ..octets import u32
from ..schedule import expand, extract
from ..suites import Suite, equal
from . import wire

KEY = 32


@dataclass(frozen=True)
class LinkKeys:
    """The keys of hellos, which last as long as K0."""

    hello: bytes
    reply: bytes
    request: bytes


@dataclass(frozen=True)
class SessionKeys:
    uplink: bytes
    downlink: bytes


def prk0(suite: Suite, k0: bytes) -> bytes:
    return extract(suite, b"", k0)


def link_keys(suite: Suite, k0: bytes, hub_id: bytes) -> LinkKeys:
    prk = prk0(suite, k0)
    return LinkKeys(
        hello=expand(suite, prk, "skex d1 hi client", hub_id, KEY),
        reply=expand(suite, prk, "skex d1 hi hub", hub_id, KEY),
        request=expand(suite, prk, "skex d1 hi again", hub_id, KEY),
    )


def session_prk(suite: Suite, k0: bytes, salt_c: bytes, salt_h: bytes) -> bytes:
    return extract(suite, salt_c + salt_h, k0)


def session_keys(suite: Suite, k0: bytes, salt_c: bytes, salt_h: bytes, client_id: int, hub_id: bytes) -> SessionKeys:
    prk = session_prk(suite, k0, salt_c, salt_h)
    about = u32(client_id) + hub_id
    return SessionKeys(
        uplink=expand(suite, prk, "skex d1 env hub", about, KEY),
        downlink=expand(suite, prk, "skex d1 env cl", about, KEY),
    )


def hub_salt(suite: Suite, boot_key: bytes, client_id: int, salt_c: bytes, generation: int) -> bytes:
    """salt_h, a function of these: one that D "Sessions" proposes."""
    return expand(suite, boot_key, "skex d1 salt", u32(client_id) + salt_c + u32(generation), 16)


def hello_tag(suite: Suite, key: bytes, before: bytes, body: bytes) -> bytes:
    """The tag of a hello. What it covers `before` the message: nothing in a HELLO, salt_c in a HELLO_REPLY, and in a
    HELLO_REQUEST the AEAD tag of the message that could not be opened."""
    return suite.mac(key, before + body)


def hello_verifies(
    suite: Suite, key: bytes, before: bytes, message: wire.Hello | wire.HelloReply | wire.HelloRequest
) -> bool:
    return equal(hello_tag(suite, key, before, message.body()), message.tag)


def nonce(seq: int) -> bytes:
    """8 zero octets, then seq."""
    return bytes(8) + u32(seq)


def seal(suite: Suite, key: bytes, client_id: int, salt: bytes | None, seq: int, inner: bytes) -> bytes:
    """A SEALED, or with a salt a SEALED_FRESH."""
    aad = wire.Sealed(client_id, salt, seq, b"", b"").aad()
    return aad + suite.seal(key, nonce(seq), aad, inner)


def overhead(salt: bytes | None) -> int:
    """Octets of a SEALED, or with a salt a SEALED_FRESH, without what it carries."""
    return len(wire.Sealed(0, salt, 0, b"", bytes(wire.TAG)).encode())


def open_sealed(suite: Suite, key: bytes, message: wire.Sealed) -> bytes:
    return suite.open(key, nonce(message.seq), message.aad(), message.ciphertext + message.tag)


class ReplayWindow:
    """At least 64 numbers back (D "Sessions"). A number is marked only after its message opened."""

    SIZE = 64

    def __init__(self) -> None:
        self._next = 0
        self._seen: set[int] = set()

    def fresh(self, seq: int) -> bool:
        return seq >= self._next - self.SIZE and seq not in self._seen

    def mark(self, seq: int) -> None:
        self._next = max(self._next, seq + 1)
        self._seen = {old for old in self._seen | {seq} if old >= self._next - self.SIZE}

