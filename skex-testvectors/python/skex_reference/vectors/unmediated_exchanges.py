"""What the files `unmediated-transcripts` and `unmediated-records` mean."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from ..suites import SUITES
from ..unmediated import peer, recovery, state, wire
from ..unmediated.exporter import Answering
from ..unmediated.peer import Config, Peer
from ..unmediated.schedule import Enrolment, other
from ..unmediated.state import Ahead, Durable, Followed, Held, Previous, Session
from . import unmediated_keys
from .case import Case, Json, Kind, layer_of

# ---- unmediated-transcripts: one end, as a step sees it

EVENTS = {
    peer.GaveUp: "unanswered",
    peer.RolledBack: "rolledBack",
    peer.MixStored: "mixStored",
    peer.MixLost: "mixLost",
    peer.MixRefused: "mixRefused",
}


class End:
    def __init__(self, case: Case, chosen: Json) -> None:
        self.side: str = chosen["side"]
        self._random = bytes.fromhex(chosen["random"])
        self._drawn = 0
        test = case.test
        self.enrolment = Enrolment(
            case.octets("nameA"), case.octets("nameB"), test["lane"], test["initialSuite"], case.octets("context")
        )
        self._secret = case.octets("secret")
        self._config = Config(
            self.enrolment,
            tuple(chosen["suites"]),
            stateless=chosen["stateless"],
            consumer_confirms=chosen["consumerConfirms"],
            mix=chosen["mix"],
        )
        self._blocks = [bytes.fromhex(block) for block in test["blocks"]]
        if chosen["tries"] != peer.SENDINGS:
            raise ValueError("another number of sendings")
        self._sequence = 0
        self._machine: Peer | None = None

    def _draw(self, length: int) -> bytes:
        drawn = self._random[:length]
        if len(drawn) != length:
            raise ValueError("more is drawn than there is")
        self._random = self._random[length:]
        self._drawn += length
        return drawn

    def machine(self) -> Peer:
        assert self._machine is not None
        return self._machine

    def step(self, step: Json) -> tuple[Json, str | None]:
        """The step as this end takes it, and the layer that discards its message."""
        given, now = copy.deepcopy(step["input"]), step["time"] / 1000
        layer: str | None = None
        self._drawn = 0
        key: Json | None = None
        match given["type"]:
            case "Enrol":
                chain_key = self.enrolment.first_chain_key(self._secret)
                durable = Durable(self.side, 0, self.enrolment.suite, chain_key)
                self._machine = Peer(self._config, durable, self._draw, now)
            case "Restore":
                slots = [bytes.fromhex(slot) for slot in given["slots"]]
                durable, self._sequence = state.restore(self.enrolment, slots, self.side)
                self._machine = Peer(self._config, durable, self._draw, now)
            case "Load":
                self.machine().under_load = given["demanded"]
            case "Establish":
                self.machine().establish(now)
            case "Provide":
                self.machine().provide(self._blocks[given["block"]])
            case "Withdraw":
                self.machine().withdraw()
            case "Message":
                layer = self.machine().receive(now, given["path"], bytes.fromhex(given["octets"]))
                given["accepted"] = layer is None
            case "Timeout":
                self.machine().timeout(now)
            case "Confirm":
                given["sessionId"] = self.machine().durable.session.session_id.hex()
                self.machine().confirmed_by_consumer(now)
            case "Allow":
                self.machine().allow()
            case "Conclude":
                self.machine().conclude()
            case "EnrolByRecovery":
                secret = recovery.secret(self._recovery_lane(given["record"]))
                given["secret"] = secret.hex() if secret else None
                self.machine().enrol_by_recovery(secret or b"")
            case "Release":
                if not recovery.is_over(self._recovery_lane(given["record"])):
                    raise ValueError("a recovery that is not over")
                self.machine().release()
            case "Name":
                index, named = self.machine().name_output(given["label"], bytes.fromhex(given["context"]))
                given |= {"index": index, "key": named.hex()}
            case "Answer":
                taken = self.machine().take_output(given["index"], given["label"], bytes.fromhex(given["context"]))
                key = {"type": "Key", "index": given["index"], "key": taken.hex()}
            case _:
                raise ValueError("an unknown input")
        deadline = self.machine().deadline()
        made = {
            "end": step["end"],
            "time": step["time"],
            "input": given,
            "draws": self._drawn,
            "outputs": self._outputs() + ([key] if key else []),
            "deadline": None if deadline is None else round(deadline * 1000),
            "epoch": self.machine().durable.epoch,
        }
        return made, layer

    def _recovery_lane(self, record: str) -> Durable:
        """What the recovery lane of this end has stored."""
        lane = replace(self.enrolment, lane=state.RECOVERY_LANE)
        return state.restore(lane, [bytes.fromhex(record)], self.side)[0]

    def _outputs(self) -> list[Json]:
        outputs = [self._output(effect) for effect in self.machine().effects]
        self.machine().effects = []
        return outputs

    def _output(self, effect: peer.Effect) -> Json:
        match effect:
            case peer.Persist():
                self._sequence += 1
                record = state.record(self.enrolment, effect.durable, self._sequence)
                return {"type": "Store", "record": record.hex()}
            case peer.Send():
                return {"type": "Send", "path": effect.path, "octets": effect.octets.hex()}
            case peer.Established():
                return {"type": "Event", "event": "established", "sessionId": effect.session_id.hex()}
            case peer.Resumed():
                return {"type": "Event", "event": "resumed", "sessionId": effect.session_id.hex()}
            case peer.Ended():
                return {"type": "Event", "event": effect.why, "sessionId": effect.session_id.hex()}
        return {"type": "Event", "event": EVENTS[type(effect)], "sessionId": None}


def _play(case: Case) -> tuple[list[Json], str | None]:
    """All steps, and the layer that discards the message of the last one."""
    ends = {chosen["side"]: End(case, chosen) for chosen in case.test["ends"]}
    steps, layer = [], None
    for step in case.test["steps"]:
        made, layer = ends[step["end"]].step(step)
        steps.append(made)
    return steps, layer


def _exchange_outputs(case: Case) -> list[str]:
    handshakes = [
        f"handshakes[{i}].{name}"
        for i, handshake in enumerate(case.test["handshakes"])
        for name in handshake
        if name not in unmediated_keys.HANDSHAKE_INPUTS
    ]
    results = [
        f"steps[{i}].{name}" for i in range(len(case.test["steps"])) for name in ("draws", "outputs", "deadline", "epoch")
    ]
    inputs = [
        f"steps[{i}].input.{name}"
        for i, step in enumerate(case.test["steps"])
        for name in {
            "Message": ["accepted"],
            "Name": ["index", "key"],
            "Confirm": ["sessionId"],
            "EnrolByRecovery": ["secret"],
        }.get(step["input"]["type"], [])
    ]
    return handshakes + results + inputs


def _exchange(case: Case) -> Json:
    steps, _ = _play(case)
    computed: Json = {}
    for path in _exchange_outputs(case):
        if path.startswith("steps"):
            place, _, name = path[len("steps[") :].partition("].")
            value: Any = steps[int(place)]
            for part in name.split("."):
                value = value[part]
            computed[path] = value
    for i, handshake in enumerate(case.test["handshakes"]):
        values = unmediated_keys.handshake(handshake)
        computed |= {f"handshakes[{i}].{name}": value for name, value in values.items()}
    return computed


EXCHANGE = Kind(_exchange_outputs, _exchange, lambda case: _play(case)[1])


# ---- unmediated-records


def _enrolment(case: Case) -> Enrolment:
    group = case.group
    names = bytes.fromhex(group["nameA"]), bytes.fromhex(group["nameB"])
    return Enrolment(*names, group["lane"], group["initialSuite"], bytes.fromhex(group["context"]))


def _durable_from(side: str, lane: int, fields: Json) -> Durable:
    def octets(value: str) -> bytes:
        return bytes.fromhex(value)

    previous = None
    if fields["previous"]:
        before = fields["previous"]
        previous = Previous(
            before["suite"],
            {side: octets(before["ownPseudonym"]), other(side): octets(before["peerPseudonym"])},
            octets(before["peerMacKey"]),
        )
    answering = None
    if fields["answering"]:
        chain = fields["answering"]
        position = chain["position"]
        kept = {
            position - 1 - (position - 1 - entry["slot"]) % 8: octets(entry["output"]) for entry in chain["kept"]
        }
        owner = side if lane == state.RECOVERY_LANE and fields["initiator"] else other(side)
        answering = Answering(owner, fields["suite"], octets(chain["link"]), position, kept)
    link: state.Link = None
    about = fields["link"]
    if about["type"] == "Followed":
        link = Followed(octets(about["mac3"]), about["status"], octets(about["mac4"]))
    elif about["type"] == "Ahead":
        assert previous is not None
        pseudonym = previous.pseudonyms[side]
        first = wire.First(about["firstFlags"], pseudonym, octets(about["initiatorNonce"]), tuple(about["offer"]))
        second = wire.Second(about["secondFlags"], first.attempt, octets(about["responderNonce"]), fields["suite"])
        if about["mixOffer"] is not None:
            first = replace(first, extension=octets(about["mixOffer"]))
        if about["choice"] is not None:
            second = replace(second, extension=bytes([about["choice"]]))
        third = wire.LongThird(wire.Third(pseudonym, octets(about["mac3"])), first, second, octets(about["guard"]))
        link = Ahead(third, {0: octets(about["mac4Good"]), 1: octets(about["mac4Void"])})
    held = [Held(octets(one["block"]), one["withdrawn"]) for one in fields["blocks"]]
    places = (held[0] if held else None, held[1] if held[1:] else None)
    return Durable(
        side,
        fields["epoch"],
        fields["suite"],
        octets(fields["chainKey"]),
        Session(fields["sessionStatus"], octets(fields["sessionId"]), fields["initiator"], fields["mixed"], fields["recovery"], answering),
        previous,
        link,
        places,
    )


def _one_record(case: Case) -> bool:
    """Whether the slots hold one record and nothing else: then they are made, and not stated."""
    return case.valid and case.flag in ("Minimum", "Normal", "Maximum")


def _restore_outputs(case: Case) -> list[str]:
    if not case.valid:
        return ["state", "sequence", "rewritten", "sends"]
    return ["rewritten", "sends", *(["slots[0]"] if _one_record(case) else [])]


def _restore(case: Case) -> Json:
    if not case.valid:
        return {"state": None, "sequence": None, "rewritten": None, "sends": None}
    durable = _durable_from(case.group["side"], case.group["lane"], case.test["state"])
    enrolment, sequence = _enrolment(case), case.number("sequence")
    machine = Peer(Config(enrolment, tuple(SUITES)), durable, bytes, 0.0)
    sends = [effect.octets for effect in machine.effects if isinstance(effect, peer.Send)]
    sent = [octets.hex() for octets in sends if octets[0] & 15 == wire.LongThird.TYPE]
    computed: Json = {
        "rewritten": state.record(enrolment, durable, sequence + 1).hex(),
        "sends": sent[0] if sent else None,
    }
    if _one_record(case):
        computed["slots[0]"] = state.record(enrolment, durable, sequence).hex()
    return computed


def _judge_restore(case: Case) -> str | None:
    def attempt() -> None:
        slots = [bytes.fromhex(slot) for slot in case.test["slots"]]
        durable, sequence = state.restore(_enrolment(case), slots, case.group["side"])
        if case.valid:
            stated = _durable_from(case.group["side"], case.group["lane"], case.test["state"])
            if (durable, sequence) != (stated, case.number("sequence")):
                raise ValueError("another state")

    return layer_of(attempt)


RESTORE = Kind(_restore_outputs, _restore, _judge_restore)

FILES = {
    "unmediated-transcripts": {"Exchange": EXCHANGE},
    "unmediated-records": {"Restore": RESTORE},
}
