# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are no photo, too large or not there are refused with their code; a JPEG without its end is read."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.Image import Exif
from skimage import data

from idto3d.errors import Cancelled, UserError
from idto3d.photos import load, read_photo
from tests.test_photos_load import COLOURS, HEIC, quadrants


def truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:9000])


def header_only(path: Path) -> None:
    quadrants().save(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\xff\xda") + 14])


def corrupted_png(path: Path) -> None:
    quadrants().save(path)
    data = bytearray(path.read_bytes())
    start = data.index(b"IDAT") + 8
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(bytes(data))


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "empty.jpg": lambda p: p.write_bytes(b""),
    "one_byte.png": lambda p: p.write_bytes(b"\x89"),
    "text.jpg": lambda p: p.write_text("This is not a photograph.\n" * 20),
    "random.png": lambda p: p.write_bytes(np.random.default_rng(0).bytes(5000)),
    "signature_only.png": lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"),
    "signature_only.jpg": lambda p: p.write_bytes(b"\xff\xd8\xff\xe0"),
    "truncated.png": truncated,
    "header_only.jpg": header_only,
    "truncated.webp": truncated,
    "truncated.tif": truncated,
    "truncated.bmp": truncated,
    "corrupted.png": corrupted_png,
    "folder.jpg": lambda p: p.mkdir(),
    "page.pdf": lambda p: p.write_bytes(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n"),
    "script.eps": lambda p: p.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
    "vector.svg": lambda p: p.write_text("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"),
    "cut.heic": lambda p: p.write_bytes(HEIC[:600]),
    "broken.heic": lambda p: p.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40),
    "archive.zip": lambda p: p.write_bytes(b"PK\x03\x04" + b"\0" * 60),
    "array.npy": lambda p: np.save(p, np.zeros(4)),
}


@pytest.mark.parametrize("name", list(UNREADABLE))
def test_unreadable(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    UNREADABLE[name](path)
    with pytest.raises(UserError) as info:
        read_photo(path)
    assert info.value.code == "E_PHOTO_UNREADABLE"
    assert name in info.value.message and info.value.fix


def test_reason_is_named(tmp_path: Path) -> None:
    for name, word in {"empty.jpg": "empty", "broken.heic": "damaged", "folder.jpg": "not a file"}.items():
        UNREADABLE[name](tmp_path / name)
        with pytest.raises(UserError, match=word):
            read_photo(tmp_path / name)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.98, 0.6])
def test_jpeg_without_its_end(progressive: bool, kept: float, tmp_path: Path) -> None:
    """Its rows up to the cut are read, and none of the grey that a decoder leaves below; a progressive one is whole."""
    image = data.astronaut()
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90, progressive=progressive)
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[: int(kept * buffer.tell())])
    photo = read_photo(tmp_path / "cut.jpg")
    assert [n.code for n in photo.notices] == ["W_PHOTO_INCOMPLETE"]
    height, width = photo.image.shape[:2]
    assert width == 512 and (height == 512 if progressive else abs(height / 512 - kept) < 0.07)
    assert np.abs(photo.image.astype(int) - image[:height]).mean(axis=(1, 2)).max() < 8


def test_orientation_of_a_jpeg_without_its_end(tmp_path: Path) -> None:
    exif = Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()).transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", quality=90, exif=exif)
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[: int(0.9 * buffer.tell())])
    image = read_photo(tmp_path / "cut.jpg").image
    assert image.shape[0] == 512 and image.shape[1] < 512  # the missing rows are columns at the left
    assert np.abs(image.astype(int) - data.astronaut()[:, 512 - image.shape[1] :]).mean() < 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UserError, match="E_PHOTO_UNREADABLE"):
        read_photo(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("name", ["absent.jpg", "folder/absent.jpg", "null\0byte.jpg", "x" * 5000])
def test_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as info:
        read_photo(tmp_path / name)
    assert info.value.code == "E_PHOTO_MISSING"


def test_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(UserError, match="E_PHOTO_MISSING"):
        read_photo(tmp_path / "link.jpg")


def bomb(path: Path, width: int, height: int) -> None:
    """A PNG that only claims its size: reading it must stop at the header."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    idat = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + idat)


@pytest.mark.parametrize("size", [(8193, 6144), (12_000, 9_000), (60_000, 60_000), (2**31 - 1, 1)])
def test_too_large(size: tuple[int, int], tmp_path: Path) -> None:
    bomb(tmp_path / "bomb.png", *size)
    with pytest.raises(UserError) as info:
        read_photo(tmp_path / "bomb.png")
    assert info.value.code == "E_PHOTO_TOO_LARGE"


def test_fifty_megapixels_are_read(tmp_path: Path) -> None:
    image = ImageOps.pad(quadrants(), (8192, 6144), Image.Resampling.NEAREST)
    image.save(tmp_path / "big.jpg", quality=60)
    photo = read_photo(tmp_path / "big.jpg")
    assert photo.image.shape == (6144, 8192, 3)
    assert np.abs(photo.image[10, 10].astype(int) - COLOURS["tl"]).max() <= 8


def test_a_stop_while_a_photo_is_decoded_is_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C may come at any moment: it must not count as a damaged photo, which is left out."""

    def stop(*_: object) -> None:
        raise Cancelled

    quadrants().save(tmp_path / "photo.png")
    monkeypatch.setattr(load, "_decode", stop)
    with pytest.raises(Cancelled):
        read_photo(tmp_path / "photo.png")
