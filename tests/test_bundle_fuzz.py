# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles made to do harm, and some hundred that chance has damaged: refused, with a code, in little memory."""

import json
import pickle
import shutil
import struct
import tracemalloc
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idto3d_blender.head.bundle import BundleError, read_bundle_files
from idto3d_shared.fit_file import FIT, LANDMARKS, FitCamera, FitFile, FitPhoto, fit_text
from tests.blender import synthetic_bundle as synthetic

ROUNDS = 2000
WATCHED = 200  # of these rounds, the first, have their memory counted, which takes ten times as long
MOST_MEMORY = 24 << 20
FILES = ("head.json", "fit.json", "head.npz", "maps/skin_albedo.png", "maps/lashes_albedo.png", "preview.png")


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY, f"{peak / 1e6:.0f} MB"


def npy(dtype: str, shape: tuple[int, ...], data: bytes) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def with_member(name: str, data: bytes, method: int = zipfile.ZIP_DEFLATED, flags: int = 0) -> Callable[[Path], None]:
    """head.npz with another content for one array."""

    def change(path: Path) -> None:
        with np.load(path / "head.npz") as stored:
            arrays = dict(stored)
        del arrays[name]
        np.savez_compressed(path / "head.npz", **arrays)
        with zipfile.ZipFile(path / "head.npz", "a") as archive:
            archive.writestr(f"{name}.npy", data, method)
        if flags:  # in the directory, which comes last
            raw = bytearray((path / "head.npz").read_bytes())
            raw[raw.rindex(b"PK\x01\x02") + 8] |= flags
            (path / "head.npz").write_bytes(raw)

    return change


def with_text(text: str) -> Callable[[Path], Any]:
    """head.json with this as its consent."""

    def change(path: Path) -> None:
        given = json.dumps({**synthetic.header(), "consent": "HERE"})
        (path / "head.json").write_text(given.replace('"HERE"', text), encoding="utf-8")

    return change


def png(width: int, height: int, rows: bytes, chunks: int = 1) -> Callable[[Path], Any]:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) * chunks + chunk(b"IEND", b"")
    return lambda path: (path / "maps" / "skin_albedo.png").write_bytes(data)


def unknown_method(path: Path) -> None:
    """As WinZip's AE-x marks its members, in the directory and in the member's own header."""
    raw = bytearray((path / "head.npz").read_bytes())
    for signature, place in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        at = raw.index(signature) + place
        raw[at : at + 2] = struct.pack("<H", 99)
    (path / "head.npz").write_bytes(raw)


def two_directories(path: Path) -> None:
    """The member's own header says stored where the directory says deflated, and names another file."""
    raw = bytearray((path / "head.npz").read_bytes())
    at = raw.index(b"PK\x03\x04")
    raw[at + 30 : at + 34] = b"else"
    (path / "head.npz").write_bytes(raw)


def many_members(path: Path) -> None:
    with zipfile.ZipFile(path / "head.npz", "a") as archive:
        for number in range(100):
            archive.writestr(str(number), b"")


def something_after_the_end(path: Path) -> None:
    (path / "head.npz").write_bytes((path / "head.npz").read_bytes() + b"x" * 100)


def twice(path: Path) -> None:
    with zipfile.ZipFile(path / "head.npz", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("seen.npy", npy("<f4", (1,), bytes(4)))


def says_more_than_it_holds(path: Path) -> None:
    """A member of four bytes whose directory entry says gigabytes."""
    with_member("seen", npy("<f4", (2**29,), bytes(4)), zipfile.ZIP_STORED)(path)
    raw = bytearray((path / "head.npz").read_bytes())
    at = raw.rindex(b"PK\x01\x02") + 24
    raw[at : at + 4] = struct.pack("<I", 2**31)
    (path / "head.npz").write_bytes(raw)


# Of the vertices' size, 366 x 3: what is in them does not matter, as the sizes are looked at first.
ZEROS = bytes(366 * 12)
BOMBS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a header of (10**12, 3)": (with_member("vertices", npy("<f4", (10**12, 3), bytes(12))), "E_BUNDLE_ARRAYS"),
    "a header of petabytes": (with_member("vertices", npy("<f4", (10**15, 3), bytes(12))), "E_BUNDLE_ARRAYS"),
    "a header that overflows": (with_member("vertices", npy("<f4", (2**62, 3), bytes(12))), "E_BUNDLE_ARRAYS"),
    "more expressions than one has": (with_member("offsets", npy("<f4", (10**6, 366, 3), b"")), "E_BUNDLE_ARRAYS"),
    "gigabytes, packed": (with_member("offsets", npy("<f4", (3, 366, 3), bytes(1 << 28))), "E_BUNDLE_ARRAYS"),
    "less than the header says": (with_member("vertices", npy("<f4", (366, 3), ZEROS[:-4])), "E_BUNDLE_ARRAYS"),
    "a negative size": (with_member("vertices", npy("<f4", (-366, 3), ZEROS)), "E_BUNDLE_ARRAYS"),
    "a header to be evaluated": (with_member("vertices", npy("<f4", (366, "(" * 3000), ZEROS)), "E_BUNDLE_ARRAYS"),  # type: ignore[arg-type]
    "the directory says gigabytes": (says_more_than_it_holds, "E_BUNDLE_ARRAYS"),
    "encrypted": (with_member("seen", npy("<f4", (366,), bytes(366 * 4)), flags=1), "E_BUNDLE_ARRAYS"),
    "packed by bzip2": (with_member("seen", npy("<f4", (366,), bytes(1464)), zipfile.ZIP_BZIP2), "E_BUNDLE_ARRAYS"),
    "method 99": (unknown_method, "E_BUNDLE_ARRAYS"),
    "no array": (with_member("seen", b"seen: everywhere\n"), "E_BUNDLE_ARRAYS"),
    "an empty member": (with_member("seen", b""), "E_BUNDLE_ARRAYS"),
    "a pickle": (with_member("seen", pickle.dumps([1.0])), "E_BUNDLE_ARRAYS"),
    "two names for one member": (two_directories, "E_BUNDLE_ARRAYS"),
    "a hundred members": (many_members, "E_BUNDLE_ARRAYS"),
    "one member twice": (twice, "E_BUNDLE_ARRAYS"),
    "a comment": (something_after_the_end, "E_BUNDLE_ARRAYS"),
    "nested JSON": (with_text("[" * 100_000 + "]" * 100_000), "E_BUNDLE_JSON"),
    "half a surrogate pair": (with_text('"\\ud800"'), "E_BUNDLE_JSON"),
    "a number beyond all": (with_text("1e999"), "E_BUNDLE_JSON"),
    "NaN": (with_text("NaN"), "E_BUNDLE_JSON"),
    "a million digits": (with_text("1" * 1_000_000), "E_BUNDLE_JSON"),
    "too much JSON": (with_text('"' + "x" * (5 << 20) + '"'), "E_BUNDLE_JSON"),
    "not UTF-8": (lambda path: (path / "head.json").write_bytes(b"\xff\xfe{}"), "E_BUNDLE_JSON"),
    "a picture as large as a town": (png(2**31 - 1, 2**31 - 1, bytes(100)), "E_BUNDLE_MAP"),
    "a picture that unpacks to more": (png(16, 16, bytes(1 << 28)), "E_BUNDLE_MAP"),
    "a picture that unpacks to less": (png(4096, 4096, bytes(100)), "E_BUNDLE_MAP"),
    "a picture without pixels": (png(16, 16, b"", chunks=0), "E_BUNDLE_MAP"),
    "no size": (png(0, 0, b""), "E_BUNDLE_MAP"),
    "a hundred thousand chunks": (png(16, 16, b"", chunks=100_000), "E_BUNDLE_MAP"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_bombs(case: str, tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "head")
    change, code = BOMBS[case]
    change(path)
    with little_memory(), pytest.raises(BundleError) as error:
        read_bundle_files(path)
    assert error.value.code == code and len(error.value.message) < 400


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """One or a few changes of the kinds that disks, networks and people make."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(len(out))), int(rng.integers(1, 40))
        kind = rng.integers(6)
        if kind == 0:
            out[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            out[at : at + length] = rng.bytes(length)
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        elif kind == 4:
            out[at : at + 4] = struct.pack("<I", int(rng.choice([0, 1, 2**31, 2**32 - 1, 2**16])))
        else:
            del out[max(1, at) :]
    return bytes(out)


def distort(value: Any, rng: np.random.Generator) -> Any:
    """JSON with one place of it replaced by something else."""
    strange: tuple[Any, ...] = (None, True, -1, 10**40, 1.5, "", "../x", [], {}, "a" * 500, [[]], {"name": 1})
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = list(value)[rng.integers(len(value))]
        return {**value, key: distort(value[key], rng)} if rng.random() < 0.9 else {**value, f"{key}_": value[key]}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = int(rng.integers(len(value)))
        return [*value[:at], distort(value[at], rng), *value[at + 1 :]]
    return strange[rng.integers(len(strange))]


def plain_fit() -> FitFile:
    """A fit of one photo."""
    camera = FitCamera(1000.0, np.full(2, 256.0), np.eye(3), np.array([0.0, 0.0, 1.0]))
    photo = FitPhoto(
        *("a.jpg", "/a.jpg", "", 512, 512, camera, {"jawOpen": 0.5}),
        *(np.ones((9, 3)), np.ones((LANDMARKS, 2)), 0.001),
    )
    return FitFile(np.zeros(5), {}, (photo,))


def overwrite(file: Path, data: bytes) -> None:
    """As write_bytes, but the file is cut after it was written and not before, which some disks take long for."""
    with file.open("r+b", buffering=0) as stream:
        stream.write(data)
        stream.truncate()


def test_chance(tmp_path: Path) -> None:
    """Whatever happens to a bundle's bytes, it is read or refused: never another error, never much memory."""
    rng = np.random.default_rng(20261126)
    path = synthetic.write(tmp_path / "head")
    (path / FIT).write_text(fit_text(plain_fit()), encoding="utf-8")
    whole = {name: (path / name).read_bytes() for name in FILES}
    codes: Counter[str] = Counter()
    memory = little_memory()
    memory.__enter__()
    for number in range(ROUNDS):
        if number == WATCHED:
            memory.__exit__(None, None, None)
        name = FILES[number % len(FILES)]
        if name.endswith(".json") and rng.random() < 0.7:
            damaged = json.dumps(distort(json.loads(whole[name]), rng)).encode()
        else:
            damaged = damage(whole[name], rng)
        overwrite(path / name, damaged)
        try:
            head = read_bundle_files(path)
            assert np.isfinite(head.vertices).all() and head.faces.max() < len(head.vertices)
            codes["read"] += 1
        except BundleError as error:
            assert error.code.startswith("E_BUNDLE_") and error.message and len(error.message) < 600
            codes[error.code] += 1
        overwrite(path / name, whole[name])
    # The damage is of many kinds, and some of it is none.
    assert len(codes) >= 5 and codes["E_BUNDLE_MAP"] > 500 and codes["E_BUNDLE_ARRAYS"] > 200, codes
    assert 0 < codes["read"] < ROUNDS / 4, codes


def test_a_folder_where_a_file_should_be(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "head")
    shutil.rmtree(path / "maps")
    with pytest.raises(BundleError, match="E_BUNDLE_MISSING"):
        read_bundle_files(path)
    (path / "head.npz").unlink()
    (path / "head.npz").mkdir()
    with pytest.raises(BundleError, match="E_BUNDLE_MISSING"):
        read_bundle_files(path)
