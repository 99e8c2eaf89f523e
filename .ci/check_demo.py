"""Checks the lines of `skex demo --json`: what the demo claims must be in them."""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    lines = [json.loads(line) for line in file if line.strip()]
keys = [line for line in lines if line["event"] == "key"]
result = lines[-1]

assert result["event"] == "result" and result["ok"] is True, f"the last line is {result}"
assert result["keys"] == len(keys), f"{len(keys)} keys are listed, the result says {result['keys']}"
for key in keys:
    assert key["initiator_fingerprint"] == key["responder_fingerprint"], f"the two ends differ: {key}"
for protocol in ("dske", "unmediated"):
    assert any(key["protocol"] == protocol for key in keys), f"no key by {protocol}"
assert any(key["hubs_silent"] and key["hubs_lying"] for key in keys), "no key with a silent and a lying hub"
print(f"{len(keys)} keys, both ends equal; hubs lying and silent are named")
