"""What tshark makes of datagrams, by the dissector."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
HEADER = struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)
UNMEDIATED, DSKE = 7001, 7002
IP_AND_UDP = 28
# What the dissector adds of its own knowledge, and no octet of the message is.
GENERATED = {"hub_id", "direction"}


@dataclass(frozen=True)
class Field:
    name: str
    at: int
    octets: bytes
    shown: str

    @property
    def number(self) -> int:
        return int.from_bytes(self.octets)


@dataclass
class Layer:
    """A message as it was dissected: its fields in order, and those inside of them. Each message of a SEVERAL is a field and a layer."""

    fields: list[Field] = field(default_factory=list)
    inside: list[Field] = field(default_factory=list)
    generated: list[Field] = field(default_factory=list)
    messages: list[Layer] = field(default_factory=list)
    malformed: bool = False

    def named(self, name: str) -> list[Field]:
        return [found for found in self.fields + self.inside + self.generated if found.name == name]

    def only(self, name: str) -> Field:
        (found,) = self.named(name)
        return found

    @property
    def octets(self) -> bytes:
        """Of all fields, where each begins at the end of the one before."""
        made = b""
        for found in self.fields:
            # Version and type share an octet.
            if found.name != "type":
                assert found.at == len(made), f"{found.name} begins at {found.at}, and {len(made)} octets are named before"
                made += found.octets
        return made


@dataclass
class Dissected:
    protocol: str | None
    outer: Layer
    inner: Layer | None
    closed: bool

    @property
    def malformed(self) -> bool:
        return self.outer.malformed or (self.inner is not None and self.inner.malformed)


def dissect(capture: Path, keys: Path | None = None, ports: bool = False) -> list[Dissected]:
    command = ["tshark", "-X", f"lua_script:{HERE / 'skex.lua'}", "-r", str(capture), "-T", "pdml"]
    # A port that the system chose may be registered for something else, which would be asked first.
    command += ["-o", "udp.try_heuristic_first:TRUE"]
    if keys:
        command += ["-o", f"skexd.keys:{keys}"]
    if ports:
        command += ["-d", f"udp.port=={UNMEDIATED},skexu", "-d", f"udp.port=={DSKE},skexd"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Lua" not in done.stderr, done.stderr
    return [_dissected(packet) for packet in ElementTree.fromstring(done.stdout).iter("packet")]


def _dissected(packet: ElementTree.Element) -> Dissected:
    found = [proto for proto in packet.findall("proto") if proto.get("name") in ("skexu", "skexd")]
    assert not any("Lua Error" in (item.get("showname") or "") for item in packet.iter()), "the dissector stumbled"
    assert len(found) <= 1
    if not found:
        return Dissected(None, Layer(), None, False)
    (proto,) = found
    inner = proto.find("proto")
    return Dissected(
        proto.get("name"),
        _layer(proto, IP_AND_UDP),
        None if inner is None else _layer(inner, 0),
        "skexd.closed" in _names(proto),
    )


def _layer(proto: ElementTree.Element, base: int) -> Layer:
    layer = Layer()
    for item in proto.findall("field"):
        made = _field(item, base)
        if made is not None:
            (layer.generated if made.name in GENERATED else layer.fields).append(made)
            layer.inside += [sub for sub in (_field(child, base) for child in item.findall("field")) if sub is not None]
            layer.messages += [_layer(message, base + made.at) for message in item.findall("proto")]
        layer.malformed = layer.malformed or bool(_names(item) & {"skexu.malformed", "skexd.malformed"})
    return layer


def _names(item: ElementTree.Element) -> set[str | None]:
    """Of a field and all within, but for those of a message in it."""
    return {item.get("name")}.union(*(_names(child) for child in item.findall("field")))


def _field(item: ElementTree.Element, base: int) -> Field | None:
    name = item.get("name", "")
    if not name.startswith(("skexu.", "skexd.")) or name.endswith((".malformed", ".closed")):
        return None
    value = item.get("unmaskedvalue") or item.get("value") or ""
    shown = item.get("showname", "").split(": ", 1)[-1]
    return Field(name.split(".", 1)[1], int(item.get("pos", "0")) - base, bytes.fromhex(value), shown)


def packets(capture: bytes):
    """The payload of each."""
    at = len(HEADER)
    while at < len(capture):
        (length,) = struct.unpack_from(">I", capture, at + 8)
        packet = capture[at + 16 : at + 16 + length]
        yield packet[IP_AND_UDP:]
        at += 16 + length


def write(path: Path, datagrams: list[tuple[int, bytes]]) -> None:
    """A capture of these, each to and from its port."""
    capture = bytearray(HEADER)
    for number, (port, payload) in enumerate(datagrams):
        udp = struct.pack(">HHHH", port, port, 8 + len(payload), 0) + payload
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
        capture += struct.pack(">IIII", number, 0, len(ip + udp), len(ip + udp)) + ip + udp
    path.write_bytes(capture)
