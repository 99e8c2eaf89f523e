"""Octet strings: integers are big endian, octets join (U and D, "Conventions")."""

from __future__ import annotations


class DecodeError(ValueError):
    """The octets are no encoding of anything: the receiver drops them."""


class Argument(ValueError):
    """What is asked for lies outside what the operation allows."""


class WrongState(ValueError):
    """Well formed and authentic, and means nothing to this receiver now."""


class Policy(ValueError):
    """Well formed, authentic, and nothing that this receiver offers or allows."""


def u8(number: int) -> bytes:
    return number.to_bytes(1, "big")


def u16(number: int) -> bytes:
    return number.to_bytes(2, "big")


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def xor(left: bytes, right: bytes) -> bytes:
    """The sum of two blocks of one length, over GF(2)."""
    if len(left) != len(right):
        raise ValueError("blocks of different lengths")
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")


class Reader:
    """Takes fields from the front of a message, and refuses to read beyond its end."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._octets) - self._at

    def take(self, length: int) -> bytes:
        if length < 0 or self.left < length:
            raise DecodeError("octets are missing")
        self._at += length
        return self._octets[self._at - length : self._at]

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "big")

    def end(self) -> None:
        if self.left:
            raise DecodeError("octets are left over")
