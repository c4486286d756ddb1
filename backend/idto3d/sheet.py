# SPDX-License-Identifier: GPL-3.0-or-later
"""One labelled picture of a head: the photos it was made from, its views, its expressions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from .errors import UserError

MARGIN = 20
GAP = 10
LABEL = 30
TITLE = 54
HEADING = 40
COLUMNS = 6
BACKGROUND = (24, 25, 28)
INK = (235, 235, 235)
FAINT = (165, 168, 175)
_VIEWS = {
    "neutral_right": "right",
    "neutral_front": "front",
    "neutral_left": "left",
    "clay": "geometry",
    "normals": "normals",
    "albedo": "albedo",
}

_Entry = tuple[str, Image.Image]


def compose_sheet(
    tiles_dir: str | Path,
    photo_paths: Sequence[str | Path],
    out: str | Path,
    title: str = "ID-to-3D",
    subtitle: str = "",
) -> Path:
    """Compose the tiles that idto3d_blender.headless rendered, and the input photos, into the PNG ``out``.

    Rows: photos (whole, not cropped), views of the neutral head, expressions in the order in which they were rendered.
    ``out`` is replaced only by a complete picture. Raises UserError E_SHEET_TILES when there is no tile, E_SHEET_IMAGE
    when an image cannot be read.
    """
    folder = Path(tiles_dir)
    views = [(label, folder / f"{name}.png") for name, label in _VIEWS.items() if (folder / f"{name}.png").is_file()]
    files = sorted(folder.glob("expr_*.png"), key=lambda file: (file.stat().st_mtime_ns, file.name))
    expressions = [(file.stem.removeprefix("expr_").replace("_", " "), file) for file in files]
    if not views and not expressions:
        raise UserError("E_SHEET_TILES", f"There are no pictures in {folder.name}.", "Render the head first.")
    photos = [("" if len(photo_paths) == 1 else str(n), Path(path)) for n, path in enumerate(photo_paths, 1)]
    sections = [
        ("Photo" if len(photos) == 1 else "Photos", [(label, _open(file)) for label, file in photos]),
        ("Neutral", [(label, _open(file)) for label, file in views]),
        ("Expressions", [(label, _open(file)) for label, file in expressions]),
    ]
    size = (sections[1][1] or sections[2][1])[0][1].width
    sheet = _draw([section for section in sections if section[1]], size, title, subtitle)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    try:
        sheet.save(temporary, format="PNG", optimize=True)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return out


def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            # A phone's photo is turned only by its EXIF tag.
            return (ImageOps.exif_transpose(image) or image).convert("RGB")
    except OSError as error:
        raise UserError("E_SHEET_IMAGE", f"{file.name} cannot be read as an image.", "Check the file.") from error


def _draw(sections: Sequence[tuple[str, Sequence[_Entry]]], size: int, title: str, subtitle: str) -> Image.Image:
    columns = min(COLUMNS, max(len(entries) for _, entries in sections))
    rows = [-(-len(entries) // columns) for _, entries in sections]
    width = 2 * MARGIN + columns * size + (columns - 1) * GAP
    height = 2 * MARGIN + TITLE + len(sections) * HEADING + sum(rows) * (size + LABEL + GAP)
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, ImageFont.load_default(34))
    if subtitle:
        draw.text((width - MARGIN, MARGIN + 20), subtitle, FAINT, _fit(draw, subtitle, width // 2, 20), anchor="rm")
    y = MARGIN + TITLE
    for (heading, entries), count in zip(sections, rows, strict=True):
        draw.text((MARGIN, y + HEADING // 2), heading, FAINT, ImageFont.load_default(22), anchor="lm")
        y += HEADING
        for n, (label, image) in enumerate(entries):
            x = MARGIN + (n % columns) * (size + GAP)
            top = y + n // columns * (size + LABEL + GAP)
            sheet.paste(ImageOps.pad(image, (size, size), color=BACKGROUND), (x, top))
            draw.text((x + size // 2, top + size + 17), label, INK, _fit(draw, label, size, 20), anchor="mm")
        y += count * (size + LABEL + GAP)
    return sheet


def _fit(draw: ImageDraw.ImageDraw, text: str, width: int, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest font up to ``size`` pixels in which ``text`` fits ``width``, but never below 12."""
    font = ImageFont.load_default(size)
    while size > 12 and draw.textlength(text, font) > width:
        size -= 1
        font = ImageFont.load_default(size)
    return font
