"""HKDF with labels (U "Functions", D "Envelope suites")."""

from __future__ import annotations

from .octets import Argument, u8, u16
from .suites import Suite


class TooLong(Argument):
    """HKDF gives at most 255 times the hash."""


def info(label: str, context: bytes, length: int) -> bytes:
    """length (2) | length of label (1) | label | length of context (2) | context"""
    name = label.encode("ascii")
    return u16(length) + u8(len(name)) + name + u16(len(context)) + context


def extract(suite: Suite, salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract (RFC 5869, 2.2). An empty salt is a hash's length of zeros; HMAC pads a key with zeros anyhow."""
    return suite.hmac(salt or bytes(suite.hash_length), ikm)


def expand(suite: Suite, key: bytes, label: str, context: bytes, length: int) -> bytes:
    """HKDF-Expand (RFC 5869, 2.3) with the info above."""
    if length > 255 * suite.hash_length:
        raise TooLong("more than 255 hashes")
    about = info(label, context, length)
    output, block, number = b"", b"", 1
    while len(output) < length:
        block = suite.hmac(key, block + about + u8(number))
        output += block
        number += 1
    return output[:length]


def labelled_hash(suite: Suite, label: str, message: bytes) -> bytes:
    """LHash(label, M) (U "Functions")."""
    name = label.encode("ascii")
    return suite.hash(u8(len(name)) + name + message)


# Every label there is, by the prefix of its protocol.
SHARED = ("skex c1 fingerprint",)
UNMEDIATED = (
    "skex u1 enrol",
    "skex u1 kid a",
    "skex u1 kid b",
    "skex u1 m1 mac a",
    "skex u1 m1 mac b",
    "skex u1 th",
    "skex u1 hs",
    "skex u1 m2 mac",
    "skex u1 m3 mac",
    "skex u1 m4 mac",
    "skex u1 sid",
    "skex u1 export a",
    "skex u1 export b",
    "skex u1 chain",
    "skex u1 nonce",
    "skex u1 cookie",
    "skex u1 output",
    "skex u1 next",
    "skex u1 mix none",
    "skex u1 mix ref",
    "skex u1 mix key",
)
DSKE = (
    "skex d1 hi client",
    "skex d1 hi hub",
    "skex d1 hi again",
    "skex d1 env hub",
    "skex d1 env cl",
    "skex d1 salt",
    "skex d1 ep share",
    "skex d1 ep answer",
    "skex d1 provision",
)
EXPORT = (
    "skex x1 raw",
    "skex x1 ike ppk",
    "skex x1 tls epsk",
    "skex x1 mac cak",
    "skex x1 tcp ao",
    "skex x1 wg psk",
    "skex x1 lane",
    "skex x1 root",
    "skex x1 salt",
    "skex x1 name",
    "skex x1 tls psk",
    "skex x1 mac sak",
    "skex x1 edhoc",
)
