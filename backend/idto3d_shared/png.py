# SPDX-License-Identifier: GPL-3.0-or-later
"""PNG files that somebody else may have made: whole, of 8 bits, no larger unpacked than they say and than allowed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from .errors import BundleError

MOST_BYTES = 1 << 28
MOST_SIDE = 8192
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST_CHUNKS = 1 << 16
_PIECE = 1 << 20


def read_png(file: Path, square: bool) -> bytes:
    """The bytes of an 8-bit PNG whose checksums hold and whose pixels unpack; `square`: also with a power of two as its
    side. Raises BundleError E_BUNDLE_MAP, and OSError."""
    if file.stat().st_size > MOST_BYTES:
        raise _refusal(file, "is too large")
    data = file.read_bytes()
    if data[:8] != _SIGNATURE or data[12:16] != b"IHDR":
        raise _refusal(file, "is not a PNG image")
    chunks = _chunks(file, data)
    width, height, depth, colour, packing, filtering, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if len(chunks[0][1]) != 13 or depth != 8 or colour not in _CHANNELS or packing or filtering or interlace:
        raise _refusal(file, "is not a plain PNG of 8 bits")
    if not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE):
        raise _refusal(file, f"has {width} x {height} pixels")
    if square and (width != height or width & (width - 1)):
        raise _refusal(file, f"is {width} x {height}, not square with a power of two")
    packed = [body for kind, body in chunks if kind == b"IDAT"]
    if not _unpacks_to(packed, height * (1 + width * _CHANNELS[colour])):
        raise _refusal(file, "is damaged")
    return data


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height of what `read_png` gave."""
    width, height = struct.unpack_from(">II", data, 16)
    return int(width), int(height)


def _chunks(file: Path, data: bytes) -> list[tuple[bytes, memoryview]]:
    view, position, chunks = memoryview(data), len(_SIGNATURE), list[tuple[bytes, memoryview]]()
    while not chunks or chunks[-1][0] != b"IEND":
        if position + 12 > len(data) or len(chunks) == _MOST_CHUNKS:
            raise _refusal(file, "is cut off")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise _refusal(file, "is cut off")
        if zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise _refusal(file, "is damaged")
        chunks.append((kind, view[position + 8 : end]))
        position = end + 4
    return chunks


def _unpacks_to(packed: list[memoryview], size: int) -> bool:
    """The deflated pieces unpack to exactly so many bytes. Never holds more than a piece of them."""
    inflate, left = zlib.decompressobj(), size
    try:
        for piece in packed:
            todo: bytes | memoryview = piece
            while len(todo):
                left -= len(inflate.decompress(todo, _PIECE))
                if left < 0:
                    return False
                todo = inflate.unconsumed_tail
        left -= len(inflate.flush(1))
    except zlib.error:
        return False
    return left == 0 and inflate.eof


def _refusal(file: Path, what: str) -> BundleError:
    return BundleError("E_BUNDLE_MAP", f"{file.name} {what}.")
