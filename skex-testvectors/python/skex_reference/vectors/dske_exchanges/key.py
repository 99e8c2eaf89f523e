"""A key, from its request to its confirmation."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...dske import key as keys
from ...dske import wire
from ...dske.decoding import decode
from ..case import Json


@dataclass
class Key:
    """A key as its initiator makes it. `stated` has what is chosen: terms, origins, and B's bitmaps."""

    stated: Json
    key_id: bytes = b""
    parts: dict[str, bytes] = field(default_factory=dict)
    shares: dict[int, bytes] = field(default_factory=dict)
    # Those of its hubs; none where all of the initiator's take part.
    chosen: bytes | None = None
    coordinates: tuple[int, ...] = ()
    context: bytes = b""
    block: bytes = b""
    secret_tag: bytes = b""
    # What came to the responder, by coordinate, in the order in which it came; what it found in that, and whom it blames.
    came: dict[int, bytes] = field(default_factory=dict)
    accepted: tuple[bytes, bytes] | None = None

    def accept(self) -> tuple[bytes, bytes]:
        """The key that the responder finds in what came (D "Decoding"), and whom it blames. Both are fixed from then on."""
        if self.accepted is None:
            found = decode(self.stated["threshold"], list(self.came.items()), self.context, self.secret_tag)
            if found is None:
                raise ValueError("the responder gives a key that it cannot find")
            bits = sum(1 << i for i, x in enumerate(self.coordinates) if x in found.culprits)
            lying = bits.to_bytes(-(-len(self.coordinates) // 8), "little")
            self.accepted = keys.key_of_block(found.secret, self.stated["keyLength"]), lying
        return self.accepted

    def confirmation(self) -> wire.Confirmation:
        origins, (_, lying) = bytes.fromhex(self.stated["confirmation"]["origins"]), self.accept()
        tag = keys.confirmation_tag(self.parts["confirmKey"], self.context, origins, lying)
        return wire.Confirmation(origins, lying, tag)

    def values(self) -> Json:
        values: Json = {
            "keyId": self.key_id.hex(),
            "context": self.context.hex(),
            **{name: self.parts[name].hex() for name in ("tagKey", "key", "confirmKey")},
            "block": self.block.hex(),
            "secretTag": self.secret_tag.hex(),
        }
        for i, stated in enumerate(self.stated["shares"]):
            values[f"shares[{i}].share"] = self.shares[stated["coordinate"]].hex()
        if self.stated["confirmation"] is not None:
            told = self.confirmation()
            values |= {"confirmation.lying": told.lying.hex(), "confirmation.tag": told.tag.hex()}
        return values
