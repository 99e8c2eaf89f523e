"""One-time tags over GF(2^128) (D "GF(2^128)", "Message tag", "Secret tag")."""

from __future__ import annotations

from collections.abc import Iterable

from ..octets import u64
from ..suites import equal

ELEMENT = 16
MESSAGE_KEY = 32
SECRET_KEY = 48

# x^128 = 1 + x + x^2 + x^7. As in GCM the most significant bit of the first octet belongs to x^0, so that an element
# read as a big-endian integer has x^i at bit 127 - i, and multiplying by x shifts to the right.
_REDUCTION = 0xE1 << 120


class ErasedKey(ValueError):
    """A key of zero octets: a range of a table that was erased. It must not be used."""


class _Multiplier:
    """Multiplies by one element, quickly: its products with every octet in every place."""

    def __init__(self, element: int) -> None:
        self._tables: list[list[int]] = []
        power = element
        for _ in range(ELEMENT):
            table = [0] * 256
            for bit in range(7, -1, -1):
                table[1 << bit] = power
                power = power >> 1 ^ (_REDUCTION if power & 1 else 0)
            for octet in range(256):
                low = octet & -octet
                table[octet] = table[low] ^ table[octet ^ low] if octet != low else table[octet]
            self._tables.append(table)

    def times(self, element: int) -> int:
        product = 0
        for table, octet in zip(self._tables, element.to_bytes(ELEMENT, "big")):
            product ^= table[octet]
        return product


def _elements(octets: bytes) -> Iterable[int]:
    """The octets filled with zero octets to a multiple of 16, as elements."""
    for at in range(0, len(octets), ELEMENT):
        yield int.from_bytes(octets[at : at + ELEMENT].ljust(ELEMENT, b"\0"), "big")


def _polynomial(c: int, terms: list[int]) -> int:
    """terms[0] + c terms[1] + c^2 terms[2] + ..., after Horner."""
    multiplier = _Multiplier(c)
    total = 0
    for term in reversed(terms):
        total = multiplier.times(total) ^ term
    return total


def message_tag(key: bytes, message: bytes) -> bytes:
    """MessageTag(c | d, m) = d + c y_1 + c^2 y_2 + ..., y_1 the length of m in octets."""
    if len(key) != MESSAGE_KEY:
        raise ValueError("a message key has 32 octets")
    if not any(key):
        raise ErasedKey("the key is a range that was erased")
    c, d = _elements(key)
    return _polynomial(c, [d, len(message), *_elements(message)]).to_bytes(ELEMENT, "big")


def secret_tag(key: bytes, payload: bytes, context: bytes) -> bytes:
    """SecretTag(c | d | e, p, t) = d + c e + c^2 S_1 + c^3 S_2 + ..., S_1 the two lengths."""
    if len(key) != SECRET_KEY:
        raise ValueError("a secret tag's key has 48 octets")
    c, d, e = _elements(key)
    lengths = int.from_bytes(u64(len(payload)) + u64(len(context)), "big")
    terms = [d, e, lengths, *_elements(payload), *_elements(context)]
    return _polynomial(c, terms).to_bytes(ELEMENT, "big")


def message_tag_verifies(key: bytes, message: bytes, tag: bytes) -> bool:
    return equal(message_tag(key, message), tag)


def secret_tag_verifies(key: bytes, payload: bytes, context: bytes, tag: bytes) -> bool:
    return equal(secret_tag(key, payload, context), tag)
