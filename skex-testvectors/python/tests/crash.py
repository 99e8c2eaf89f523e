"""Runs an end of the reference that is killed again and again: `python3 crash.py ARGUMENT ...`, the arguments as for `skex_reference`.

A point is before whatever changes what is durable (a sync, a change of name, a removal, elements of a table overwritten), and before the
first datagram after that. The first process is killed (as by `kill -9`) at its first point, the next one, started from what that left
behind, at its second, and so on, until one ends by itself; its exit status is that of all.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from skex_reference import __main__ as program
from skex_reference import udp

_left = 0
_changed = False


def _point(what: str) -> None:
    global _left
    _left -= 1
    if _left == 0:
        os.write(1, f"killed before {what}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


def _changing(what: str, operation: Callable[..., Any]) -> Callable[..., Any]:
    def observed(*arguments: Any, **named: Any) -> Any:
        global _changed
        _point(what)
        _changed = True
        return operation(*arguments, **named)

    return observed


def _sending(operation: Callable[..., Any]) -> Callable[..., Any]:
    def observed(*arguments: Any) -> Any:
        global _changed
        if _changed:
            _point("a datagram")
            _changed = False
        return operation(*arguments)

    return observed


def _die_with(parent: int) -> None:
    """The parent alone has the other end of this pipe, and writes nothing."""
    os.read(parent, 1)
    os._exit(1)


def main() -> int:
    global _left
    os.fsync = _changing("a sync", os.fsync)
    os.replace = _changing("a change of name", os.replace)
    os.pwrite = _changing("a change of a table", os.pwrite)
    pathlib.Path.unlink = _changing("a removal", pathlib.Path.unlink)  # type: ignore[method-assign]
    udp.Endpoint.send = _sending(udp.Endpoint.send)  # type: ignore[method-assign]
    point = 0
    while True:
        point += 1
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(theirs)
            threading.Thread(target=_die_with, args=(ours,), daemon=True).start()
            _left = point
            sys.exit(program.main())
        os.close(ours)
        _, status = os.waitpid(child, 0)
        os.close(theirs)
        if not os.WIFSIGNALED(status):
            print(f"not killed before point {point}", flush=True)
            return os.WEXITSTATUS(status)


if __name__ == "__main__":
    sys.exit(main())
