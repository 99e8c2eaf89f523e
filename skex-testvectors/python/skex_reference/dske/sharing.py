"""Threshold sharing, octet by octet, over GF(2^8) (D "GF(2^8)", "Sharing")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..octets import Argument, xor


_OCTETS = bytes(range(256))
_DOUBLED = bytes(b << 1 ^ (0x11B if b & 0x80 else 0) for b in _OCTETS)
# _TIMES[a] maps every octet b to a b: twice (a // 2) b, and once more b where a is odd.
_TIMES = [bytes(256)]
for _a in range(1, 256):
    _even = _TIMES[_a // 2].translate(_DOUBLED)
    _TIMES.append(xor(_even, _OCTETS) if _a % 2 else _even)
_INVERSE = [0] + [_TIMES[a].index(1) for a in range(1, 256)]


def multiply(left: int, right: int) -> int:
    return _TIMES[left][right]


def inverse(octet: int) -> int:
    if not octet:
        raise ZeroDivisionError("zero has no inverse")
    return _INVERSE[octet]


def scale(block: bytes, factor: int) -> bytes:
    """Every octet of a block times one octet."""
    return block.translate(_TIMES[factor])


def interpolate(points: Mapping[int, bytes], at: int) -> bytes:
    """The polynomials through the points, at another place. Through k points go polynomials of degree below k."""
    if at in points:
        return points[at]
    total = bytes(len(next(iter(points.values()))))
    for own, block in points.items():
        weight = 1
        for other in points:
            if other != own:
                weight = multiply(weight, multiply(at ^ other, inverse(own ^ other)))
        total = xor(total, scale(block, weight))
    return total


def _check(threshold: int, coordinates: Sequence[int], blocks: Sequence[bytes]) -> None:
    if threshold < 2:
        raise Argument("a threshold is at least 2")
    if len(coordinates) < threshold:
        raise Argument("fewer shares than the threshold")
    if 0 in coordinates:
        raise Argument("zero is the place of the secret")
    if len(set(coordinates)) != len(coordinates):
        raise Argument("two shares at one coordinate")
    if len({len(block) for block in blocks}) > 1:
        raise Argument("blocks of different lengths")
    if blocks and not blocks[0]:
        raise Argument("blocks of no octets")


def split(threshold: int, coordinates: Sequence[int], secret: bytes, direct: Sequence[bytes]) -> list[bytes]:
    """The shares of all coordinates behind the first k - 1, whose shares are given (D "The secret block")."""
    _check(threshold, coordinates, [secret, *direct])
    if len(direct) != threshold - 1:
        raise Argument("another number of direct shares than one less than the threshold")
    points = {0: secret, **dict(zip(coordinates, direct))}
    return [interpolate(points, x) for x in coordinates[len(direct) :]]


def combine(threshold: int, shares: Sequence[tuple[int, bytes]]) -> bytes:
    """The secret behind the first k shares; those behind are not looked at."""
    _check(threshold, [x for x, _ in shares], [block for _, block in shares])
    return interpolate(dict(shares[:threshold]), 0)
