# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays from an .npz that somebody else may have made.

numpy's own reader believes what a file says of itself: a header of a hundred bytes makes it ask for terabytes, and a
deflated member unpacks to whatever it likes. Here every size is checked before a byte of data is unpacked: what the zip
says, what the array's header says, and what is wanted must agree, and all of it must be less than the limits.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError

Shape = tuple[str | int, ...]

_MOST_MEMBERS = 64
_MOST_HEADER = 4096
_END = struct.Struct("<4s4H2LH")  # the zip's end record: signature, disks, entries, size and place of the directory
_ZIP64 = b"PK\x06\x07"
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADER = re.compile(
    rb"\{'descr': '([<|][a-z][0-9]{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,12}, ?)*[0-9]{0,12})\), \} *\n"
)
_PIECE = 1 << 20


def read_npz(
    file: Path, wanted: Mapping[str, tuple[str, Shape]], limits: Mapping[str, int], most_bytes: int
) -> dict[str, NDArray[Any]]:
    """The arrays `wanted`: name -> dtype (as "<f4") and shape, where a letter stands for the size at its first use.

    limits: the largest size of each letter; most_bytes: of the file, and of the arrays together. Other members of the
    zip are not looked at. Raises BundleError E_BUNDLE_ARRAYS.
    """
    try:
        if file.stat().st_size > most_bytes:
            raise _refusal(f"{file.name} is too large")
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            return _read(archive, file.name, wanted, limits, most_bytes)
    except (
        # NotImplementedError and RuntimeError: zipfile's, for methods that it lacks and for passwords
        *(OSError, EOFError, ValueError, OverflowError, NotImplementedError, RuntimeError, MemoryError),
        *(zipfile.BadZipFile, zlib.error, struct.error),
    ) as error:
        # A name in a damaged zip may be 65,000 bytes long.
        raise _refusal(f"{file.name} cannot be read ({str(error)[:200]})") from error


def check_array(
    name: str,
    wanted: tuple[str, Shape],
    found: tuple[str, tuple[int, ...]],
    sizes: dict[str, int],
    limits: Mapping[str, int],
) -> None:
    """dtype and shape `found` are those `wanted`; the letters' sizes are looked up and kept in `sizes`. Raises
    E_BUNDLE_ARRAYS."""
    fits = found[0] == wanted[0] and len(found[1]) == len(wanted[1])
    if fits:
        pairs = zip(wanted[1], found[1], strict=True)
        fits = all(n == (sizes.setdefault(s, n) if isinstance(s, str) else s) for s, n in pairs)
    if not fits:
        text = ",".join(str(sizes.get(s, s)) if isinstance(s, str) else str(s) for s in wanted[1])
        raise _refusal(f"{name} must be ({text}) {np.dtype(wanted[0])}, is {found[1]} {found[0]}")
    if any(size > limits[letter] for letter, size in sizes.items()):
        raise _refusal(f"{name} has more rows than a head has")


def _check_directory(file: Path) -> None:
    """The end record of a small zip without a comment: zipfile would read a directory of millions of entries."""
    with file.open("rb") as stream:
        stream.seek(0, 2)
        size = stream.tell()
        stream.seek(max(0, size - _END.size - 20))
        tail = stream.read()
    signature, *_, entries, directory, _, comment = _END.unpack(tail[-_END.size :].rjust(_END.size, b"\0"))
    if signature != b"PK\x05\x06" or comment or tail[: -_END.size].startswith(_ZIP64):
        raise _refusal(f"{file.name} is cut off or no archive of arrays")
    if entries > _MOST_MEMBERS or directory > _MOST_MEMBERS * 1024:
        raise _refusal(f"{file.name} holds too many files")


def _read(
    archive: zipfile.ZipFile,
    file: str,
    wanted: Mapping[str, tuple[str, Shape]],
    limits: Mapping[str, int],
    most_bytes: int,
) -> dict[str, NDArray[Any]]:
    members = {info.filename: info for info in archive.infolist()}
    if len(members) != len(archive.infolist()):
        raise _refusal(f"{file} holds one name twice")
    sizes: dict[str, int] = {}
    plans = {}
    total = 0
    for name, (dtype, shape) in wanted.items():
        info = members.get(f"{name}.npy")
        if info is None:
            raise _refusal(f"{file} has no {name}")
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise _refusal(f"{name} is encrypted or packed in an unusual way")
        with archive.open(info) as member:
            start, found, fortran, stored = _array_header(name, member)
        check_array(name, (dtype, shape), (found, stored), sizes, limits)
        count = 1
        for size in stored:
            count *= size
        length = count * np.dtype(dtype).itemsize
        total += length
        if info.file_size != start + length:
            raise _refusal(f"{name} is not as large as it says")
        if total > most_bytes:
            raise _refusal(f"{file} unpacks to too much")
        plans[name] = (info, start, fortran, stored)
    return {
        name: _data(archive, info, start, np.empty(stored[::-1] if fortran else stored, wanted[name][0]), fortran)
        for name, (info, start, fortran, stored) in plans.items()
    }


def _array_header(name: str, member: Any) -> tuple[int, str, bool, tuple[int, ...]]:
    """Length of the .npy header, dtype, column-major order, shape. Parsed, not evaluated."""
    magic = member.read(10)
    if magic[:8] != b"\x93NUMPY\x01\x00":
        raise _refusal(f"{name} is no array")
    (length,) = struct.unpack("<H", magic[8:])
    if length > _MOST_HEADER:
        raise _refusal(f"{name} is no array")
    match = _HEADER.fullmatch(member.read(length))
    if match is None:
        raise _refusal(f"{name} is no array of numbers")
    dtype, order, shape = (part.decode("ascii") for part in match.groups())
    return 10 + length, dtype, order == "True", tuple(int(size) for size in shape.replace(" ", "").split(",") if size)


def _data(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, start: int, array: NDArray[Any], fortran: bool
) -> NDArray[Any]:
    if array.size:
        view = memoryview(array.data).cast("B")
        with archive.open(info) as member:
            member.read(start)
            done = 0
            while done < len(view):
                piece = member.read(min(_PIECE, len(view) - done))
                if not piece:
                    raise EOFError(f"{info.filename} is cut off")
                view[done : done + len(piece)] = piece
                done += len(piece)
    return np.ascontiguousarray(array.T) if fortran else array


def _refusal(what: str) -> BundleError:
    return BundleError("E_BUNDLE_ARRAYS", f"{what}.")
