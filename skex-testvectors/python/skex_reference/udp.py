"""Datagrams, and small numbers for where they come from (U: "path")."""

from __future__ import annotations

import select
import socket
import time

Address = tuple[str, int]

LONGEST = 65_535


def parse(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return socket.gethostbyname(host or "127.0.0.1"), int(port)


class Paths:
    """Numbers for addresses. The number tells nothing, and stays the same while the process runs."""

    def __init__(self) -> None:
        self._addresses: list[Address] = []

    def number(self, address: Address) -> int:
        if address not in self._addresses:
            self._addresses.append(address)
        return self._addresses.index(address)

    def address(self, path: int) -> Address:
        return self._addresses[path]


class Endpoint:
    def __init__(self, bind: Address) -> None:
        self.paths = Paths()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(bind)

    @property
    def bound(self) -> Address:
        host, port = self._socket.getsockname()
        return str(host), int(port)

    def send(self, octets: bytes, to: Address) -> None:
        try:
            self._socket.sendto(octets, to)
        except OSError:
            # As if lost on the way: who needs it repeats it.
            pass

    def receive(self, until: float) -> tuple[int, bytes] | None:
        """The next datagram and its path, or `None` when the time (of `time.monotonic`) has come."""
        wait = max(0.0, until - time.monotonic())
        readable, _, _ = select.select([self._socket], [], [], wait)
        if not readable:
            return None
        try:
            octets, address = self._socket.recvfrom(LONGEST)
        except OSError:
            return None
        return self.paths.number((str(address[0]), int(address[1]))), octets

    def close(self) -> None:
        self._socket.close()
