# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a glTF 2.0 one that older readers read, too."""

from typing import Any

_ROW = 12  # bytes of a row of a morph target: three floats
_VERTICES = 34962  # ARRAY_BUFFER


def zeros_below(content: dict[str, Any], start: int) -> bytes:
    """Zeros that are to be appended to the one buffer of the glTF ``content``, which has ``start`` bytes: all accessors
    without a buffer view get one with them.

    The specification has zeros there anyway, but Godot before 4.1 reads the first buffer view
    (https://github.com/godotengine/godot/pull/76875). All such accessors must be of three floats, as morph targets are.
    """
    bare = [accessor for accessor in content["accessors"] if "bufferView" not in accessor]
    zeros = bytes(_ROW * max((accessor["count"] for accessor in bare), default=0))
    if zeros:
        view = {"buffer": 0, "byteOffset": start, "byteLength": len(zeros), "byteStride": _ROW, "target": _VERTICES}
        content["bufferViews"].append(view)
        content["buffers"][0]["byteLength"] = start + len(zeros)
    for accessor in bare:
        accessor["bufferView"] = len(content["bufferViews"]) - 1
    return zeros
