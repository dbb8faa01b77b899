"""Ways to spoil bytes and JSON documents."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

_LENGTHS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
NAMES = (
    *(
        "../../evil",
        "/etc/passwd",
        "/dev/zero",
        "C:\\Windows\\win.ini",
        "\\\\server\\share\\x",
        "file:///etc/passwd",
        "~",
        ".",
    ),
    *(
        "",
        " ",
        "a" * 5000,
        "\0",
        "\n",
        "\x1b[2J",
        "\u202e",
        "\ud800",
        "%s%n%d",
        "{0.__class__}",
        "<img src=x>",
        "'; --",
        "CON",
    ),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**30, 0.0, -0.0, 1e-300, 1e300, -1e300, 0.5),
    *([], {}, [[]], [None] * 100, {"a": {}}, "x", *NAMES),
)


def spoiled(content: bytes, rng: random.Random, hot: int | None = None) -> bytes:
    """Bytes with one to eight changes.

    Args:
        content: to begin with.
        rng: decides.
        hot: changes mostly fall within this many bytes of the beginning; None: anywhere.
    """
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        end = min(hot, len(data)) if hot is not None and rng.random() < 0.9 else len(data)
        at = rng.randrange(end) if end else 0
        kind = rng.randrange(8)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at] = rng.randrange(256)
        elif kind == 2:
            value = rng.choice(_LENGTHS)
            width = rng.choice((1, 2, 4, 8))
            data[at : at + width] = (value & (256**width - 1)).to_bytes(width, rng.choice(("little", "big")))
        elif kind == 3:
            del data[at : at + rng.choice((1, 2, 4, 16, 256))]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 64)))
        elif kind == 5:
            del data[at:]
        elif kind == 6:
            piece = data[at : at + rng.choice((4, 16, 64, 1024))]
            data[at:at] = piece * rng.choice((1, 2, 16))
        else:
            data[at : at + 1] = rng.choice(NAMES).encode("utf-8", "surrogatepass")[:300]
    return bytes(data)


def spoiled_document(document: Any, rng: random.Random) -> Any:
    """A JSON document with one to four changes: other values, keys and lengths, entries gone or put elsewhere."""
    changed = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = list(_places(changed))
        if not places:
            return rng.choice(VALUES)
        holder, key = rng.choice(places)
        kind = rng.randrange(7)
        if kind <= 2:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        elif kind == 3:
            del holder[key]
        elif kind == 4:
            donor, name = rng.choice(places)
            holder[key] = copy.deepcopy(donor[name]) if name in _keys(donor) else None
        elif kind == 5 and isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
            holder[key] = rng.choice((-holder[key], holder[key] * 10**6, holder[key] + 1, holder[key] / 3, 2**40))
        elif isinstance(holder, dict):
            holder[str(rng.choice(NAMES))] = copy.deepcopy(rng.choice(VALUES))
        else:
            holder.extend(copy.deepcopy(holder[:1]) * rng.choice((1, 10, 300)))
    return changed


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    for key in _keys(document):
        yield document, key
        yield from _places(document[key])


def _keys(document: Any) -> list[Any]:
    if isinstance(document, dict):
        return list(document)
    return list(range(len(document))) if isinstance(document, list) else []
