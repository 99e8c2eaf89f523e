"""Runs an end of the reference that is killed again and again: `python3 crash.py ARGUMENT ...`, the arguments as for `skex_reference`, or
`python3 crash.py --orders DIR ARGUMENT ...`, of a hub or client.

A point is before whatever changes what is durable (a sync, a change of name, a removal, elements of a table overwritten), and before the
first datagram after that. The first process is killed (as by `kill -9`) at its first point, the next one, started from what that left
behind, at its second, and so on, until one ends by itself; its exit status is that of all.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skex_reference import __main__ as program
from skex_reference import udp
from skex_reference.dske import provision

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


def _start(point: int) -> tuple[int, int]:
    """A process that is killed at this point, if it comes there, or when the other value is closed."""
    global _left
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        threading.Thread(target=_die_with, args=(ours,), daemon=True).start()
        _left = point
        sys.exit(program.main())
    os.close(ours)
    return child, theirs


def one_after_the_other() -> int:
    point = 0
    while True:
        point += 1
        child, alive = _start(point)
        _, status = os.waitpid(child, 0)
        os.close(alive)
        if not os.WIFSIGNALED(status):
            print(f"not killed before point {point}", flush=True)
            return os.WEXITSTATUS(status)


def orders(folder: Path) -> int:
    """A hub or client with orders that wait. For each point anew: killed there, and started again, to the end. Prints what is there then, of which
    every line should be the same; the last one is of a start that was not killed."""
    saved = folder.with_name(folder.name + "-saved")
    shutil.rmtree(saved, ignore_errors=True)
    shutil.copytree(folder, saved)
    point, was_killed = 0, True
    while was_killed:
        point += 1
        shutil.rmtree(folder)
        shutil.copytree(saved, folder)
        was_killed = _carried_out(folder, point)
        if was_killed:
            assert not _carried_out(folder, 0)
        print(f"point {point} leaves {json.dumps(_state(folder), sort_keys=True)}", flush=True)
    return 0


def _carried_out(folder: Path, point: int) -> bool:
    """Runs until nothing is left of the order, and a little longer. Whether it was killed before."""
    child, alive = _start(point)
    idle, over = 0, time.monotonic() + 10
    while idle < 2 and time.monotonic() < over:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert os.WIFSIGNALED(status), "it should go on, or be killed"
            os.close(alive)
            return True
        left = [path for rest in ("order", "erasing", "new", "enrolling") for path in folder.glob(f"*.{rest}")]
        idle = 0 if left else idle + 1
        time.sleep(0.01)
    os.close(alive)
    os.waitpid(child, 0)
    return False


def _state(folder: Path) -> dict[str, Any]:
    stored = json.loads((folder / "reference.json").read_text())
    zeros = [path.name for path in folder.glob("*.table") if not any(path.read_bytes()[64:])]
    return {
        "files": sorted(path.name for path in folder.iterdir()),
        "numbers": {path.stem: provision.identity(path.read_bytes()).client_id for path in folder.glob("*.link")},
        "stored": [sorted(stored["links"]), stored.get("revoked")],
        "next keys": [link["nextInitialKey"] for link in stored["links"].values()],
        "clients": [client["name"] for client in json.loads((folder / "skex.json").read_text()).get("clients", [])],
        "zeros": sorted(zeros),
    }


def main() -> int:
    os.fsync = _changing("a sync", os.fsync)
    os.replace = _changing("a change of name", os.replace)
    os.pwrite = _changing("a change of a table", os.pwrite)
    os.link = _changing("another name", os.link)
    Path.unlink = _changing("a removal", Path.unlink)  # type: ignore[method-assign]
    udp.Endpoint.send = _sending(udp.Endpoint.send)  # type: ignore[method-assign]
    if sys.argv[1] == "--orders":
        folder = Path(sys.argv[2])
        sys.argv = [sys.argv[0], *sys.argv[3:]]
        return orders(folder)
    return one_after_the_other()


if __name__ == "__main__":
    sys.exit(main())
