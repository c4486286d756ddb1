# SPDX-License-Identifier: GPL-3.0-or-later
"""The contact sheet: every photo and tile whole, where it belongs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from idto3d import sheet
from idto3d.errors import UserError
from tests.test_photos_load import HEIC


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(150, 100), (100, 150)])
def test_the_sheet_shows_every_photo_whole(count: int, shape: tuple[int, int], tmp_path: Path) -> None:
    for name in ("neutral_front", "neutral_left", "expr_smile"):
        Image.new("RGB", (128, 128), (90, 90, 90)).save(tmp_path / f"{name}.png")
    colours = [(250, 0, 50 * n) for n in range(count)]
    photos = [tmp_path / f"photo{n}.png" for n in range(count)]
    for path, colour in zip(photos, colours, strict=True):
        Image.new("RGB", shape, colour).save(path)
    out = sheet.compose_sheet(tmp_path, photos, tmp_path / "preview.png")
    pixels = np.asarray(Image.open(out).convert("RGB")).astype(int)
    sizes = []
    for colour in colours:
        rows, columns = (pixels == colour).all(axis=2).nonzero()
        high, wide = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
        assert len(rows) == high * wide and abs(wide / high - shape[0] / shape[1]) < 0.05
        sizes.append(len(rows))
    # The head is shown as in the first one, so that is the one to compare it with.
    assert sizes[0] > 0.25 * 256 * 286 and all(size < 0.5 * sizes[0] for size in sizes[1:])
    assert len(set(sizes[1:])) <= 1


def test_sheet(tmp_path: Path) -> None:
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    colours = {
        "neutral_front": (255, 0, 0),
        "neutral_left": (0, 255, 0),
        "expr_smile": (0, 0, 255),
        "expr_anger": (0, 255, 255),
    }
    for name, colour in colours.items():
        Image.new("RGB", (256, 256) if name == "neutral_front" else (128, 128), colour).save(tiles / f"{name}.png")
    # Stored lying, to be shown upright and whole: twice as high as wide.
    photo = Image.new("RGB", (100, 50), (255, 255, 0))
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    out = sheet.compose_sheet(tiles, [tmp_path / "photo.jpg"], tmp_path / "out" / "preview.png", subtitle="a subtitle")
    pixels = np.asarray(Image.open(out).convert("RGB")).astype(int)
    for name, colour in colours.items():
        cells = (pixels == colour).all(axis=2).sum()
        assert cells > 4 * 128 * 128 if name == "neutral_front" else cells == 128 * 128
    yellow = (np.abs(pixels - (255, 255, 0)).max(axis=2) < 6).nonzero()
    high, wide = (int(np.ptp(axis)) + 1 for axis in yellow)
    assert high > 256 and abs(high - 2 * wide) <= 2
    assert [file.name for file in out.parent.iterdir()] == ["preview.png"]
    # What a photo's camera shows takes the large place, and of the photo the same square is shown.
    Image.new("RGB", (256, 256), (255, 0, 255)).save(tiles / "photographed.png")
    Image.new("RGB", (128, 128), colours["neutral_front"]).save(tiles / "neutral_front.png")
    Image.new("RGB", (100, 50), (255, 255, 0)).save(tmp_path / "photo.png")
    window = {"photo.png": (-10.0, 0.0, 40.0)}
    sheet.compose_sheet(tiles, [tmp_path / "photo.png"], out, window)
    pixels = np.asarray(Image.open(out).convert("RGB")).astype(int)
    assert (pixels == (255, 0, 255)).all(axis=2).sum() > 4 * 128 * 128
    assert (pixels == colours["neutral_front"]).all(axis=2).sum() == 128 * 128
    rows, columns = (np.abs(pixels - (255, 255, 0)).max(axis=2) < 6).nonzero()
    assert abs(np.ptp(columns) - 0.75 * np.ptp(rows)) <= 4  # 10 of 40 pixels across lie beyond the photo's edge
    with pytest.raises(UserError) as error:
        sheet.compose_sheet(tmp_path / "out", [], out)
    assert error.value.code == "E_SHEET_TILES"
    # A photo that was left out of the head is left out of the sheet.
    before = out.read_bytes()
    (tmp_path / "note.txt").write_text("no picture")
    sheet.compose_sheet(tiles, [tmp_path / "photo.png", tmp_path / "note.txt"], out, window)
    assert out.read_bytes() == before
    (tiles / "neutral_front.png").write_text("no picture")
    with pytest.raises(UserError) as error:
        sheet.compose_sheet(tiles, [], out)
    assert error.value.code == "E_SHEET_IMAGE"


def test_a_photo_that_the_head_was_made_without_is_not_shown(tmp_path: Path) -> None:
    Image.new("RGB", (128, 128), (90, 90, 90)).save(tmp_path / "photographed.png")
    colours = {"masked.png": (250, 0, 0), "used.png": (0, 250, 0)}
    for name, colour in colours.items():
        Image.new("RGB", (100, 100), colour).save(tmp_path / name)
    windows = {"used.png": (0.0, 0.0, 100.0)}
    out = sheet.compose_sheet(tmp_path, [tmp_path / name for name in colours], tmp_path / "sheet.png", windows)
    pixels = np.asarray(Image.open(out).convert("RGB"))
    assert not (pixels == colours["masked.png"]).all(axis=2).any()
    assert (pixels == colours["used.png"]).all(axis=2).sum() > 128 * 128


def test_the_sheet_shows_a_phones_photo(tmp_path: Path) -> None:
    heic = tmp_path / "phone.heic"
    heic.write_bytes(HEIC)
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    Image.new("RGB", (128, 128), (255, 0, 255)).save(tiles / "neutral_front.png")
    with_photo = Image.open(sheet.compose_sheet(tiles, [heic], tmp_path / "with.png"))
    without = Image.open(sheet.compose_sheet(tiles, [], tmp_path / "without.png"))
    assert with_photo.width > without.width + 128
