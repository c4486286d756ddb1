# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that every format keeps, and lending them to copies while the file's own data has them."""

import contextlib
import re
import unicodedata
import zlib
from collections.abc import Iterator

import bpy

_STRANGE = re.compile(r"[^A-Za-z0-9_]+")
_KINDS = ("objects", "meshes", "armatures", "materials", "images")


def ascii_name(name: str) -> str:
    """Letters, digits and underscores, a letter first, as USD wants names: "Zoë 2" is "Zoe_2"; what has no such letters
    is "head" and a number that is its own."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    made = _STRANGE.sub("_", plain).strip("_")
    if not made:
        return f"head_{zlib.crc32(name.encode()) % 0x10000:04x}"
    return made if made[0].isalpha() else f"head_{made}"


@contextlib.contextmanager
def lent(names: set[str]) -> Iterator[None]:
    """What the file has of these names is called otherwise meanwhile, so that what is made now can be called so."""
    renamed = []
    for kind in _KINDS:
        for block in getattr(bpy.data, kind):
            if block.name in names and block.library is None:
                renamed.append((block, block.name))
    for number, (block, _) in enumerate(renamed):
        block.name = f"idto3d lent {number}"
    try:
        yield
    finally:
        for block, name in renamed:
            block.name = name
