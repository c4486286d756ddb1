# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading odd files: every one made here, from four known colours, and read back or refused with its code."""

import base64
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.Image import Exif

from idto3d.errors import UserError
from idto3d.photos import load, read_photo

# Quadrants: top left, top right, bottom left, bottom right.
COLOURS = {"tl": (220, 30, 30), "tr": (30, 200, 40), "bl": (40, 50, 210), "br": (240, 240, 235)}
GREYS = {"tl": 60, "tr": 120, "bl": 20, "br": 240}
SIGNED = {"tl": 46, "tr": 116, "bl": 0, "br": 255}  # the range of what is there, stretched


def quadrants(colours: Mapping[str, tuple[int, ...]] = COLOURS) -> Image.Image:
    array = np.zeros((48, 64, 3), np.uint8)
    array[:24, :32], array[:24, 32:] = colours["tl"], colours["tr"]
    array[24:, :32], array[24:, 32:] = colours["bl"], colours["br"]
    return Image.fromarray(array)


def greys() -> np.ndarray:
    return np.asarray(quadrants({k: (v,) * 3 for k, v in GREYS.items()}))[..., 0]


def check(image: np.ndarray, expected: dict[str, object], tolerance: float) -> None:
    assert image.shape == (48, 64, 3) and image.dtype == np.uint8
    for key, value in expected.items():
        got = image[12 if key[0] == "t" else 36, 16 if key[1] == "l" else 48].astype(int)
        assert np.abs(got - np.broadcast_to(np.asarray(value), 3)).max() <= tolerance, (key, got, value)


def luma(colour: tuple[int, int, int]) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


LUMA = {k: luma(v) for k, v in COLOURS.items()}
BINARY = {k: 255 if v >= 128 else 0 for k, v in GREYS.items()}
OVER_GREY = {"tl": (220, 30, 30), "tr": (128, 128, 128), "bl": (84, 89, 169), "br": (240, 240, 235)}


# The quadrants as HEIC by x265 (pi_heif only decodes), stored turned by 90 degrees, with the turn in its header.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAAAA"
    "AERAAAIAAQAAAAAB7AABAAAAAAAAANAAAgAAAAACvAABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZl"
    "AgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH/"
    "/wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29s"
    "cm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAADAAAAABAAAAQAAAAAH////wAAAAAgAAAAAAAAACAAAAEHBpeGkAAAAA"
    "AwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAPxtZGF0AAAAzCgBrwY48ZDe"
    "9euQb///QW7//46F5skJfoOC5Hzszm/hidq+RhidCZDvOhHeMRpW329oYq53CvLY2dZ917WAFJ5unUhN4VflQZS8xv5bOPOFDlAV7NLlqLlFsG3u"
    "EdwigI+rTbxNgcUBDecdbuqqjYY6hH6pAeNsNE2xHQuJiDAgC9lfXLbm1G2/K6uRuXNXn6CJOhTsOkosfXFaY/vQEv80Tj+klEuew7kAHhbl1jco"
    "taoVjaJ/zSppAviSJX53OnMQ0KfAAYvid2Ef/AAAAAZFeGlmAABNTQAqAAAACAABARIAAwAAAAEABgAAAAAAAA=="
)


def alpha() -> Image.Image:
    """Opaque but for the top right (clear) and the bottom left (half)."""
    a = np.full((48, 64), 255, np.uint8)
    a[:24, 32:], a[24:, :32] = 0, 128
    return Image.fromarray(a)


def with_alpha(mode: str) -> Image.Image:
    image = quadrants().convert("L" if mode == "LA" else "RGB")
    image.putalpha(alpha())
    return image


def palette_with_transparency(path: Path) -> None:
    image = quadrants().quantize(4)
    image.save(path, transparency=image.getpixel((48, 12)))


def png_rgb16(path: Path) -> None:
    """16-bit RGB PNG written by hand: Pillow writes none."""
    rows = b"".join(b"\0" + (np.asarray(quadrants())[y].astype(">u2") * 257).astype(">u2").tobytes() for y in range(48))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def twelve_bits(path: Path) -> None:
    """Colours of 12 bits in 16: 4080 is white."""
    samples = np.asarray(quadrants(), np.uint16)[..., ::-1] * 16
    samples[0, 0] = 4095
    path.write_bytes(cv2.imencode(path.suffix, samples)[1].tobytes())


def ten_bits_with_alpha(path: Path) -> None:
    samples = np.dstack([np.asarray(quadrants(), np.uint16)[..., ::-1] * 4, np.asarray(alpha(), np.uint16) * 257])
    samples[0, 0, :3] = 1023
    path.write_bytes(cv2.imencode(path.suffix, samples)[1].tobytes())


def premultiplied(path: Path) -> None:
    image = with_alpha("RGBA").convert("RGBa")
    Image.frombytes("RGBA", image.size, image.tobytes()).save(path)
    # Pillow writes tag 338 (ExtraSamples, SHORT, one value) = 2, unassociated alpha; 1 is associated.
    tag = b"\x52\x01\x03\x00\x01\x00\x00\x00"
    assert path.read_bytes().count(tag + b"\x02") == 1
    path.write_bytes(path.read_bytes().replace(tag + b"\x02", tag + b"\x01"))


def lab(path: Path) -> None:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    converted = ImageCms.applyTransform(quadrants(), to_lab)
    assert converted is not None
    converted.save(path)


def big_endian_16(path: Path) -> None:
    Image.frombytes("I;16B", (64, 48), (greys().astype(">u2") * 257).tobytes()).save(path)


def planes(path: Path, bits: int = 16) -> None:
    """Each colour by itself, uncompressed."""
    samples = np.asarray(quadrants(), np.uint16) * (257 if bits == 16 else 16)
    apart = np.ascontiguousarray(samples.transpose(2, 0, 1))
    tifffile.imwrite(path, apart, photometric="rgb", planarconfig="separate")


def white_is_zero(path: Path) -> None:
    tifffile.imwrite(path, 65535 - greys().astype(np.uint16) * 257, photometric="miniswhite")


def overshooting(path: Path) -> None:
    """Resampled or sharpened: a few values a little beyond the range."""
    values = (greys() / 255).astype(np.float32)
    values[0, 0], values[-1, -1] = -0.02, 1.02
    Image.fromarray(values).save(path)


def wide_integers(path: Path) -> None:
    Image.fromarray(greys().astype(np.int32) * 1000 - 70_000).save(path)


def animated_webp(path: Path) -> None:
    quadrants().save(path, save_all=True, append_images=[Image.new("RGB", (64, 48))], lossless=True)


def animation(path: Path) -> None:
    quadrants().save(path, save_all=True, append_images=[Image.new("RGB", (64, 48), "black")] * 2, duration=50)


READABLE: dict[str, tuple[Callable[[Path], object], dict[str, object], float]] = {
    "rgb.png": (lambda p: quadrants().save(p), dict(COLOURS), 0),
    "rgb.jpg": (lambda p: quadrants().save(p, quality=95), dict(COLOURS), 6),
    "progressive.jpg": (lambda p: quadrants().save(p, quality=95, progressive=True), dict(COLOURS), 6),
    "rgb.webp": (lambda p: quadrants().save(p, lossless=True), dict(COLOURS), 0),
    "rgb.bmp": (lambda p: quadrants().save(p), dict(COLOURS), 0),
    "rgb.tif": (lambda p: quadrants().save(p, compression="tiff_lzw"), dict(COLOURS), 0),
    "rgb.jp2": (lambda p: quadrants().save(p), dict(COLOURS), 6),
    "rgb.avif": (lambda p: quadrants().save(p, quality=95), dict(COLOURS), 10),
    "phone.heic": (lambda p: p.write_bytes(HEIC), dict(COLOURS), 4),
    "heic_called.jpg": (lambda p: p.write_bytes(HEIC), dict(COLOURS), 4),
    "avif_called.png": (lambda p: quadrants().save(p, format="AVIF", quality=95), dict(COLOURS), 10),
    "rgb12.png": (twelve_bits, dict(COLOURS), 1),
    "rgb12.tif": (twelve_bits, dict(COLOURS), 1),
    "rgba10.png": (ten_bits_with_alpha, dict(OVER_GREY), 2),
    "i12.png": (lambda p: Image.fromarray(greys().astype(np.uint16) * 16).save(p), dict(GREYS), 1),
    "i14.tif": (lambda p: Image.fromarray(greys().astype(np.uint16) * 64).save(p), dict(GREYS), 1),
    "rgb.ppm": (lambda p: quadrants().save(p), dict(COLOURS), 0),
    "rgb.tga": (lambda p: quadrants().save(p), dict(COLOURS), 0),
    "rgb16.png": (png_rgb16, dict(COLOURS), 0),
    "wrong_suffix.txt": (lambda p: quadrants().save(p, format="JPEG", quality=95), dict(COLOURS), 6),
    "no_suffix": (lambda p: quadrants().save(p, format="PNG"), dict(COLOURS), 0),
    "Фото 写真.png": (lambda p: quadrants().save(p), dict(COLOURS), 0),
    "one_bit.png": (lambda p: Image.fromarray(greys() >= 128).save(p), dict(BINARY), 0),
    "l.png": (lambda p: quadrants().convert("L").save(p), dict(LUMA), 1),
    "l.jpg": (lambda p: quadrants().convert("L").save(p, quality=95), dict(LUMA), 4),
    "la.png": (lambda p: with_alpha("LA").save(p), {**LUMA, "tr": 128, "bl": (LUMA["bl"] + 128) / 2}, 2),
    "p.png": (lambda p: quadrants().quantize(4).save(p), dict(COLOURS), 0),
    "p.gif": (lambda p: quadrants().quantize(4).save(p), dict(COLOURS), 0),
    "p_transparent.png": (palette_with_transparency, {**COLOURS, "tr": 128}, 0),
    "rgb_key.png": (lambda p: quadrants().save(p, transparency=COLOURS["tr"]), {**COLOURS, "tr": 128}, 0),
    "rgba.png": (lambda p: with_alpha("RGBA").save(p), dict(OVER_GREY), 1),
    "rgba.webp": (lambda p: with_alpha("RGBA").save(p, lossless=True), dict(OVER_GREY), 1),
    "rgba.tif": (lambda p: with_alpha("RGBA").save(p), dict(OVER_GREY), 1),
    "premultiplied.tif": (premultiplied, dict(OVER_GREY), 3),
    "cmyk.tif": (lambda p: quadrants().convert("CMYK").save(p), dict(COLOURS), 1),
    "cmyk.jpg": (lambda p: quadrants().convert("CMYK").save(p, quality=95), dict(COLOURS), 6),
    "ycbcr.tif": (lambda p: quadrants().convert("YCbCr").save(p), dict(COLOURS), 3),
    "lab.tif": (lab, dict(COLOURS), 12),
    "i16.png": (lambda p: Image.fromarray(greys().astype(np.uint16) * 257).save(p), dict(GREYS), 0),
    "i16_dark.png": (lambda p: Image.fromarray(greys().astype(np.uint16)).save(p), dict(GREYS), 0),
    "i16b.tif": (big_endian_16, dict(GREYS), 0),
    "planes16.tif": (planes, dict(COLOURS), 0),
    "white_is_zero16.tif": (white_is_zero, dict(GREYS), 0),
    "i.tif": (lambda p: Image.fromarray(greys().astype(np.int32) * 257).save(p), dict(GREYS), 0),
    "i_wide.tif": (wide_integers, {"bl": 0, "tl": 46, "br": 255}, 1),
    "f.tif": (lambda p: Image.fromarray((greys() / 255).astype(np.float32)).save(p), dict(GREYS), 0),
    "f_sharpened.tif": (overshooting, dict(GREYS), 1),
    "f_signed.tif": (lambda p: Image.fromarray((greys() / 127.5 - 1).astype(np.float32)).save(p), dict(SIGNED), 2),
    "f255.tif": (lambda p: Image.fromarray(greys().astype(np.float32)).save(p), dict(GREYS), 0),
    "animated.gif": (animation, dict(COLOURS), 2),
    "animated.png": (animation, dict(COLOURS), 0),
    "animated.webp": (animated_webp, dict(COLOURS), 0),
    "pages.tif": (animation, dict(COLOURS), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", list(READABLE))
def test_readable(name: str, tmp_path: Path) -> None:
    make, expected, tolerance = READABLE[name]
    path = tmp_path / name
    make(path)
    photo = read_photo(path)
    assert photo.name == name and photo.notices == ()
    check(photo.image, expected, tolerance)


def test_dark_planes_are_refused(tmp_path: Path) -> None:
    planes(tmp_path / "planes12.tif", bits=12)
    with pytest.raises(UserError, match="separate planes") as error:
        read_photo(tmp_path / "planes12.tif")
    assert error.value.code == "E_PHOTO_UNREADABLE"


@pytest.mark.parametrize("tags", [[(254, "I", 1, 1, True)], [(50706, "B", 4, (1, 4, 0, 0), True)]])
def test_a_raw_files_preview_is_not_taken_for_the_photo(tags: list[tuple[Any, ...]], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "raw.tif", np.zeros((120, 160, 3), np.uint8), extratags=tags)
    with pytest.raises(UserError, match="E_PHOTO_UNREADABLE.*raw file"):
        read_photo(tmp_path / "raw.tif")


@pytest.mark.parametrize("mode", Image.MODES)
def test_every_pillow_mode_converts(mode: str) -> None:
    """No mode that a decoder can return is refused; a uniform image stays uniform and of the right size."""
    converted, _ = load._to_rgb(Image.new(mode, (5, 3)), "x", [])
    array = np.asarray(converted)
    assert converted.mode == "RGB" and array.shape == (3, 5, 3)
    assert (array == array[0, 0]).all()


def test_hsv_and_palette_alpha_by_value() -> None:
    hsv, _ = load._to_rgb(quadrants().convert("HSV"), "x", [])
    check(np.asarray(hsv), dict(COLOURS), 4)
    pa = quadrants().quantize(4).convert("PA")
    pa.putalpha(alpha())
    check(np.asarray(load._to_rgb(pa, "x", [])[0]), dict(OVER_GREY), 1)


def test_float_extremes() -> None:
    values = np.zeros((4, 4), np.float32)
    values[0] = [np.nan, np.inf, -np.inf, 1.0]
    result = np.asarray(load._to_rgb(Image.fromarray(values), "x", [])[0])[..., 0]
    assert result[0].tolist() == [0, 0, 0, 255]
    big = np.array([[-3e38, 3e38]], np.float32)
    assert np.asarray(load._to_rgb(Image.fromarray(big), "x", [])[0])[0, :, 0].tolist() == [0, 255]
    flat = np.full((2, 2), -7.0, np.float32)
    assert (np.asarray(load._to_rgb(Image.fromarray(flat), "x", [])[0]) == 0).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(suffix: str, orientation: int, tmp_path: Path) -> None:
    """Stored so that the tag brings it upright: the inverse of each operation is written out here by hand."""
    t = Image.Transpose
    stored_by = {2: t.FLIP_LEFT_RIGHT, 3: t.ROTATE_180, 4: t.FLIP_TOP_BOTTOM, 5: t.TRANSPOSE, 6: t.ROTATE_90,
                 7: t.TRANSVERSE, 8: t.ROTATE_270}  # fmt: skip
    image = quadrants()
    if orientation in stored_by:
        image = image.transpose(stored_by[orientation])
    exif = Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"o.{suffix}"
    image.save(path, exif=exif, quality=95)
    check(read_photo(path).image, dict(COLOURS), 12)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_senseless_orientation_is_ignored(value: int, tmp_path: Path) -> None:
    exif = Exif()
    exif[0x0112] = value
    quadrants().save(tmp_path / "o.png", exif=exif)
    check(read_photo(tmp_path / "o.png").image, dict(COLOURS), 0)


@pytest.mark.parametrize(
    "size, noted, share",
    [
        ((400, 300), (4000, 3000), 26 / 43.267),
        ((300, 400), (4000, 3000), 26 / 43.267),  # turned, with the sizes left as they were
        ((300, 200), (), 26 / 43.267),
        ((300, 300), (4000, 3000), None),  # cropped
        ((300, 240), (300, 240), None),  # no camera's shape
        ((400, 300), (0, 0), None),
    ],
)
def test_the_focal_length_is_what_the_camera_noted_of_a_whole_photo(
    size: tuple[int, int], noted: tuple[int, ...], share: float | None, tmp_path: Path
) -> None:
    exif = Exif()
    exif.get_ifd(0x8769).update({0xA405: 26, **dict(zip((0xA002, 0xA003), noted, strict=False))})
    path = tmp_path / "phone.jpg"
    Image.new("RGB", size).save(path, exif=exif)
    found = read_photo(path).focal
    assert found == (None if share is None else pytest.approx(share * np.hypot(*size), rel=1e-4))


def test_without_a_note_there_is_no_focal_length(tmp_path: Path) -> None:
    notes: list[dict[int, Any]] = [{}, {0xA405: 0}, {0xA405: b"wide"}, {0xA405: 5}, {0xA405: 65535}]
    for index, noted in enumerate(notes):
        exif = Exif()
        exif.get_ifd(0x8769).update(noted)
        Image.new("RGB", (400, 300)).save(tmp_path / f"{index}.jpg", exif=exif)
        assert read_photo(tmp_path / f"{index}.jpg").focal is None


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    for index, exif in enumerate([b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*" + b"\0" * 3]):
        path = tmp_path / f"{index}.jpg"
        quadrants().save(path, exif=exif, quality=95)
        check(read_photo(path).image, dict(COLOURS), 6)


def swapped_profile() -> bytes:
    """The sRGB profile with its red and blue colorants exchanged: converting by it exchanges the channels."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = data.index(b"rXYZ"), data.index(b"bXYZ")
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data)


@pytest.mark.parametrize("alpha_too", [False, True])
def test_colour_profile_is_applied(alpha_too: bool, tmp_path: Path) -> None:
    image = with_alpha("RGBA") if alpha_too else quadrants()
    image.save(tmp_path / "p.png", icc_profile=swapped_profile())
    photo = read_photo(tmp_path / "p.png")
    assert photo.notices == ()
    expected: dict[str, object] = {k: v[::-1] for k, v in COLOURS.items() if k in ("tl", "br")}
    check(photo.image, expected, 3)
    assert photo.image[12, 48].tolist() == ([128, 128, 128] if alpha_too else pytest.approx([40, 200, 30], abs=3))


def grey_profile(gamma: float) -> bytes:
    """The least that a profile of grey needs (ICC.1:2022, 8.5 of version 2's tags)."""
    white = struct.pack(">3i", 63190, 65536, 54061)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(79),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": b"XYZ \0\0\0\0" + white,
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, int(gamma * 256)) + b"\0\0",
    }
    start, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, given in tags.items():
        table += name + struct.pack(">II", start + len(body), len(given))
        body += given + bytes(-len(given) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    return (head.ljust(68, b"\0") + white).ljust(128, b"\0") + table + body


@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_the_profile_of_deep_grey_is_applied(gamma: float, tmp_path: Path) -> None:
    """As that of 8 bits is."""
    profile = grey_profile(gamma)
    Image.fromarray(greys()).save(tmp_path / "8.png", icc_profile=profile)
    Image.fromarray(greys().astype(np.uint16) * 257).save(tmp_path / "16.png", icc_profile=profile)
    shallow, deep = (read_photo(tmp_path / f"{bits}.png") for bits in (8, 16))
    assert shallow.notices == deep.notices == ()
    assert np.abs(shallow.image.astype(int) - deep.image).max() <= 1
    assert np.abs(shallow.image.astype(int) - greys()[..., None]).max() > 10


def test_unusable_colour_profile_is_reported(tmp_path: Path) -> None:
    quadrants().save(tmp_path / "p.png", icc_profile=b"not a profile at all")
    photo = read_photo(tmp_path / "p.png")
    check(photo.image, dict(COLOURS), 0)
    assert [n.code for n in photo.notices] == ["W_COLOUR_PROFILE"]
    # A profile for another colour space than the image's.
    lab_profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    quadrants().save(tmp_path / "q.png", icc_profile=lab_profile)
    photo = read_photo(tmp_path / "q.png")
    check(photo.image, dict(COLOURS), 0)
    assert [n.code for n in photo.notices] == ["W_COLOUR_PROFILE"]


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (40_000, 3)])
def test_odd_sizes_are_read(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", size, (9, 8, 7)).save(tmp_path / "s.png")
    assert read_photo(tmp_path / "s.png").image.shape == (size[1], size[0], 3)
