# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles: round trip, whole or absent, and the same refusals from the generator's and from Blender's reader."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from idto3d import bundle, sheet
from idto3d.errors import UserError
from idto3d_blender import bundle as blender_bundle
from tests.blender import synthetic_bundle as synthetic


def example() -> bundle.Bundle:
    """A bundle with every field used and pixels that are not all alike."""
    rng = np.random.default_rng(0)

    def image(*shape: int) -> Any:
        return rng.integers(0, 256, shape, dtype=np.uint8)

    arrays: dict[str, Any] = synthetic.ellipsoid()
    return bundle.Bundle(
        **arrays,
        expressions=synthetic.EXPRESSIONS,
        albedo=image(32, 32, 3),
        roughness=image(16, 16),
        specular=image(8, 8),
        preview=image(20, 30, 3),
        expression_albedo={"smile": image(16, 16, 3)},
        pack="synthetic",
        seed=2**40,
        settings={"preset": "draft", "steps": 3},
        photos=(bundle.PhotoScore("a.jpg", 0.75), bundle.PhotoScore("b.jpg")),
        timings={"geometry": 1.5},
        licence="CC0-1.0",
        consent="Zoë agreed",
    )


def test_round_trip(tmp_path: Path) -> None:
    written = example()
    read = bundle.read_bundle(bundle.write_bundle(written, tmp_path / "deep" / "head"))
    for name in ("vertices", "faces", "uv", "faces_uv", "offsets", "albedo", "roughness", "specular", "preview"):
        assert np.array_equal(getattr(read, name), getattr(written, name)), name
        assert getattr(read, name).dtype == getattr(written, name).dtype
    assert read.expression_albedo.keys() == {"smile"}
    assert np.array_equal(read.expression_albedo["smile"], written.expression_albedo["smile"])
    for name in ("expressions", "pack", "seed", "settings", "photos", "timings", "licence", "consent", "generator"):
        assert getattr(read, name) == getattr(written, name), name
    assert bundle.validate(tmp_path / "deep" / "head") == []


def test_blender_reads_what_the_generator_writes(tmp_path: Path) -> None:
    written = example()
    head = blender_bundle.read(bundle.write_bundle(written, tmp_path / "head"))
    assert head.name == "head" and head.expressions == written.expressions
    for name in ("vertices", "faces", "uv", "faces_uv", "offsets"):
        assert np.array_equal(getattr(head, name), getattr(written, name)), name
    assert head.maps["albedo"].name == "albedo.png" and set(head.expression_albedo) == {"smile"}
    assert head.info["consent"] == "Zoë agreed"
    assert blender_bundle.bundle_folder(tmp_path / "head" / "head.json") == tmp_path / "head"


def test_photo_folders_are_not_stored(tmp_path: Path) -> None:
    photos = (bundle.PhotoScore("/home/someone/holiday/a.jpg", 0.5),)
    path = bundle.write_bundle(replace(example(), photos=photos), tmp_path / "head")
    assert "someone" not in (path / "head.json").read_text(encoding="utf-8")


def test_frame_and_quantisation() -> None:
    # The face looks along +Z, the crown is +Y; in Blender's frame along -Y, and +Z.
    points = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    assert np.array_equal(bundle.to_blender_frame(points), [[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    assert bundle.to_uint8(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 128, 255, 255]


def test_warnings(tmp_path: Path) -> None:
    still = example().offsets.copy()
    still[1] = 0
    vertices = np.concatenate([example().vertices, np.zeros((2, 3), dtype=np.float32)])
    still = np.pad(still, ((0, 0), (0, 2), (0, 0)))
    path = bundle.write_bundle(replace(example(), offsets=still, vertices=vertices), tmp_path / "head")
    assert bundle.validate(path) == [
        "Expression mouth_stretch does not move any vertex.",
        "2 vertices belong to no face.",
    ]


def test_a_failed_write_leaves_the_old_bundle(tmp_path: Path) -> None:
    path = bundle.write_bundle(example(), tmp_path / "head")
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    bad = example().vertices.copy()
    bad[3, 1] = np.nan
    with pytest.raises(UserError) as error:
        bundle.write_bundle(replace(example(), vertices=bad), path)
    assert error.value.code == "E_BUNDLE_NAN"
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["head"]


def test_a_failed_rename_brings_the_old_bundle_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundle.write_bundle(example(), tmp_path / "head")
    rename = os.rename

    def fail(source: Path, target: Path) -> None:
        if ".tmp-" in Path(source).name:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(UserError) as error:
        bundle.write_bundle(replace(example(), seed=7), path)
    assert error.value.code == "E_BUNDLE_WRITE" and "No space left" in error.value.message
    assert bundle.read_bundle(path).seed == 2**40
    assert [entry.name for entry in tmp_path.iterdir()] == ["head"]


def test_replacing_keeps_files_that_are_not_the_bundles(tmp_path: Path) -> None:
    path = bundle.write_bundle(example(), tmp_path / "head")
    (path / "head.blend").write_bytes(b"work of an evening")
    bundle.write_bundle(replace(example(), seed=7, expression_albedo={}), path)
    assert bundle.read_bundle(path).seed == 7
    assert (path / "head.blend").read_bytes() == b"work of an evening"
    assert not (path / "albedo_smile.png").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["head"]


@pytest.mark.parametrize("renames", [1, 2])
def test_a_kill_between_the_renames_loses_nothing(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with the old bundle aside and the new one not yet in place, or in place without the user's own files."""
    path = tmp_path / "head [1]"
    bundle.write_bundle(example(), path)
    (path / "mine.blend").write_text("mine")
    rename = os.rename
    done: list[Any] = []

    def killed(source: Any, target: Any) -> None:
        if len(done) == renames:
            raise KeyboardInterrupt  # no handler for OSError mends this, as none mends a kill
        rename(source, target)
        done.append(target)

    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        bundle.write_bundle(example(), path)
    monkeypatch.undo()
    bundle.write_bundle(example(), path)
    bundle.validate(path)
    assert (path / "mine.blend").read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(UserError) as error:
        bundle.write_bundle(example(), tmp_path)
    assert error.value.code == "E_BUNDLE_WRITE"
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"albedo": np.zeros((16, 16, 3), dtype=np.float32)}, "E_BUNDLE_MAP"),
        ({"roughness": np.zeros((16, 16, 3), dtype=np.uint8)}, "E_BUNDLE_MAP"),
        ({"expression_albedo": {"frown": np.zeros((16, 16, 3), dtype=np.uint8)}}, "E_BUNDLE_EXPRESSIONS"),
        ({"expressions": ("smile", "../escape", "brow_raiser")}, "E_BUNDLE_EXPRESSIONS"),
        ({"settings": {"cfg": float("inf")}}, "E_BUNDLE_JSON"),
    ],
)
def test_write_refuses(change: dict[str, Any], code: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        bundle.write_bundle(replace(example(), **change), tmp_path / "head")
    assert error.value.code == code
    assert list(tmp_path.iterdir()) == []


def edit_header(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        header = {**json.loads((path / "head.json").read_text(encoding="utf-8")), **changes}
        (path / "head.json").write_text(json.dumps(header), encoding="utf-8")

    return change


def edit_array(name: str, value: Callable[[Any], Any] | None) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with np.load(path / "head.npz") as stored:
            arrays = dict(stored)
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value(arrays[name])
        np.savez(path / "head.npz", **arrays)

    return change


def put(index: Any, number: float) -> Callable[[Any], Any]:
    def value(array: Any) -> Any:
        array = array.copy()
        array[index] = number
        return array

    return value


def picture(name: str, width: int, height: int, mode: str = "RGB") -> Callable[[Path], None]:
    return lambda path: Image.new(mode, (width, height)).save(path / name)


def cut(name: str) -> Callable[[Path], Any]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-16])


def flip_a_byte(path: Path) -> None:
    data = bytearray((path / "albedo.png").read_bytes())
    data[45] ^= 255
    (path / "albedo.png").write_bytes(data)


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "later version": (edit_header(format_version=2), "E_BUNDLE_VERSION"),
    "version true": (edit_header(format_version=True), "E_BUNDLE_VERSION"),
    "no version": (edit_header(format_version=None), "E_BUNDLE_VERSION"),
    "millimetres": (edit_header(units="millimetres"), "E_BUNDLE_UNITS"),
    "size of a house": (edit_array("vertices", lambda v: v * 100), "E_BUNDLE_UNITS"),
    "too few names": (edit_header(expressions=["smile", "mouth_stretch"]), "E_BUNDLE_EXPRESSIONS"),
    "too few offsets": (edit_array("offsets", lambda o: o[:2]), "E_BUNDLE_EXPRESSIONS"),
    "a name twice": (edit_header(expressions=["smile", "Smile", "mouth_stretch"]), "E_BUNDLE_EXPRESSIONS"),
    "neutral as a key": (edit_header(expressions=["neutral", "smile", "mouth_stretch"]), "E_BUNDLE_EXPRESSIONS"),
    "a path as a name": (edit_header(expressions=["../a", "smile", "mouth_stretch"]), "E_BUNDLE_EXPRESSIONS"),
    "names not a list": (edit_header(expressions="smile"), "E_BUNDLE_JSON"),
    "not JSON": (lambda path: (path / "head.json").write_text("{"), "E_BUNDLE_JSON"),
    "a JSON list": (lambda path: (path / "head.json").write_text("[]"), "E_BUNDLE_JSON"),
    "NaN vertex": (edit_array("vertices", put((5, 1), np.nan)), "E_BUNDLE_NAN"),
    "infinite offset": (edit_array("offsets", put((1, 5, 1), np.inf)), "E_BUNDLE_NAN"),
    "NaN uv": (edit_array("uv", put((0, 0), np.nan)), "E_BUNDLE_NAN"),
    "face out of range": (edit_array("faces", put((0, 0), 100_000)), "E_BUNDLE_INDEX"),
    "negative face": (edit_array("faces", put((0, 0), -1)), "E_BUNDLE_INDEX"),
    "faces_uv out of range": (edit_array("faces_uv", put((7, 2), 100_000)), "E_BUNDLE_INDEX"),
    "uv outside": (edit_array("uv", put((0, 0), 1.5)), "E_BUNDLE_INDEX"),
    "a face with one vertex twice": (edit_array("faces", put(0, 3)), "E_BUNDLE_INDEX"),
    "no offsets": (edit_array("offsets", None), "E_BUNDLE_ARRAYS"),
    "float64": (edit_array("vertices", lambda v: v.astype(np.float64)), "E_BUNDLE_ARRAYS"),
    "offsets of another mesh": (edit_array("offsets", lambda o: o[:, :-1]), "E_BUNDLE_ARRAYS"),
    "faces_uv of another mesh": (edit_array("faces_uv", lambda f: f[:-1]), "E_BUNDLE_ARRAYS"),
    "flat vertices": (edit_array("vertices", lambda v: v.ravel()), "E_BUNDLE_ARRAYS"),
    "no faces": (
        lambda path: (edit_array("faces", lambda f: f[:0])(path), edit_array("faces_uv", lambda f: f[:0])(path)),
        "E_BUNDLE_ARRAYS",
    ),
    "objects": (edit_array("vertices", lambda v: v.astype(object)), "E_BUNDLE_ARRAYS"),
    "cut npz": (cut("head.npz"), "E_BUNDLE_ARRAYS"),
    "no npz": (lambda path: (path / "head.npz").unlink(), "E_BUNDLE_MISSING"),
    "no header": (lambda path: (path / "head.json").unlink(), "E_BUNDLE_MISSING"),
    "no map": (lambda path: (path / "specular.png").unlink(), "E_BUNDLE_MISSING"),
    "no preview": (lambda path: (path / "preview.png").unlink(), "E_BUNDLE_MISSING"),
    "not square": (picture("albedo.png", 16, 32), "E_BUNDLE_MAP"),
    "not a power of two": (picture("roughness.png", 24, 24, "L"), "E_BUNDLE_MAP"),
    "16 bits": (picture("specular.png", 16, 16, "I;16"), "E_BUNDLE_MAP"),
    "expression's map not square": (picture("albedo_smile.png", 16, 8), "E_BUNDLE_MAP"),
    "a map without expression": (picture("albedo_frown.png", 16, 16), "E_BUNDLE_EXPRESSIONS"),
    "a JPEG": (lambda path: Image.new("RGB", (16, 16)).save(path / "albedo.png", format="JPEG"), "E_BUNDLE_MAP"),
    "cut map": (cut("roughness.png"), "E_BUNDLE_MAP"),
    "damaged map": (flip_a_byte, "E_BUNDLE_MAP"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_both_readers_refuse_alike(case: str, tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "head")
    bundle.validate(path)
    blender_bundle.read(path)
    change, code = BROKEN[case]
    change(path)
    with pytest.raises(UserError) as ours:
        bundle.validate(path)
    with pytest.raises(blender_bundle.BundleError) as blenders:
        blender_bundle.read(path)
    assert (ours.value.code, blenders.value.code) == (code, code)
    assert ours.value.message.endswith(".") and blenders.value.fix


@pytest.mark.parametrize(
    "change",
    [{"seed": "1"}, {"pack": None}, {"seed": True}, {"photos": [{"name": "a"}]}, {"photos": ["a.jpg"]}],
)
def test_the_generator_checks_its_whole_header(change: dict[str, Any], tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "head")
    edit_header(**change)(path)
    with pytest.raises(UserError) as error:
        bundle.validate(path)
    assert error.value.code == "E_BUNDLE_JSON"


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
    covered = 0
    for colour in colours:
        rows, columns = (pixels == colour).all(axis=2).nonzero()
        high, wide = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
        assert len(rows) == high * wide and abs(wide / high - shape[0] / shape[1]) < 0.05
        covered += len(rows)
    assert covered > 0.35 * 256 * 286


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
    with pytest.raises(UserError) as error:
        sheet.compose_sheet(tmp_path / "out", [], out)
    assert error.value.code == "E_SHEET_TILES"
    (tmp_path / "note.txt").write_text("no picture")
    with pytest.raises(UserError) as error:
        sheet.compose_sheet(tiles, [tmp_path / "note.txt"], out)
    assert error.value.code == "E_SHEET_IMAGE"
