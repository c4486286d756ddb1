# SPDX-License-Identifier: GPL-3.0-or-later
"""The sheet: one labelled picture of a head's photos, views and expressions."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from idto3d_shared.photo_names import photo_names

from .errors import UserError
from .photos.load import Photo, read_photo
from .whole_file import whole

MARGIN = 20
GAP = 10
LABEL = 30
TITLE = 54
TITLE_TEXT = "ID-to-3D"
HEADING = 40
COLUMNS = 6
BACKGROUND = (24, 25, 28)
INK = (235, 235, 235)
FAINT = (165, 168, 175)
_LARGE = {"photographed": "from the photo's camera, in its light", "neutral_front": "front"}
"""The first of these tiles that exists is shown large, beside the photo."""
_VIEWS = {
    "neutral_front": "front",
    "neutral_right": "right",
    "neutral_left": "left",
    "neutral_back": "back",
    "normals": "normals",
    "albedo": "albedo",
}

_Entry = tuple[str, Image.Image]
Window = tuple[float, float, float]
"""left, top, side: a square of a photo, in its pixels"""
_Box = tuple[int, int, int, int]
"""left, top, width, height"""


def compose_sheet(
    tiles_dir: str | Path,
    photo_paths: Sequence[str | Path],
    out: str | Path,
    windows: Mapping[str, Window] | None = None,
    subtitle: str = "",
) -> Path:
    """Compose the tiles that idto3d_blender.head.headless rendered, and the input photos, into the PNG ``out``.

    Above: the photos, cropped to their windows (by `photo_names`), the first one large, beside it the head by that
    photo's camera (or from the front), and its other views. Below: the expressions in the order in which they were
    rendered. A photo that has no window, or cannot be read, so that the head was made without it, is left out. ``out``
    is replaced only by a complete picture. Raises UserError E_SHEET_TILES when there is no tile, E_SHEET_IMAGE when one
    cannot be read.
    """
    folder = Path(tiles_dir)
    there = {name for name in (*_LARGE, *_VIEWS) if (folder / f"{name}.png").is_file()}
    large = next((name for name in _LARGE if name in there), "")
    front = [(_LARGE[large], folder / f"{large}.png")] if large else []
    views = [(label, folder / f"{name}.png") for name, label in _VIEWS.items() if name in there and name != large]
    files = sorted(folder.glob("expr_*.png"), key=lambda file: (file.stat().st_mtime_ns, file.name))
    expressions = [(file.stem.removeprefix("expr_").replace("_", " "), file) for file in files]
    if not front and not views and not expressions:
        raise UserError("E_SHEET_TILES", f"There are no pictures in {folder.name}.", "Render the head first.")
    photos, known = _readable(photo_paths), windows or {}
    if windows is not None:
        photos = [photo for photo in photos if photo.name in windows]  # the others are no part of the head
    sheet = _draw(
        [_shown(photo, known.get(photo.name), n == 0) for n, photo in enumerate(photos)],
        [(label, _open(file)) for label, file in front],
        [(label, _open(file)) for label, file in views],
        [(label, _open(file)) for label, file in expressions],
        subtitle,
    )
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole(out) as partial:
        sheet.save(partial, format="PNG", optimize=True)
    return out


def _readable(paths: Sequence[str | Path]) -> list[Photo]:
    out = []
    for path, name in zip(paths, photo_names(paths), strict=True):
        with suppress(UserError):
            out.append(replace(read_photo(path), name=name))
    return out


def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except OSError as error:
        raise UserError("E_SHEET_IMAGE", f"{file.name} cannot be read as an image.", "Check the file.") from error


def _shown(photo: Photo, window: Window | None, beyond: bool) -> Image.Image:
    """What a window shows; beyond: also where it reaches over the photo's edge, so that the head beside it is as large
    and in the same place."""
    image = Image.fromarray(photo.image)
    if window is None:
        return image
    left, top, side = map(round, window)
    if not beyond:
        return image.crop((max(left, 0), max(top, 0), min(left + side, image.width), min(top + side, image.height)))
    out = Image.new("RGB", (side, side), BACKGROUND)
    out.paste(image, (-left, -top))
    return out


def _draw(
    photos: Sequence[Image.Image],
    front: Sequence[_Entry],
    views: Sequence[_Entry],
    expressions: Sequence[_Entry],
    subtitle: str,
) -> Image.Image:
    size = (views or expressions)[0][1].width if views or expressions else front[0][1].width // 2
    cell, step = size + LABEL, size + GAP
    # Two rows of cells: two columns of photos, two of the front, and the views, each where there is one.
    blocks = [len(group) > 0 for group in (photos, front, views)]
    across = -(-len(views) // 2)
    columns = max(2 * sum(blocks[:2]) + across, min(COLUMNS, len(expressions)))
    width = 2 * MARGIN + columns * step - GAP
    above = HEADING + 2 * cell + 2 * GAP if any(blocks) else 0
    rows = -(-len(expressions) // columns)
    below = HEADING + rows * (cell + GAP) if expressions else 0
    sheet = Image.new("RGB", (width, 2 * MARGIN + TITLE + above + below), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), TITLE_TEXT, INK, ImageFont.load_default(34))
    if subtitle:
        draw.text((width - MARGIN, MARGIN + 20), subtitle, FAINT, _fit(draw, subtitle, width // 2, 20), anchor="rm")
    left, y = MARGIN, MARGIN + TITLE
    large = (2 * step - GAP, 2 * cell + GAP - LABEL)
    if photos:
        _heading(draw, left, y, "Photo" if len(photos) == 1 else "Photos")
        _photos(sheet, photos, (left, y + HEADING, large[0], large[1] + LABEL))
        left += 2 * step
    if front or views:
        _heading(draw, left, y, "Neutral")
    for label, image in front:
        _paste(sheet, image, (left, y + HEADING, *large), label)
        left += 2 * step
    for n, (label, image) in enumerate(views):
        place = (left + n % across * step, y + HEADING + n // across * (cell + GAP), size, size)
        _paste(sheet, image, place, label)
    if expressions:
        y += above
        _heading(draw, MARGIN, y, "Expressions")
        for n, (label, image) in enumerate(expressions):
            top = y + HEADING + n // columns * (cell + GAP)
            _paste(sheet, image, (MARGIN + n % columns * step, top, size, size), label)
    return sheet


def _heading(draw: ImageDraw.ImageDraw, x: int, y: int, text: str) -> None:
    draw.text((x, y + HEADING // 2), text, FAINT, ImageFont.load_default(22), anchor="lm")


def _paste(sheet: Image.Image, image: Image.Image, box: _Box, label: str) -> None:
    """A render, which fills its box, over its label."""
    x, y, width, height = box
    sheet.paste(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS), (x, y))
    draw = ImageDraw.Draw(sheet)
    draw.text((x + width // 2, y + height + 17), label, INK, _fit(draw, label, width, 20), anchor="mm")


def _photos(sheet: Image.Image, photos: Sequence[Image.Image], box: _Box) -> None:
    """The first photo, which the head beside it is compared with, as large as the others in a column to its right
    allow; all of them whole."""
    left, y, width, _ = box
    first, *others = photos
    if not others:
        _whole(sheet, first, box)
        return
    rows = max(2, len(others))
    side = (width - rows * GAP) // (rows + 1)  # so that the column is as high as the first one
    large = width - GAP - side
    _whole(sheet, first, (left, y, large, large))
    for row, photo in enumerate(others):
        _whole(sheet, photo, (left + large + GAP, y + row * (side + GAP), side, side))


def _whole(sheet: Image.Image, photo: Image.Image, box: _Box) -> None:
    """A photo, unchanged in shape, in the upper left of a box."""
    x, y, width, height = box
    scale = min(width / photo.width, height / photo.height)
    size = max(1, round(scale * photo.width)), max(1, round(scale * photo.height))
    sheet.paste(photo.resize(size, Image.Resampling.LANCZOS), (x, y))


def _fit(draw: ImageDraw.ImageDraw, text: str, width: int, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest font up to ``size`` pixels in which ``text`` fits ``width``, but never below 12."""
    font = ImageFont.load_default(size)
    while size > 12 and draw.textlength(text, font) > width:
        size -= 1
        font = ImageFont.load_default(size)
    return font
