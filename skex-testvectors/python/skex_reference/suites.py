"""Suites: a hash and an AEAD (U "Suites", D "Envelope suites": the codes 1 to 5 mean the same in both)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

TAG_LENGTH = 16


class NotAuthentic(ValueError):
    """A tag is wrong."""


@dataclass(frozen=True)
class Suite:
    code: int
    hash_name: str
    aead: type[AESGCM] | type[ChaCha20Poly1305]

    @property
    def hash_length(self) -> int:
        """H of the specifications."""
        return hashlib.new(self.hash_name).digest_size

    def hash(self, message: bytes) -> bytes:
        return hashlib.new(self.hash_name, message).digest()

    def hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, self.hash_name)

    def mac(self, key: bytes, message: bytes) -> bytes:
        """MAC(K, M): the first 16 octets of the HMAC."""
        return self.hmac(key, message)[:TAG_LENGTH]

    def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """The ciphertext, and behind it the tag."""
        return self.aead(key).encrypt(nonce, plaintext, aad)

    def open(self, key: bytes, nonce: bytes, aad: bytes, sealed: bytes) -> bytes:
        try:
            return self.aead(key).decrypt(nonce, sealed, aad)
        except InvalidTag:
            raise NotAuthentic("the tag of the AEAD is wrong") from None


SUITES = {
    suite.code: suite
    for suite in (
        Suite(1, "sha256", AESGCM),
        Suite(2, "sha256", ChaCha20Poly1305),
        Suite(3, "sha3_256", AESGCM),
        Suite(4, "sha3_256", ChaCha20Poly1305),
        Suite(5, "sha512", AESGCM),
    )
}


def equal(left: bytes, right: bytes) -> bool:
    """Compares what is secret, or a tag."""
    return hmac.compare_digest(left, right)
