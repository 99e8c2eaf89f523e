"""The key schedule (U "Enrolment", "Key Schedule")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..octets import Argument, u8, u64
from ..schedule import expand, extract, labelled_hash
from ..suites import SUITES, Suite
from . import wire

SIDES = ("a", "b")


def other(side: str) -> str:
    return "b" if side == "a" else "a"


@dataclass(frozen=True)
class Enrolment:
    """What both ends got out of band, beside the secret."""

    name_a: bytes
    name_b: bytes
    lane: int = 0
    suite: int = 1
    context: bytes = b""

    @cached_property
    def binding(self) -> bytes:
        """EB, which stays the same whatever suites come later."""
        if self.name_a == self.name_b:
            raise Argument("the two names must differ")
        if not all(1 <= len(name) <= 255 for name in (self.name_a, self.name_b)) or len(self.context) > 255:
            raise Argument("a name has 1 to 255 octets, a context at most 255")
        message = (
            u8(len(self.name_a))
            + self.name_a
            + u8(len(self.name_b))
            + self.name_b
            + u8(1)
            + u8(self.lane)
            + u8(1)
            + u8(self.suite)
            + u8(len(self.context))
            + self.context
        )
        return labelled_hash(SUITES[self.suite], "skex u1 enrol", message)[:32]

    def first_chain_key(self, secret: bytes) -> bytes:
        """CK_0"""
        if len(secret) < 32:
            raise Argument("an enrolment secret has at least 32 octets")
        return extract(SUITES[self.suite], self.binding, secret)


@dataclass(frozen=True)
class EpochKeys:
    """What each side is called and signs with in one epoch, with the functions of its suite."""

    suite: Suite
    pseudonyms: dict[str, bytes]
    k1: dict[str, bytes]


def epoch_keys(suite: Suite, chain_key: bytes, epoch: int) -> EpochKeys:
    return EpochKeys(
        suite,
        {x: expand(suite, chain_key, f"skex u1 kid {x}", u64(epoch), 8) for x in SIDES},
        {x: expand(suite, chain_key, f"skex u1 m1 mac {x}", u64(epoch), 32) for x in SIDES},
    )


def mac1(suite: Suite, k1: bytes, first: wire.First) -> bytes:
    return suite.mac(k1, first.body())


def hash1(suite: Suite, first: wire.First) -> bytes:
    """H1. It covers MAC1, and no cookie."""
    return suite.hash(first.body() + first.mac)


def guard(suite: Suite, k1: bytes, message: wire.LongThird) -> bytes:
    return suite.mac(k1, message.body())[: wire.GUARD]


def stale(suite: Suite, k1: bytes, notice: wire.Stale, h1: bytes) -> bytes:
    return suite.mac(k1, notice.body() + h1)


@dataclass(frozen=True)
class Handshake:
    """MS, and what follows from it."""

    suite: Suite
    # s', the suite of the next epoch.
    next_suite: int
    ms: bytes
    # What was mixed in, if a block was.
    mix_key: bytes | None = None

    def mac2(self) -> bytes:
        return expand(self.suite, self.ms, "skex u1 m2 mac", b"", 16)

    def mac3(self, third: wire.Third) -> bytes:
        return expand(self.suite, self.ms, "skex u1 m3 mac", third.body(), 16)

    def mac4(self, fourth: wire.Fourth) -> bytes:
        return expand(self.suite, self.ms, "skex u1 m4 mac", fourth.body(), 16)

    def session_id(self) -> bytes:
        return expand(self.suite, self.ms, "skex u1 sid", b"", 16)

    def export_chain(self, side: str) -> bytes:
        """XC_x,0"""
        return self._next(f"skex u1 export {side}")

    def chain_key(self) -> bytes:
        """CK_(e+1)"""
        return self._next("skex u1 chain")

    def _next(self, label: str) -> bytes:
        return expand(self.suite, self.ms, label, u8(self.next_suite), SUITES[self.next_suite].hash_length)


def transcript_hash(
    suite: Suite, binding: bytes, epoch: int, initiator: str, h1: bytes, second: wire.Second
) -> bytes:
    """TH"""
    h2 = suite.hash(second.body())
    return labelled_hash(suite, "skex u1 th", binding + u64(epoch) + initiator.encode("ascii") + h1 + h2)


def handshake(
    suite: Suite,
    chain_key: bytes,
    binding: bytes,
    epoch: int,
    initiator: str,
    h1: bytes,
    second: wire.Second,
    block: bytes | None = None,
) -> Handshake:
    th = transcript_hash(suite, binding, epoch, initiator, h1, second)
    ms = expand(suite, chain_key, "skex u1 hs", th, suite.hash_length)
    if block is None:
        return Handshake(suite, second.suite, ms)
    mix_key = expand(suite, block, "skex u1 mix key", th, suite.hash_length)
    return Handshake(suite, second.suite, extract(suite, ms, mix_key), mix_key)


# ---- fresh secret material (U "Fresh Secret Material")


def mix_reference(suite: Suite, block: bytes, epoch: int, initiator: str, nonce: bytes) -> bytes:
    return expand(suite, block, "skex u1 mix ref", u64(epoch) + initiator.encode("ascii") + nonce, 8)


def mix_filling(suite: Suite, chain_key: bytes, epoch: int, initiator: str, nonce: bytes) -> bytes:
    return expand(suite, chain_key, "skex u1 mix none", u64(epoch) + initiator.encode("ascii") + nonce, 16)


def mix_offer(
    suite: Suite, chain_key: bytes, epoch: int, initiator: str, nonce: bytes, blocks: Sequence[bytes]
) -> bytes:
    """The extension block of a first message: references, and what fills the rest."""
    front = b"".join(mix_reference(suite, block, epoch, initiator, nonce) for block in blocks)
    return front + mix_filling(suite, chain_key, epoch, initiator, nonce)[len(front) :]


def responder_nonce(
    suite: Suite, boot_key: bytes, epoch: int, slot: int, h1: bytes, second: wire.Second
) -> bytes:
    """Nr (U "The Responder's Nonce"), of a second message with these flags, suite and extension block."""
    about = u64(epoch) + u64(slot) + u8(second.flags) + u8(second.suite) + h1 + second.extension
    return expand(suite, boot_key, "skex u1 nonce", about, 16)


def cookie(suite: Suite, boot_key: bytes, path: int, slot: int, h1: bytes) -> bytes:
    return expand(suite, boot_key, "skex u1 cookie", u64(path) + u64(slot) + h1, 16)
