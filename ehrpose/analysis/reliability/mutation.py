"""Damage to files and JSON documents, from a seeded source of randomness.

What comes out is written to temporary folders only and never kept: a case is repeated from its seed and number.
"""

from __future__ import annotations

import json
import random
import struct
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

# Sizes and counts at which readers fail: signs, 16 and 32 bits, close below.
_SIZES = (0x7FFFFFFF, 0xFFFFFFFF, 0x10000000, 0x00FFFFFF, 2**31 - 20, 200_000, 65535, 30_000, 14_000)
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, 1e13, -1e300, 2**31, 2**63, 10**30, float("inf"), float("-inf"), float("nan"),
    "", "text", "0", "null", "a" * 300, "../a", "\x00", "\ud800", "builtins.print", "os.getcwd",
    [], {}, [[]], [None], [0, 0], {"type": "dict"}, {"a": {"a": []}},
)  # fmt: skip


@dataclass
class Outcome:
    """What became of one case.

    Attributes:
        kind: ``"refused"``, ``"read"``, ...: what cases are counted by.
        fault: What broke a rule; empty if nothing did.
        megabytes: Memory that the case took, MB; 0: not measured.
    """

    kind: str
    fault: str = ""
    megabytes: float = 0.0


def case_rng(area: str, seed: int, index: int) -> random.Random:
    """Return the source of randomness of one case: it depends on nothing but these three."""
    return random.Random(f"{area} {seed} {index}")


def damage(content: bytes, rng: random.Random) -> bytes:
    """Return bytes with 1 to 8 changes, mostly near the start, where formats keep lengths and sizes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(max(1, min(len(data), rng.choice((64, 256, len(data))))))
        how = rng.random()
        if how < 0.4:
            data[at : at + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])
        elif how < 0.8:
            form, mask = (("I", 0xFFFFFFFF), ("H", 0xFFFF))[rng.random() < 0.4]
            new = struct.pack(rng.choice("<>") + form, rng.choice(_SIZES) & mask)
            data[at : at + len(new)] = new
        elif how < 0.95:
            data[at:at] = rng.randbytes(rng.randrange(8))
        else:
            del data[at:]
    return bytes(data)


def damage_document(document: Any, rng: random.Random) -> Any:
    """Return a copy of a JSON document in which 1 to 4 values or keys are replaced, removed or repeated."""
    changed = deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(changed))
        if places:
            container, key = rng.choice(places)
            _damage_place(container, key, rng)
    return changed


def document_bytes(document: Any, rng: random.Random) -> bytes:
    """Return a damaged document as JSON text; one in five is damaged as text too."""
    content = json.dumps(damage_document(document, rng)).encode()
    return damage(content, rng) if rng.random() < 0.2 else content


def _places(node: Any) -> Any:
    """Yield container and key of every value below a node."""
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from _places(node[key])


def _damage_place(container: Any, key: Any, rng: random.Random) -> None:
    how, value = rng.random(), container[key]
    if how < 0.5:
        container[key] = deepcopy(rng.choice(_VALUES))
    elif how < 0.6:
        container[key] = [value]
    elif how < 0.7 and isinstance(value, (int, float)):
        container[key] = value * rng.choice((-1, 0, 1e3, 1e30))
    elif how < 0.8 and isinstance(container, dict):
        container[rng.choice(("type", "name", "Extra", f"{key}2"))] = container.pop(key)
    elif how < 0.9:
        del container[key]
    elif isinstance(container, list):
        container.insert(key, deepcopy(value))
    else:
        container[key] = str(value)
