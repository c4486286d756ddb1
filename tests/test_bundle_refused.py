# SPDX-License-Identifier: GPL-3.0-or-later
"""What is no bundle, and by which code it is refused. The reader is tried as the add-on has it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from idto3d import bundle
from idto3d.errors import UserError
from idto3d_blender.head.bundle import BundleError, read_bundle_files
from tests.blender import synthetic_bundle as synthetic
from tests.example_bundle import example

ALBEDO = "maps/skin_albedo.png"


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


def edit_wrinkle(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        synthetic.add_wrinkles(path)
        header = json.loads((path / "head.json").read_text(encoding="utf-8"))
        header["wrinkles"][0] |= changes
        (path / "head.json").write_text(json.dumps(header), encoding="utf-8")

    return change


def flip_a_byte(path: Path) -> None:
    data = bytearray((path / ALBEDO).read_bytes())
    data[45] ^= 255
    (path / ALBEDO).write_bytes(data)


def edit_material(number: int, **changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        header = json.loads((path / "head.json").read_text(encoding="utf-8"))
        header["materials"][number] |= changes
        (path / "head.json").write_text(json.dumps(header), encoding="utf-8")

    return change


def two_maps_in_one_file(path: Path) -> None:
    edit_header(expressions=["smile", "mouth_stretch", "normal"])(path)
    edit_material(0, maps=["albedo", "albedo_normal", "normal", "roughness", "specular"])(path)
    edit_material(1, name="skin_albedo", maps=["albedo", "normal"])(path)


def same_corners(faces: Any) -> Any:
    faces = faces.copy()
    faces[1] = faces[0][[1, 2, 0, 3]]
    return faces


TRIANGLE = int(np.flatnonzero(synthetic.head()["faces"][:, 3] < 0)[0])
QUAD = int(np.flatnonzero(synthetic.head()["faces"][:, 3] >= 0)[0])
BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "later version": (edit_header(format_version=3), "E_BUNDLE_VERSION"),
    "version true": (edit_header(format_version=True), "E_BUNDLE_VERSION"),
    "no version": (edit_header(format_version=None), "E_BUNDLE_VERSION"),
    "millimetres": (edit_header(units="millimetres"), "E_BUNDLE_UNITS"),
    "size of a house": (edit_array("vertices", lambda v: v * 100), "E_BUNDLE_UNITS"),
    "far away": (edit_array("vertices", lambda v: v + np.float32(50)), "E_BUNDLE_UNITS"),
    "an offset of 1e30": (edit_array("offsets", put((1, 5, 1), 1e30)), "E_BUNDLE_UNITS"),
    "too few names": (edit_header(expressions=["smile", "mouth_stretch"]), "E_BUNDLE_EXPRESSIONS"),
    "too few offsets": (edit_array("offsets", lambda o: o[:2]), "E_BUNDLE_EXPRESSIONS"),
    "a name twice": (edit_header(expressions=["smile", "Smile", "mouth_stretch"]), "E_BUNDLE_EXPRESSIONS"),
    "neutral as a key": (edit_header(expressions=["neutral", "smile", "mouth_stretch"]), "E_BUNDLE_EXPRESSIONS"),
    "a path as a name": (edit_header(expressions=["../a", "smile", "mouth_stretch"]), "E_BUNDLE_EXPRESSIONS"),
    "names not a list": (edit_header(expressions="smile"), "E_BUNDLE_JSON"),
    "not JSON": (lambda path: (path / "head.json").write_text("{"), "E_BUNDLE_JSON"),
    "a JSON list": (lambda path: (path / "head.json").write_text("[]"), "E_BUNDLE_JSON"),
    "seed as text": (edit_header(seed="1"), "E_BUNDLE_JSON"),
    "seed true": (edit_header(seed=True), "E_BUNDLE_JSON"),
    "no pack": (edit_header(pack=None), "E_BUNDLE_JSON"),
    "photos without scores": (edit_header(photos=[{"name": "a"}]), "E_BUNDLE_JSON"),
    "photos as names": (edit_header(photos=["a.jpg"]), "E_BUNDLE_JSON"),
    "no parts": (edit_header(parts=None), "E_BUNDLE_JSON"),
    "no materials": (edit_header(materials=[]), "E_BUNDLE_JSON"),
    "materials as names": (edit_header(materials=list(synthetic.MATERIALS)), "E_BUNDLE_JSON"),
    "one material twice": (edit_material(1, name="SKIN"), "E_BUNDLE_JSON"),
    "a path as a material": (edit_material(0, name="../skin"), "E_BUNDLE_JSON"),
    "two maps in one file": (two_maps_in_one_file, "E_BUNDLE_JSON"),
    "no albedo": (edit_material(1, maps=[]), "E_BUNDLE_JSON"),
    "an unknown map": (edit_material(1, maps=["albedo", "height"]), "E_BUNDLE_JSON"),
    "a map twice": (edit_material(1, maps=["albedo", "albedo"]), "E_BUNDLE_JSON"),
    "value and map": (edit_material(0, roughness=0.5), "E_BUNDLE_JSON"),
    "neither value nor map": (edit_material(1, roughness=None), "E_BUNDLE_JSON"),
    "alpha of another kind": (edit_material(2, alpha="add"), "E_BUNDLE_JSON"),
    "three colours": (edit_material(2, colour=[1, 1, 1]), "E_BUNDLE_JSON"),
    "wrinkles are no list": (edit_header(wrinkles={}), "E_BUNDLE_JSON"),
    "wrinkles without end": (edit_header(wrinkles=[{}] * 1000), "E_BUNDLE_JSON"),
    "a wrinkle elsewhere": (edit_wrinkle(map="wrinkles_/../../up"), "E_BUNDLE_JSON"),
    "a wrinkle's fourth channel": (edit_wrinkle(channel=3), "E_BUNDLE_JSON"),
    "a wrinkle of true channel": (edit_wrinkle(channel=True), "E_BUNDLE_JSON"),
    "a wrinkle beyond all": (edit_wrinkle(gains={"smile": 2.0}), "E_BUNDLE_JSON"),
    "a wrinkle of nothing": (edit_wrinkle(gains={"frown": 0.5}), "E_BUNDLE_EXPRESSIONS"),
    "a wrinkle without picture": (edit_wrinkle(mask="wrinkles_mask"), "E_BUNDLE_MISSING"),
    "a map of no expression": (edit_material(1, maps=["albedo", "albedo_frown"]), "E_BUNDLE_EXPRESSIONS"),
    "NaN vertex": (edit_array("vertices", put((5, 1), np.nan)), "E_BUNDLE_NAN"),
    "infinite offset": (edit_array("offsets", put((1, 5, 1), np.inf)), "E_BUNDLE_NAN"),
    "NaN uv": (edit_array("uv", put((0, 0), np.nan)), "E_BUNDLE_NAN"),
    "NaN seen": (edit_array("seen", put(3, np.nan)), "E_BUNDLE_NAN"),
    "more than seen": (edit_array("seen", put(3, 1.5)), "E_BUNDLE_ARRAYS"),
    "face out of range": (edit_array("faces", put((0, 0), 100_000)), "E_BUNDLE_INDEX"),
    "negative face": (edit_array("faces", put((0, 0), -1)), "E_BUNDLE_INDEX"),
    "fourth corner -2": (edit_array("faces", put((TRIANGLE, 3), -2)), "E_BUNDLE_INDEX"),
    "a quad's corner missing": (edit_array("faces", put((QUAD, 3), -1)), "E_BUNDLE_INDEX"),
    "a triangle with four uv": (edit_array("faces_uv", put((TRIANGLE, 3), 0)), "E_BUNDLE_INDEX"),
    "faces_uv out of range": (edit_array("faces_uv", put((7, 2), 100_000)), "E_BUNDLE_INDEX"),
    "uv outside": (edit_array("uv", put((0, 0), 1.5)), "E_BUNDLE_INDEX"),
    "a face with one vertex twice": (edit_array("faces", put(TRIANGLE, 3)), "E_BUNDLE_INDEX"),
    "a quad with opposite corners alike": (
        edit_array("faces", lambda f: np.where(np.arange(len(f))[:, None] == QUAD, f[:, [0, 1, 0, 3]], f)),
        "E_BUNDLE_INDEX",
    ),
    "a face twice": (edit_array("faces", same_corners), "E_BUNDLE_INDEX"),
    "material out of range": (edit_array("material", put(0, 4)), "E_BUNDLE_INDEX"),
    "negative part": (edit_array("part", put(0, -1)), "E_BUNDLE_INDEX"),
    "no offsets": (edit_array("offsets", None), "E_BUNDLE_ARRAYS"),
    "float64": (edit_array("vertices", lambda v: v.astype(np.float64)), "E_BUNDLE_ARRAYS"),
    "big-endian": (edit_array("vertices", lambda v: v.astype(">f4")), "E_BUNDLE_ARRAYS"),
    "offsets of another mesh": (edit_array("offsets", lambda o: o[:, :-1]), "E_BUNDLE_ARRAYS"),
    "faces_uv of another mesh": (edit_array("faces_uv", lambda f: f[:-1]), "E_BUNDLE_ARRAYS"),
    "flat vertices": (edit_array("vertices", lambda v: v.ravel()), "E_BUNDLE_ARRAYS"),
    "no vertices": (edit_array("vertices", lambda v: v[:0]), "E_BUNDLE_ARRAYS"),
    "objects": (edit_array("vertices", lambda v: v.astype(object)), "E_BUNDLE_ARRAYS"),
    "cut npz": (cut("head.npz"), "E_BUNDLE_ARRAYS"),
    "no npz": (lambda path: (path / "head.npz").unlink(), "E_BUNDLE_MISSING"),
    "no header": (lambda path: (path / "head.json").unlink(), "E_BUNDLE_MISSING"),
    "no map": (lambda path: (path / "maps" / "skin_specular.png").unlink(), "E_BUNDLE_MISSING"),
    "no preview": (lambda path: (path / "preview.png").unlink(), "E_BUNDLE_MISSING"),
    "not square": (picture(ALBEDO, 16, 32), "E_BUNDLE_MAP"),
    "not a power of two": (picture("maps/skin_roughness.png", 24, 24, "L"), "E_BUNDLE_MAP"),
    "16 bits": (picture("maps/skin_specular.png", 16, 16, "I;16"), "E_BUNDLE_MAP"),
    "expression's map not square": (picture("maps/skin_albedo_mouth_stretch.png", 16, 8), "E_BUNDLE_MAP"),
    "a JPEG": (lambda path: Image.new("RGB", (16, 16)).save(path / ALBEDO, format="JPEG"), "E_BUNDLE_MAP"),
    "cut map": (cut("maps/eyes_albedo.png"), "E_BUNDLE_MAP"),
    "damaged map": (flip_a_byte, "E_BUNDLE_MAP"),
    "damaged preview": (cut("preview.png"), "E_BUNDLE_MAP"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_refused(case: str, tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "head")
    read_bundle_files(path)
    change, code = BROKEN[case]
    change(path)
    with pytest.raises(BundleError) as error:
        read_bundle_files(path)
    assert error.value.code == code
    assert error.value.message.endswith(".") and error.value.fix


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (picture("albedo.png", 16, 32), "E_BUNDLE_MAP"),
        (picture("albedo_frown.png", 16, 16), "E_BUNDLE_EXPRESSIONS"),
        (edit_array("faces", lambda f: np.pad(f, ((0, 0), (0, 1)), constant_values=-1)), "E_BUNDLE_ARRAYS"),
        (edit_array("faces", lambda f: np.concatenate([f[1:2, [1, 2, 0]], f[1:]])), "E_BUNDLE_INDEX"),
        (lambda path: (path / "roughness.png").unlink(), "E_BUNDLE_MISSING"),
    ],
)
def test_format_1_refused(change: Callable[[Path], Any], code: str, tmp_path: Path) -> None:
    path = synthetic.write_format_1(tmp_path / "head")
    read_bundle_files(path)
    change(path)
    with pytest.raises(BundleError) as error:
        read_bundle_files(path)
    assert error.value.code == code


def test_the_generator_says_it_with_its_own_error(tmp_path: Path) -> None:
    path = bundle.write_bundle(example(), tmp_path / "head")
    for change, code in (
        (lambda: (path / "head.glb").write_bytes((path / "head.glb").read_bytes()[:-4]), "E_BUNDLE_MAP"),
        (lambda: (path / "head.glb").unlink(), "E_BUNDLE_MISSING"),
        (lambda: cut("head.npz")(path), "E_BUNDLE_ARRAYS"),
    ):
        change()
        with pytest.raises(UserError) as error:
            bundle.validate(path)
        assert error.value.code == code and error.value.fix


def test_layout_of_arrays_does_not_matter(tmp_path: Path) -> None:
    """numpy stores what is transposed in columns, and so may whoever made a bundle."""
    path = synthetic.write(tmp_path / "head")
    edit_array("vertices", np.asfortranarray)(path)
    edit_array("offsets", np.asfortranarray)(path)
    head = read_bundle_files(path)
    assert np.array_equal(head.vertices, synthetic.head()["vertices"]) and head.vertices.flags.c_contiguous
    assert np.array_equal(head.offsets, synthetic.head()["offsets"])
