"""Makes the corpora's first inputs from the test vectors: python3 seeds.py VECTORS CORPUS."""

import hashlib
import json
import sys
from pathlib import Path

vectors, corpus = Path(sys.argv[1]), Path(sys.argv[2])


def cases(name: str):
    for group in json.loads((vectors / f"{name}.json").read_text())["testGroups"]:
        for test in group["tests"]:
            yield test


def keep(target: str, octets: bytes) -> None:
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(octets).hexdigest()[:40]).write_bytes(octets)


def octet_strings(value):
    """Every string of hexadecimal digits, wherever it stands."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from octet_strings(part)
    elif isinstance(value, str) and len(value) >= 2:
        try:
            yield bytes.fromhex(value)
        except ValueError:
            pass


count = 0
# Valid and invalid ones alike. A message is told by its first octet; what is none is refused at once.
for name, target in [("dske-wire", "wire_dske"), ("unmediated-transcripts", "wire_unmediated")]:
    for case in cases(name):
        for octets in octet_strings(case):
            if len(octets) <= 512 and (target == "wire_dske" or octets[0] >> 4 == 1):
                keep(target, octets)
                count += 1
for case in cases("dske-transcripts"):
    for step in case.get("steps", ()) if case["result"] == "valid" else ():
        for output in step["outputs"]:
            for octets in octet_strings([output.get("inner") or "", output.get("octets") or ""]):
                if len(octets) <= 512:
                    keep("wire_dske", octets)
                    count += 1
    for step in case.get("steps", ()):
        records = [bytes.fromhex(record)[26:-16] for record in step["input"].get("records") or ()]
        # Bodies alone, as the target frames them, of a hub's and a client's log: of a hub also as that of a shard.
        kinds = (2, 5) if step["end"].startswith("hub") else (1,)
        for kind in kinds if records else ():
            log = b"".join(len(body).to_bytes(2, "big") + body for body in records[-3:] if len(body) < 240)
            keep("stored", bytes([kind]) + log)
            count += 1
for case in cases("unmediated-records"):
    for octets in octet_strings(case):
        if octets[:3] == b"SKX":
            # The body alone: the target makes the frame.
            keep("stored", b"\x00" + octets[26:-16])
            count += 1
for case in cases("records"):
    for octets in octet_strings(case):
        if octets[:3] == b"SKX" and len(octets) < 256:
            keep("stored", b"\x04" + bytes([len(octets)]) + 2 * octets)
            count += 1
# The example of draft-skex-dske, "Provisioning file".
draft = (vectors.parents[1] / "docs" / "draft-skex-dske.md").read_text()
example = draft[draft.index("534b4558505256") :].split("~~~")[0]
keep("stored", b"\x03" + bytes.fromhex("".join(example.split())))
print(f"{count + 1} seeds in {corpus}")
