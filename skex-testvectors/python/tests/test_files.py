"""Files that are taken in, or cut into portions, by a process that dies at every point, and is started again."""

from __future__ import annotations

import argparse
import os
import pathlib
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from skex_reference import disk
from skex_reference.dske import distributor, provision
from skex_reference.dske import run as dske

LINK = provision.Link(b"\xa1" * 16, 5, b"\xb0" * 16, 7, 1)
K0 = os.urandom(32)
CHUNK = 16 * provision.CHUNK
PADS = os.urandom(2 * CHUNK)


class Dies(BaseException):
    pass


class Points:
    """Before what changes files a process may die."""

    def __init__(self, dies_at: int) -> None:
        self._left = dies_at

    def _dying(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def observed(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise Dies
            return operation(*arguments, **named)

        return observed

    def dies(self, run: Callable[[], object]) -> bool:
        """Whether it died; else it came to its end."""
        with (
            mock.patch("os.fsync", self._dying(os.fsync)),
            mock.patch("os.replace", self._dying(os.replace)),
            mock.patch("os.link", self._dying(os.link)),
            mock.patch("os.pwrite", self._dying(os.pwrite)),
            mock.patch.object(pathlib.Path, "unlink", self._dying(pathlib.Path.unlink)),
        ):
            try:
                run()
            except Dies:
                return True
        return False


def file(first: int, end: int, pads: bytes, k0: bytes | None) -> bytes:
    """Of the two tables of a link, which have the same octets, this range."""
    parts = tuple((provision.Part(way, 0, 0, 2 * provision.CHUNK, first, end), pads) for way in (0, 1))
    return provision.File(LINK, k0, parts).encode(K0)


class Crashes(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def at_every_point(self, run: Callable[[Points], bool]) -> None:
        """`run` says whether it died."""
        point = 1
        while run(Points(point)):
            point += 1
        self.assertGreater(point, 10)

    def clear(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()

    def test_a_client_takes_in_the_portions_of_a_new_enrolment(self) -> None:
        def run(points: Points) -> bool:
            self.clear()
            (self.folder / "b.provision").write_bytes(file(0, provision.CHUNK, PADS[:CHUNK], K0))
            (self.folder / "c.provision").write_bytes(file(provision.CHUNK, 2 * provision.CHUNK, PADS[CHUNK:], None))

            def start() -> None:
                disk.finish(self.folder)
                dske._take_in(self.folder, {(LINK.hub_id, LINK.client_tag): "hub"})

            died = points.dies(start)
            start()
            ends = dske._link(self.folder, "hub")
            for table in (*ends.uplinks, *ends.downlinks):
                assert isinstance(table, dske.TableFile)
                self.assertEqual((table.held, table.read(0, table.held)), (2 * provision.CHUNK, PADS))
                table.close()
            names = sorted(path.name for path in self.folder.iterdir())
            self.assertEqual(names, ["hub.downlink.0.table", "hub.link", "hub.uplink.0.table"])
            return died

        self.at_every_point(run)

    def test_a_distributor_hands_out_nothing_twice(self) -> None:
        """Also where the portion that it died over can be taken, and where not."""

        def run(points: Points) -> bool:
            self.clear()
            held = self.folder / "held"
            held.write_bytes(file(0, 2 * provision.CHUNK, PADS, K0))
            taken: list[int] = []

            def cut(number: int) -> None:
                distributor.run(argparse.Namespace(file=held, out=self.folder / f"{number}.portion", chunks=1))

            with mock.patch("builtins.print"):
                died = points.dies(lambda: cut(1))
                for number in (2, 3):
                    try:
                        cut(number)
                    except ValueError:
                        self.assertGreater(number, 2)
            for path in sorted(self.folder.glob("*.portion")):
                parts = provision.decode(path.read_bytes(), K0).parts
                taken += {part.first for part, _ in parts}
                for part, octets in parts:
                    self.assertEqual(octets, PADS[16 * part.first : 16 * part.end])
            self.assertEqual(sorted(set(taken)), sorted(taken), "handed out twice")
            # What was handed out is overwritten, what was lost as well.
            self.assertFalse(any(held.read_bytes()[47 + 32 + 2 + 2 * 16 + 16 :]))
            return died

        self.at_every_point(run)


if __name__ == "__main__":
    unittest.main()
