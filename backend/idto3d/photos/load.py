# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a photograph: any Pillow mode and bit depth to upright 8-bit sRGB, or a clear refusal."""

import hashlib
import io
import os
import struct
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin, UnidentifiedImageError

from idto3d.errors import UserError
from idto3d.notices import Notice

from .lens import focal_length

# What cameras sold as 50 megapixel write (8192 x 6144).
MAX_PIXELS = 8192 * 6144

# Raster formats only: Pillow hands EPS to Ghostscript, and stubs such as WMF need a system's own handler.
FORMATS = (
    "JPEG", "PNG", "HEIF", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "JPEG2000", "PPM", "TGA", "PCX", "SGI", "PSD",
    "ICO", "ICNS", "IM", "QOI", "SPIDER", "DDS", "XBM", "MSP",
)  # fmt: skip

_GREY = (128, 128, 128)
_CLEAR = 127  # 0..255: more opaque pixels are the picture's
_OVERSHOOT = 0.1  # of the range of floats: what resampling and sharpening add to it
_EXIF_ORIENTATION = 0x0112
_SUBFILE_TYPE, _DNG_VERSION = 254, 50706  # tags of TIFF
# EXIF orientation -> what brings the stored rows upright (EXIF 2.32, tag 0x0112).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE_IS_ZERO, _SEPARATE = 0, 2  # values of TIFF's PhotometricInterpretation and PlanarConfiguration
_END_OF_JPEG = b"\xff\xd9"
# Largest values of 8, 10, 12, 14 and 16 bits: what a sensor's samples are stored with in 16.
_WHITES = (255, 1023, 4095, 16383, 65535)


@dataclass(frozen=True)
class PhotoFile:
    """Where a photo came from, so that it can be found again. path: as given; sha256 of the file; width, height: in
    pixels, upright."""

    path: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class Photo:
    """image: (H, W, 3) uint8 sRGB, upright; name: the file's name, for messages; focal: see `lens.focal_length`;
    opaque: (H, W) bool, None for everywhere."""

    image: npt.NDArray[np.uint8]
    name: str
    notices: tuple[Notice, ...] = ()
    file: PhotoFile | None = None
    focal: float | None = None
    opaque: npt.NDArray[np.bool_] | None = None


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Reads one image file as an upright 8-bit sRGB photograph.

    EXIF orientation is applied, an embedded colour profile is converted to sRGB, transparency is laid over mid grey and
    told, deeper samples are scaled to 8 bits, and of an animation the first frame is taken.

    Raises UserError: E_PHOTO_MISSING (no such file), E_PHOTO_UNREADABLE (a folder, no permission, empty, not an image,
    damaged), E_PHOTO_TOO_LARGE (more than MAX_PIXELS). Notices: W_COLOUR_PROFILE (unusable profile, ignored),
    W_PHOTO_INCOMPLETE (a JPEG without its end; what is there is used).
    """
    file = Path(path)
    try:
        exists, regular = file.exists(), file.is_file()
    except (OSError, ValueError):  # a name too long, with a null byte, in a folder without permission
        exists = regular = False
    if not exists:
        raise UserError("E_PHOTO_MISSING", f"There is no file {file}.", "Choose the photo again.")
    if not regular:
        raise UserError("E_PHOTO_UNREADABLE", f"{file} is not a file.", "Choose a photo, not a folder.")
    notices: list[Notice] = []
    try:
        with warnings.catch_warnings():
            # Pillow warns about damaged metadata and sizes; the size is checked below, metadata is not needed.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_formats()) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise _too_large(file)
                if opened.width * opened.height == 0:
                    raise OSError("the image is empty")
                if _is_raw(opened):
                    raise _unreadable(file, "it is a camera's raw file, of which only a small preview could be read")
                image = _decode(opened, file, notices)
                colours, alpha = _to_rgb(image, file.name, notices)
                orientation = _orientation(opened)
                rgb = _upright(colours, orientation)
                opaque = None if alpha is None else _upright(alpha, orientation) > _CLEAR
                focal = focal_length(opened)
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(file) from error
    except UnidentifiedImageError as error:
        raise _unreadable(file, _why_unidentified(file)) from error
    except MemoryError as error:
        raise UserError("E_PHOTO_TOO_LARGE", f"{file.name} does not fit in memory.", "Make it smaller.") from error
    except Exception as error:  # decoders raise almost anything on damaged files
        raise _unreadable(file, str(error) or type(error).__name__) from error
    height, width = rgb.shape[:2]
    return Photo(rgb, file.name, tuple(notices), PhotoFile(os.fspath(path), digest, width, height), focal, opaque)


def _is_raw(opened: ImageFile.ImageFile) -> bool:
    """A TIFF whose first image is said to be a reduced one, or a digital negative (DNG 1.7, NewSubfileType)."""
    tags = getattr(opened, "tag_v2", {}) if opened.format == "TIFF" else {}
    return _DNG_VERSION in tags or bool(int(tags.get(_SUBFILE_TYPE, 0)) & 1)


def _decode(opened: ImageFile.ImageFile, file: Path, notices: list[Notice]) -> Image.Image:
    """The image's pixels: of a JPEG without its end the rows that are there, of 16-bit colours all their bits."""
    try:
        deep = any("16" in str(tile[3]) for tile in opened.tile)
        opened.load()
    except OSError as error:
        if opened.format not in ("JPEG", "MPO") or "truncated" not in str(error):
            raise
        notices.append(Notice("W_PHOTO_INCOMPLETE", f"{file.name} is incomplete; what is there is used."))
        return _decode_cut_jpeg(file)
    # Pillow keeps the upper 8 of 16 bits: of 12 bits stored in 16 that is next to nothing.
    if deep and opened.mode in ("RGB", "RGBA") and int(np.asarray(opened)[..., :3].max()) <= _WHITES[-2] >> 8:
        return _decode_deep(file, opened)
    if opened.mode == "I;16" and _tiff_tag(opened, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        return Image.fromarray(_WHITES[-1] - np.asarray(opened))  # Pillow inverts 8 bits only
    return opened


def _tiff_tag(opened: ImageFile.ImageFile, tag: int) -> object:
    return opened.tag_v2.get(tag) if isinstance(opened, TiffImagePlugin.TiffImageFile) else None


def _decode_cut_jpeg(file: Path) -> Image.Image:
    """A JPEG that stops too early, without the rows that are not there."""
    # With an end put on, libjpeg decodes all it has, of a progressive file too, and leaves the rest at middle grey.
    image = Image.open(io.BytesIO(file.read_bytes() + _END_OF_JPEG), formats=("JPEG",))
    image.load()
    last_column = np.asarray(image).reshape(image.height, image.width, -1)[:, -1]
    there = np.flatnonzero(~np.isin(last_column, (127, 128)).all(axis=1))
    if not there.any():
        raise OSError("it has no picture")
    # The last row is mixed with the grey under it, as colours have half the rows.
    rows = image.height if there[-1] == image.height - 1 else int(there[-1])
    cut = image.crop((0, 0, image.width, rows))
    cut.info = image.info
    return cut


def _decode_deep(file: Path, opened: ImageFile.ImageFile) -> Image.Image:
    """16-bit colours by OpenCV, scaled to 8 bits; the opened image where OpenCV cannot read it."""
    if _tiff_tag(opened, TiffImagePlugin.PLANAR_CONFIGURATION) == _SEPARATE:
        raise OSError("its dark colours lie in separate planes of 16 bits")  # which OpenCV takes for interleaved
    samples = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 3 or samples.shape[2] not in (3, 4):
        return opened
    colours = _integer_to_8_bits(samples[..., 2::-1].astype(np.int32))
    if samples.shape[2] == 4:
        colours = np.dstack([colours, (samples[..., 3].astype(np.int32) >> 8).astype(np.uint8)])
    image = Image.fromarray(colours)
    image.info = opened.info
    return image


@cache
def _formats() -> tuple[str, ...]:
    """FORMATS that this Pillow has: it raises KeyError on an unknown name."""
    import pi_heif

    pi_heif.register_heif_opener()
    # Pillow's own reader of uncompressed TIFFs takes separate planes of 16 bits for ones of 8.
    TiffImagePlugin.READ_LIBTIFF = True
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _too_large(file: Path) -> UserError:
    return UserError(
        "E_PHOTO_TOO_LARGE",
        f"{file.name} has more than {MAX_PIXELS / 1e6:.0f} million pixels.",
        "Save it smaller; 12 million pixels are plenty.",
    )


def _unreadable(file: Path, why: str) -> UserError:
    return UserError(
        "E_PHOTO_UNREADABLE", f"{file.name} cannot be read as a photo: {why}.", "Save it as JPEG or PNG and try again."
    )


def _why_unidentified(file: Path) -> str:
    with file.open("rb") as stream:
        head = stream.read(1)
    if not head:
        return "the file is empty"
    return "its format is not a known image format, or it is damaged"


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 when absent or damaged. Call after load: Pillow turns TIFF and AVIF itself there."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
        return int(value) if 1 <= int(value) <= 8 else 1
    except (ArithmeticError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error):  # damaged EXIF
        return 1


def _upright(image: Image.Image, orientation: int) -> npt.NDArray[np.uint8]:
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    return np.array(image, dtype=np.uint8)


def _to_rgb(image: Image.Image, name: str, notices: list[Notice]) -> tuple[Image.Image, Image.Image | None]:
    """Image of any mode to mode RGB in sRGB, and its alpha, if it has any."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        samples = np.asarray(image)
        grey = _float_to_8_bits(samples) if image.mode == "F" else _integer_to_8_bits(samples.astype(np.int32))
        info, image = image.info, Image.fromarray(grey)
        image.info = info  # with the profile
    elif image.has_transparency_data:
        return _over_grey(image, name, notices)
    return _to_srgb(image, name, notices), None


def _over_grey(image: Image.Image, name: str, notices: list[Notice]) -> tuple[Image.Image, Image.Image]:
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    alpha = rgba.getchannel("A")
    grey = image.mode in ("L", "LA", "La", "1")
    colours = rgba.convert("L" if grey else "RGB")  # the mode that the embedded profile speaks about
    if "icc_profile" in image.info:
        colours.info["icc_profile"] = image.info["icc_profile"]
    result = Image.new("RGB", rgba.size, _GREY)
    result.paste(_to_srgb(colours, name, notices), mask=alpha)
    return result, alpha


def _to_srgb(image: Image.Image, name: str, notices: list[Notice]) -> Image.Image:
    """Modes 1, L, P, RGB, RGBX, YCbCr, HSV, CMYK, LAB to RGB, through the embedded profile if there is one."""
    if image.mode in ("P", "RGBX", "YCbCr", "HSV"):
        profile_bytes = image.info.get("icc_profile")
        image = image.convert("RGB")
    elif image.mode == "1":
        return image.convert("RGB")
    else:
        profile_bytes = image.info.get("icc_profile")
    srgb = ImageCms.createProfile("sRGB")
    if profile_bytes and image.mode in ("L", "RGB", "CMYK", "LAB"):
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_bytes))
            converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            notices.append(Notice("W_COLOUR_PROFILE", f"{name}: its colour profile cannot be used and is ignored."))
    if image.mode == "LAB":
        transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), srgb, "LAB", "RGB")
        lab = ImageCms.applyTransform(image, transform)
        if lab is None:
            raise OSError("its Lab colours cannot be converted")
        return lab
    return image.convert("RGB")


def _integer_to_8_bits(values: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """16- or 32-bit samples: the range is the least of _WHITES that holds all or, failing that, what is there."""
    low, high = int(values.min()), int(values.max())
    for white in _WHITES:
        if low >= 0 and high <= white:
            return ((values * 255 + white // 2) // white).astype(np.uint8)
    return _stretch(values.astype(np.float32))


def _float_to_8_bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Float grey: the range is 0..1, 0..255 or 0..65535, with some overshoot, or, failing that, what is there."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    white = next((white for white in (1.0, 255.0, 65535.0) if high <= (1 + _OVERSHOOT) * white), 0.0)
    if white and low >= -_OVERSHOOT * white:
        return np.round(np.clip(values * np.float32(255.0 / white), 0, 255)).astype(np.uint8)
    return _stretch(values)


def _stretch(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    # Halved first: the range of float32 extremes overflows float32.
    span = max(high / 2 - low / 2, 1e-30)
    share = np.clip((values / 2 - np.float32(low / 2)) / np.float32(span), 0.0, 1.0)
    return np.asarray(np.round(share * 255), np.uint8)
