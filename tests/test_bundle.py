# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles: round trip, whole or absent, and what is refused. tests/test_bundle_fuzz.py has what nobody thought of."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idto3d import bundle, replace_folder
from idto3d.bundle import Bundle, BundleMaterial, PhotoScore, Wrinkles
from idto3d.bundle.write import mean_colour
from idto3d.errors import UserError
from idto3d_blender.head.bundle import bundle_folder, read_bundle_files
from idto3d_shared.renaming import rename
from tests.blender import synthetic_bundle as synthetic
from tests.example_bundle import example


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, BundleMaterial | Wrinkles):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


def test_round_trip(tmp_path: Path) -> None:
    written = example()
    read = bundle.read_bundle(bundle.write_bundle(written, tmp_path / "deep" / "head"))
    for field in fields(Bundle):
        assert same(getattr(read, field.name), getattr(written, field.name)), field.name
    assert bundle.validate(tmp_path / "deep" / "head") == []


def test_round_trip_of_the_least(tmp_path: Path) -> None:
    """Triangles only, no expression, one material that is not skin."""
    arrays: dict[str, Any] = synthetic.head()
    kept = arrays["faces"][:, 3] < 0
    for name in ("faces", "faces_uv", "material", "part"):
        arrays[name] = arrays[name][kept] * (1 if name.startswith("faces") else 0)
    arrays["offsets"] = arrays["offsets"][:0]
    stone = BundleMaterial("stone", np.full((4, 4, 3), 90, np.uint8), 1.0, 0.0)
    least = Bundle(
        **arrays,
        parts=("all",),
        materials=(stone,),
        expressions=(),
        expression_groups=(),
        preview=np.zeros((1, 1, 3), dtype=np.uint8),
    )
    read = bundle.read_bundle(bundle.write_bundle(least, tmp_path / "head"))
    for field in fields(Bundle):
        assert same(getattr(read, field.name), getattr(least, field.name)), field.name


def test_the_same_head_makes_the_same_files(tmp_path: Path) -> None:
    one, two = (bundle.write_bundle(example(), tmp_path / name) for name in ("one", "two"))
    files = sorted(file.relative_to(one) for file in one.rglob("*.*"))
    assert len(files) == 16
    for file in files:
        assert (one / file).read_bytes() == (two / file).read_bytes(), file


def test_blender_reads_what_the_generator_writes(tmp_path: Path) -> None:
    written = example()
    head = read_bundle_files(bundle.write_bundle(written, tmp_path / "head"))
    assert head.version == 2 and head.expressions == written.expressions and head.parts == written.parts
    for name in ("vertices", "faces", "uv", "faces_uv", "offsets", "material", "part", "seen"):
        assert np.array_equal(getattr(head, name), getattr(written, name)), name
    skin, eyes, *_ = head.materials
    assert skin.roughness is None and skin.maps["albedo_smile"] == "maps/skin_albedo_smile.png"
    assert (eyes.roughness, eyes.specular, set(eyes.maps)) == (0.1, 0.5, {"albedo"})
    assert head.info["consent"] == "Zoë agreed"
    assert bundle_folder(tmp_path / "head" / "head.json") == tmp_path / "head"


def test_format_1_reads_in_the_words_of_format_2(tmp_path: Path) -> None:
    old = synthetic.ellipsoid()
    path = synthetic.write_format_1(tmp_path / "head")
    head = read_bundle_files(path)
    assert head.version == 1 and head.seen is None and head.parts == ("head",)
    assert np.array_equal(head.faces[:, :3], old["faces"]) and (head.faces[:, 3] == -1).all()
    assert not head.material.any() and not head.part.any()
    (skin,) = head.materials
    assert (skin.name, skin.alpha, skin.maps["albedo_mouth_stretch"]) == ("skin", "opaque", "albedo_mouth_stretch.png")
    with pytest.raises(UserError) as error:
        bundle.read_bundle(path)
    assert error.value.code == "E_BUNDLE_VERSION"


def test_photo_folders_are_not_stored(tmp_path: Path) -> None:
    photos = (PhotoScore("/home/someone/holiday/a.jpg", 0.5),)
    path = bundle.write_bundle(replace(example(), photos=photos), tmp_path / "head")
    assert "someone" not in (path / "head.json").read_text(encoding="utf-8")


def test_frame_and_quantisation() -> None:
    # The face looks along +Z, the crown is +Y; in Blender's frame along -Y, and +Z.
    points = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    there = bundle.to_blender_frame(points)
    assert np.array_equal(there, [[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    assert np.array_equal(bundle.to_head_frame(there), points)
    assert bundle.to_uint8(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 128, 255, 255]


def test_colour_of_a_material() -> None:
    """Of the texels that the faces lie on, the clear ones counted less."""
    albedo = np.zeros((4, 4, 4), np.uint8)
    albedo[3, 0], albedo[3, 1] = (250, 0, 0, 255), (0, 100, 0, 51)  # the lower left corner: v up
    uv = np.array([(0, 0), (0.2, 0), (0.1, 0.2), (0.25, 0), (0.45, 0), (0.35, 0.2)], np.float32)
    given = replace(
        example(),
        uv=uv,
        faces_uv=np.array([(0, 1, 2, -1), (3, 4, 5, -1)], np.int32),
        material=np.zeros(2, np.int32),
        materials=(BundleMaterial("film", albedo, 0.5, 0.5, alpha="blend"),),
    )
    assert mean_colour(given, 0) == pytest.approx([250 / 255 / 1.2, 0.2 * 100 / 255 / 1.2, 0, 0.6], abs=1e-3)


def test_warnings(tmp_path: Path) -> None:
    given = example()
    still = given.offsets.copy()
    still[1] = 0
    vertices = np.concatenate([given.vertices, np.zeros((2, 3), dtype=np.float32)])
    seen = np.concatenate([given.seen, np.zeros(2, dtype=np.float32)])
    still = np.pad(still, ((0, 0), (0, 2), (0, 0)))
    path = bundle.write_bundle(replace(given, offsets=still, vertices=vertices, seen=seen), tmp_path / "head")
    assert bundle.validate(path) == [
        "Expression mouth_stretch does not move any vertex.",
        "2 vertices belong to no face.",
    ]


def test_a_failed_write_leaves_the_old_bundle(tmp_path: Path) -> None:
    path = bundle.write_bundle(example(), tmp_path / "head")
    before = {file: file.read_bytes() for file in path.rglob("*.*")}
    bad = example().vertices.copy()
    bad[3, 1] = np.nan
    with pytest.raises(UserError) as error:
        bundle.write_bundle(replace(example(), vertices=bad), path)
    assert error.value.code == "E_BUNDLE_NAN"
    assert {file: file.read_bytes() for file in path.rglob("*.*")} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["head"]


def test_a_failed_rename_brings_the_old_bundle_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundle.write_bundle(example(), tmp_path / "head")

    def fail(source: Path, target: Path) -> None:
        if ".tmp-" in Path(source).name:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(replace_folder, "rename", fail)
    with pytest.raises(UserError) as error:
        bundle.write_bundle(replace(example(), seed=7), path)
    assert error.value.code == "E_BUNDLE_WRITE" and "No space left" in error.value.message
    assert bundle.read_bundle(path).seed == 2**40
    assert [entry.name for entry in tmp_path.iterdir()] == ["head"]


def test_replacing_keeps_files_that_are_not_the_bundles(tmp_path: Path) -> None:
    path = bundle.write_bundle(example(), tmp_path / "head")
    (path / "head.blend").write_bytes(b"work of an evening")
    (path / "maps" / "skin_painted.psd").write_bytes(b"and of a night")
    (path / "renders").mkdir()
    bundle.write_bundle(replace(example(), seed=7, expression_albedo={}), path)
    assert bundle.read_bundle(path).seed == 7
    assert (path / "head.blend").read_bytes() == b"work of an evening"
    assert (path / "maps" / "skin_painted.psd").read_bytes() == b"and of a night" and (path / "renders").is_dir()
    assert not (path / "maps" / "skin_albedo_smile.png").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["head"]


def test_replacing_keeps_files_that_are_only_named_like_the_bundles(tmp_path: Path) -> None:
    path = bundle.write_bundle(replace(example(), wrinkles=None), tmp_path / "head")
    mine = ("maps/painted_albedo.png", "maps/skin_albedo_mine.png", "albedo_wall.png", "roughness.png")
    for name in mine:
        (path / name).write_text(name)
    new = [f"maps/skin_{kind}.png" for kind in ("wrinkles_up", "wrinkles_up_mask_1")]
    for name in new:  # the next head takes these names
        (path / name).write_text("mine")
    for _ in range(2):
        bundle.write_bundle(replace(example(), expression_albedo={}), path)
        bundle.validate(path)
        assert [(path / name).read_text() for name in mine] == [*mine]
        kept = [path / name.replace(".png", " (2).png") for name in new]
        assert {file.read_text() for file in kept} == {"mine"}
        assert len(list(path.rglob("* (*"))) == len(kept)
        assert not (path / "maps" / "skin_albedo_smile.png").exists()


def test_replacing_a_head_that_does_not_tell_keeps_all_that_the_new_one_lacks(tmp_path: Path) -> None:
    path = bundle.write_bundle(example(), tmp_path / "head")
    (path / "maps" / "wall_albedo.png").write_text("mine")
    before = {file.relative_to(path) for file in path.rglob("*.*")}
    (path / "head.json").write_text("{")
    bundle.write_bundle(replace(example(), seed=7), path)
    assert bundle.read_bundle(path).seed == 7
    assert {file.relative_to(path) for file in path.rglob("*.*")} == before
    assert (path / "maps" / "wall_albedo.png").read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["head"]


@pytest.mark.parametrize("renames", [1, 2, 3])
def test_a_kill_between_the_renames_loses_nothing(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with the old bundle aside and the new one not yet in place, or in place without the user's own files, or
    with them, and the old one still there."""
    path = tmp_path / "head [1]"
    bundle.write_bundle(example(), path)
    (path / "mine.blend").write_text("mine")
    done: list[Any] = []

    def killed(source: Any, target: Any) -> None:
        if len(done) == renames:
            raise KeyboardInterrupt  # no handler for OSError mends this, as none mends a kill
        rename(source, target)
        done.append(target)

    monkeypatch.setattr(replace_folder, "rename", killed)
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


def test_a_new_head_replaces_one_of_format_1(tmp_path: Path) -> None:
    path = synthetic.write_format_1(tmp_path / "head")
    bundle.write_bundle(example(), path)
    assert bundle.validate(path) == [] and not list(path.glob("albedo*.png"))


def other(number: int, **changes: Any) -> dict[str, Any]:
    materials = list(example().materials)
    materials[number] = replace(materials[number], **changes)
    return {"materials": tuple(materials)}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (other(0, albedo=np.zeros((16, 16, 3), dtype=np.float32)), "E_BUNDLE_MAP"),
        (other(0, albedo=np.zeros((16, 16, 4), dtype=np.uint8)), "E_BUNDLE_MAP"),
        (other(0, roughness=np.zeros((16, 16, 3), dtype=np.uint8)), "E_BUNDLE_MAP"),
        (other(0, normal=np.zeros((16, 8, 3), dtype=np.uint8)), "E_BUNDLE_MAP"),
        (other(2, albedo=np.zeros((16, 16, 3), dtype=np.uint8)), "E_BUNDLE_MAP"),
        (other(0, name="face"), "E_BUNDLE_MAP"),
        (other(1, name="Skin"), "E_BUNDLE_JSON"),
        (other(1, name="../eyes"), "E_BUNDLE_JSON"),
        (other(1, roughness=1.5), "E_BUNDLE_JSON"),
        (other(1, specular=float("nan")), "E_BUNDLE_JSON"),
        (other(1, alpha="glass"), "E_BUNDLE_MAP"),
        ({"expression_albedo": {"frown": np.zeros((16, 16, 3), dtype=np.uint8)}}, "E_BUNDLE_EXPRESSIONS"),
        ({"expressions": ("smile", "../escape", "brow_raiser")}, "E_BUNDLE_EXPRESSIONS"),
        ({"expressions": ("smile",)}, "E_BUNDLE_EXPRESSIONS"),
        ({"settings": {"cfg": float("inf")}}, "E_BUNDLE_JSON"),
        ({"consent": "half a pair: \ud83d"}, "E_BUNDLE_JSON"),
        ({"parts": ("face",)}, "E_BUNDLE_INDEX"),
        ({"faces": synthetic.ellipsoid()["faces"]}, "E_BUNDLE_ARRAYS"),
        ({"seen": np.ones(7, np.float32)}, "E_BUNDLE_ARRAYS"),
        ({"vertices": synthetic.head()["vertices"].astype(np.float64)}, "E_BUNDLE_ARRAYS"),
    ],
)
def test_write_refuses(change: dict[str, Any], code: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        bundle.write_bundle(replace(example(), **change), tmp_path / "head")
    assert error.value.code == code
    assert list(tmp_path.iterdir()) == []
