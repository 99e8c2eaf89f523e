"""Finding the secret block among shares of which some are lies, and naming the liars (D "Decoding")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

from . import sharing
from .tags import SECRET_KEY, secret_tag_verifies

WORK_LIMIT = 200_000
# An implementation may bound the octets that it interpolates for one key (D: "SKEX: 2^28 octets a key").
WORK_OCTETS = 1 << 28


@dataclass(frozen=True)
class Decoded:
    secret: bytes
    culprits: list[int]
    blame_is_certain: bool


def decode(
    threshold: int,
    shares: Sequence[tuple[int, bytes]],
    context: bytes,
    tag: bytes,
    work_limit: int = WORK_LIMIT,
) -> Decoded | None:
    """Steps 1 to 3 of D "Decoding"; `None` where only further shares could help."""
    if len(shares) < threshold:
        return None
    points = dict(shares)
    for secret in _candidates(threshold, points, work_limit):
        if secret_tag_verifies(secret[:SECRET_KEY], secret[SECRET_KEY:], context, tag):
            return blame(threshold, points, secret)
    return None


def _candidates(threshold: int, points: Mapping[int, bytes], work_limit: int) -> Iterator[bytes]:
    first = dict(islice(points.items(), threshold))
    yield sharing.interpolate(first, 0)
    wrong = locate(threshold, points)
    if wrong is not None:
        right = [x for x in points if x not in wrong][:threshold]
        yield sharing.interpolate({x: points[x] for x in right}, 0)
    limit = min(work_limit, WORK_OCTETS // max(1, len(next(iter(points.values())))))
    for subset in islice(combinations(points, threshold), limit):
        yield sharing.interpolate({x: points[x] for x in subset}, 0)


def blame(threshold: int, points: Mapping[int, bytes], secret: bytes) -> Decoded:
    """Who is not on the polynomial of the secret, which is itself one more right point."""
    known = {0: secret, **points}
    wrong = locate(threshold, known)
    if wrong is None or 0 in wrong:
        # Too many lie to be located: the first honest subset is taken for the polynomial.
        wrong = _off_the_polynomial(threshold, points, secret)
    culprits = sorted(wrong)
    return Decoded(secret, culprits, blame_is_proven(threshold, len(points), len(culprits)))


def _off_the_polynomial(threshold: int, points: Mapping[int, bytes], secret: bytes) -> set[int]:
    """The first k - 1 shares and the secret whose polynomials agree with the most shares."""
    best = set(points)
    for subset in islice(combinations(points, threshold - 1), WORK_LIMIT):
        chosen = {0: secret, **{x: points[x] for x in subset}}
        wrong = {x for x in points if sharing.interpolate(chosen, x) != points[x]}
        if len(wrong) < len(best):
            best = wrong
    return best


def blame_is_proven(threshold: int, came: int, accused: int) -> bool:
    """If fewer than k hubs lie: a + 2k <= n' + 2 (D "Decoding"). Nobody accused is no blame that could be wrong."""
    return accused == 0 or accused + 2 * threshold <= came + 2


def locate(threshold: int, points: Mapping[int, bytes]) -> set[int] | None:
    """The coordinates of at most (n' - k) / 2 wrong blocks, or `None` if there are more.

    A position at which the blocks do not agree names some of them; without these, the next one names more.
    """
    limit = (len(points) - threshold) // 2
    wrong: set[int] = set()
    while True:
        trusted = {x: block for x, block in points.items() if x not in wrong}
        position = _disagreement(threshold, trusted)
        if position is None:
            return wrong
        found = _locate_in_word(threshold, {x: block[position] for x, block in trusted.items()})
        if found is None or not found or len(wrong | found) > limit:
            return None
        wrong |= found


def _disagreement(threshold: int, points: Mapping[int, bytes]) -> int | None:
    """The first position at which the blocks are not on one polynomial."""
    first = dict(islice(points.items(), threshold))
    positions = []
    for x, block in points.items():
        expected = sharing.interpolate(first, x)
        if expected != block:
            positions.append(next(i for i in range(len(block)) if expected[i] != block[i]))
    return min(positions, default=None)


def _locate_in_word(threshold: int, word: Mapping[int, int]) -> set[int] | None:
    """Berlekamp and Welch: E(x) y = Q(x) at every point, E monic of degree b, Q of degree below b + k; E is zero at
    the wrong points."""
    for errors in range((len(word) - threshold) // 2, 0, -1):
        rows = []
        for x, y in word.items():
            powers = [1]
            for _ in range(errors + threshold):
                powers.append(sharing.multiply(powers[-1], x))
            row = [sharing.multiply(y, powers[i]) for i in range(errors)]
            row += powers[: errors + threshold]
            row.append(sharing.multiply(y, powers[errors]))
            rows.append(row)
        solution = _solve(rows)
        if solution is None:
            continue
        locator = [*solution[:errors], 1]
        quotient = _divide(solution[errors:], locator)
        if quotient is not None:
            return {x for x, y in word.items() if _evaluate(quotient, x) != y}
    return None


def _solve(rows: list[list[int]]) -> list[int] | None:
    """A solution of the linear equations, with zero for what is free."""
    unknowns = len(rows[0]) - 1
    pivots: list[int] = []
    for column in range(unknowns):
        at = len(pivots)
        pivot = next((i for i in range(at, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[at], rows[pivot] = rows[pivot], rows[at]
        factor = sharing.inverse(rows[at][column])
        rows[at] = [sharing.multiply(factor, value) for value in rows[at]]
        for i, row in enumerate(rows):
            if i != at and row[column]:
                factor = row[column]
                rows[i] = [value ^ sharing.multiply(factor, own) for value, own in zip(row, rows[at])]
        pivots.append(column)
    if any(row[-1] for row in rows[len(pivots) :]):
        return None
    solution = [0] * unknowns
    for row, column in zip(rows, pivots):
        solution[column] = row[-1]
    return solution


def _divide(dividend: Sequence[int], divisor: Sequence[int]) -> list[int] | None:
    """The quotient, lowest power first, if nothing is left; the divisor is monic."""
    rest = list(dividend)
    quotient = [0] * max(1, len(rest) - len(divisor) + 1)
    for i in range(len(rest) - len(divisor), -1, -1):
        factor = rest[i + len(divisor) - 1]
        quotient[i] = factor
        for j, value in enumerate(divisor):
            rest[i + j] ^= sharing.multiply(factor, value)
    return None if any(rest) else quotient


def _evaluate(polynomial: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = sharing.multiply(value, x) ^ coefficient
    return value
