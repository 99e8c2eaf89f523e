"""What the file `dske-transcripts` means.

An exchange is made anew: of each message, only its kind, its numbers and what its sender was free to choose are taken
over. Everything else comes from tables, initial keys, what was drawn, and the messages before.
"""

from __future__ import annotations

from typing import Any

from ..case import Case, Json, Kind, layer_of
from . import playing
from .passive import PASSIVE
from .refusing import refuse
from .values import values
from .world import World


def _play(case: Case, until_last: bool = False) -> tuple[World, Json]:
    world = World(case)
    steps = case.test["steps"]
    world.note_deliveries(steps)
    computed: Json = {}
    for number, step in enumerate(steps[:-1] if until_last else steps):
        refused = not case.valid and number == len(steps) - 1
        for path, value in playing.step(world, step, refused).items():
            computed[f"steps[{number}].{path}"] = value
    return world, computed


def _outputs(case: Case) -> list[str]:
    paths = ["sessions", "blocks", "epochs"]
    # What both ends of a link are given: the second one gets what the first one got.
    seen: list[tuple[Any, ...]] = []
    clients = [client["name"] for client in case.test["clients"]]
    for number, step in enumerate(case.test["steps"]):
        given = step["input"]
        link = (step["end"], given.get("about")) if step["end"] in clients else (given.get("about"), step["end"])
        what = (*link, given["type"], given.get("direction"), given.get("table"))
        if given["type"] in ("InitialKey", "Provision") and seen.count(what) % 2:
            paths.append(f"steps[{number}].input.{'key' if given['type'] == 'InitialKey' else 'octets'}")
        seen.append(what)
        if given["type"] == "Request" and given["wish"] is not None:
            names = ("suite", "threshold", "lifetime", "hubs", "informationTheoretic")
            paths += [f"steps[{number}].input.{name}" for name in names]
        if given["type"] == "AddTable":
            paths.append(f"steps[{number}].input.octets")
        for place, output in enumerate(step["outputs"]):
            names = {"Send": ("inner", "octets"), "Key": ("key",)}.get(output["type"], ())
            paths += [f"steps[{number}].outputs[{place}].{name}" for name in names]
            contained = range(len(output.get("messages") or ()))
            paths += [f"steps[{number}].outputs[{place}].messages[{i}].inner" for i in contained]
    for i, key in enumerate(case.test["keys"]):
        names = ["keyId", "context", "tagKey", "key", "confirmKey", "block", "secretTag"]
        names += [f"shares[{j}].share" for j in range(len(key["shares"]))]
        names += ["confirmation.lying", "confirmation.tag"] if key["confirmation"] is not None else []
        paths += [f"keys[{i}].{name}" for name in names]
    return paths


def _exchange(case: Case) -> Json:
    world, computed = _play(case)
    return computed | values(world)


def _refused(case: Case) -> str | None:
    if case.valid:
        return None
    world, _ = _play(case, until_last=True)
    last = case.test["steps"][-1]
    if last["input"]["type"] == "Start":
        return layer_of(lambda: playing.stored(world, last["end"], last["input"]))
    return layer_of(lambda: refuse(world, last["end"], last["input"]["from"], bytes.fromhex(last["input"]["octets"])))


EXCHANGE = Kind(_outputs, _exchange, _refused)

FILES: dict[str, dict[str, Kind]] = {"dske-transcripts": {"Exchange": EXCHANGE, "Passive": PASSIVE}}
