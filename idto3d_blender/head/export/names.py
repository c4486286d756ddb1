# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that every format keeps, and lending them to copies while the file's own data has them."""

import contextlib
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator

import bpy

LONGEST = 40
"""Characters of a name, to which an export adds others: FBX keeps 63, and makes numbers of longer ones."""
_STRANGE = re.compile(r"[^A-Za-z0-9_]+")
_KINDS = ("objects", "meshes", "armatures", "materials", "images")


def ascii_name(name: str) -> str:
    """Letters, digits and underscores, a letter first, as USD wants names: "Zoë 2" is "Zoe_2". What has letters of
    other scripts, or none, or is longer, ends in a number that is its own: two names stay two."""
    apart = unicodedata.normalize("NFKD", name)
    made = _STRANGE.sub("_", apart.encode("ascii", "ignore").decode()).strip("_")
    lost = not made or any(letter.isalnum() and not letter.isascii() for letter in apart)
    made = made if made[:1].isalpha() else f"head_{made}".rstrip("_")
    return _numbered(made, name) if lost or len(made) > LONGEST else made


def free_name(name: str, taken: Callable[[str], bool]) -> str:
    """`ascii_name`; with a number that is its own where that is taken: "Zoe" and "Zoë" are two people."""
    made = ascii_name(name)
    return _numbered(made, name) if taken(made) else made


def _numbered(made: str, name: str) -> str:
    number = f"_{zlib.crc32(name.encode()) % 0x10000:04x}"
    return made[: LONGEST - len(number)] + number


def ascii_names(names: Iterable[str]) -> dict[str, str]:
    """`ascii_name` of each name, no two of them alike."""
    made: dict[str, str] = {}
    for name in names:
        plain = one = ascii_name(name)
        while one in made.values():
            one = f"{plain}_{len(made)}"
        made[name] = one
    return made


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
