"""What goes over one link, for who has its initial key: which elements of its tables messages are made of."""

from __future__ import annotations

import threading
from pathlib import Path

from skex_reference.dske import envelope, epochs, provision, wire
from skex_reference.suites import SUITES, NotAuthentic

# An element: the direction and number of its table, and its place there.
Element = tuple[int, int, int]


class Tap:
    """No element may be in two messages. (What is sent again is the same message.)"""

    def __init__(self, link: Path) -> None:
        file = provision.decode(link.read_bytes())
        assert file.k0 is not None
        self._k0, self._link, self._suite = file.k0, file.link, SUITES[file.link.suite]
        self._reply_key = envelope.link_keys(self._suite, file.k0, file.link.hub_id).reply
        self._hellos: list[bytes] = []
        # The newest first.
        self._sessions: list[envelope.SessionKeys] = []
        self._used: dict[Element, bytes] = {}
        self._lock = threading.Lock()
        # The elements of blocks of shares, which are erased at both ends when they were used.
        self.shares: set[Element] = set()
        self.faults: list[str] = []
        # How many messages were in each envelope with several, by direction.
        self.several: dict[bool, list[int]] = {True: [], False: []}

    def lose(self, there: bool, octets: bytes) -> bool:
        """For a relay: nothing is lost."""
        with self._lock:
            try:
                self._see(there, wire.decode_outer(octets))
            except Exception as error:
                self.faults.append(repr(error))
        return False

    def _see(self, there: bool, message: wire.Outer) -> None:
        match message:
            case wire.HelloReply():
                link = self._link
                for salt in self._hellos:
                    if envelope.hello_verifies(self._suite, self._reply_key, salt, message):
                        keys = envelope.session_keys(self._suite, self._k0, salt, message.salt, link.client_id, link.hub_id)
                        self._sessions.insert(0, keys)
            case wire.Hello():
                self._hellos.insert(0, message.salt)
            case wire.Sealed():
                messages = wire.each(self._open(there, message))
                if len(messages) > 1:
                    self.several[there].append(len(messages))
                for inner in messages:
                    self._look_inside(there, inner)

    def _open(self, there: bool, message: wire.Sealed) -> bytes:
        for keys in self._sessions:
            try:
                return envelope.open_sealed(self._suite, keys.uplink if there else keys.downlink, message)
            except NotAuthentic:
                continue
        raise NotAuthentic("a message of no session")

    def _look_inside(self, there: bool, inner: bytes) -> None:
        if inner[0] in epochs.ONE_TIME:
            # The elements of an epoch give keys, and are in no message.
            return
        message = wire.decode_inner(inner)
        own = wire.UPLINK if there else wire.DOWNLINK
        match message:
            case wire.LeaseGrant():
                self._use(1 - own, message.table, range(message.start, message.start + 2), inner)
            case wire.Share():
                # Behind the answer key: message key and pad.
                end = message.index + 4 + wire.secret_block_elements(message.terms.key_length)
                self._use(own, message.table, range(message.index + 2, end), inner)
                self.shares |= {(own, message.table, place) for place in range(message.index, end)}
            case wire.Answer():
                self._use(1 - own, message.table, range(message.index, message.index + 2), inner)

    def _use(self, direction: int, table: int, places: range, inner: bytes) -> None:
        for place in places:
            if self._used.setdefault((direction, table, place), inner) != inner:
                self.faults.append(f"element {place} of table {table}, direction {direction}, is in two messages")
