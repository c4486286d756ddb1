# SPDX-License-Identifier: GPL-3.0-or-later
"""head.glb: what is in it by its bytes, and what trimesh and Khronos' validator make of it."""

import io
import json
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from environments import cache_folder, locked
from idto3d.bundle import Bundle, to_head_frame
from idto3d.bundle.glb import triangulate, vertex_normals, write_glb
from tests.example_bundle import example

VALIDATOR = "2.0.0-dev.3.10"
VALIDATE = """
const validator = require("gltf-validator"), fs = require("fs")
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])), {maxIssues: 0})
  .then(report => console.log(JSON.stringify(report)))
"""
_TYPES = {5126: "<f4", 5125: "<u4", 5123: "<u2"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}


class Glb:
    """A glb as the specification says it is read."""

    def __init__(self, file: Path) -> None:
        data = file.read_bytes()
        assert struct.unpack("<4sII", data[:12]) == (b"glTF", 2, len(data))
        (length,) = struct.unpack("<I", data[12:16])
        self.json: dict[str, Any] = json.loads(data[20 : 20 + length])
        self.bin = data[28 + length :]

    def view(self, number: int) -> bytes:
        view = self.json["bufferViews"][number]
        return self.bin[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]

    def array(self, number: int) -> np.ndarray:
        accessor = self.json["accessors"][number]
        width, kind = _WIDTHS[accessor["type"]], _TYPES[accessor["componentType"]]
        if "bufferView" in accessor:
            values = np.frombuffer(self.view(accessor["bufferView"]), kind).reshape(-1, width)
        else:
            values = np.zeros((accessor["count"], width), kind)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            index = np.frombuffer(
                self.view(sparse["indices"]["bufferView"]), _TYPES[sparse["indices"]["componentType"]]
            )
            assert len(index) == sparse["count"] and (np.diff(index.astype(int)) > 0).all()
            values[index] = np.frombuffer(self.view(sparse["values"]["bufferView"]), kind).reshape(-1, width)
        assert len(values) == accessor["count"]
        return values

    def image(self, texture: dict[str, Any]) -> np.ndarray:
        image = self.json["images"][self.json["textures"][texture["index"]]["source"]]
        return np.asarray(Image.open(io.BytesIO(self.view(image["bufferView"]))))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_glb(example(), tmp_path / "head.glb")
    return tmp_path / "head.glb"


def test_quads_become_two_triangles_each() -> None:
    faces = np.array([(0, 1, 2, -1), (3, 4, 5, 6)])
    uv = np.array([(7, 8, 9, -1), (1, 2, 3, 4)])
    vertices, places, face = triangulate(faces, uv)
    assert vertices.tolist() == [[0, 1, 2], [3, 4, 5], [3, 5, 6]]
    assert places.tolist() == [[7, 8, 9], [1, 2, 3], [1, 3, 4]]
    assert face.tolist() == [0, 1, 1]


def test_normals_do_not_depend_on_how_quads_are_cut() -> None:
    """At a cube's corner they point along its diagonal, though some corners have four triangles and others five."""
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    quads = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
    triangles, _, _ = triangulate(quads, quads)
    assert len(set(np.bincount(triangles.ravel()))) > 1
    lonely = np.concatenate([corners, [(9, 9, 9)]]).astype(np.float32)
    normals = vertex_normals(lonely, triangles)
    assert np.allclose(normals[:8], corners / np.sqrt(3), atol=1e-6)
    assert normals[8].tolist() == [0, 1, 0], "a vertex of no face has no normal of its own, and glTF wants a unit one"


def test_geometry(file: Path) -> None:
    """The triangles of each material, in glTF's frame, with their places in the picture counted from its top."""
    bundle, glb = example(), Glb(file)
    corners, places, face = triangulate(bundle.faces, bundle.faces_uv)
    primitives = glb.json["meshes"][0]["primitives"]
    assert [glb.json["materials"][p["material"]]["name"] for p in primitives] == [m.name for m in bundle.materials]
    for number, primitive in enumerate(primitives):
        own = bundle.material[face] == number
        index = glb.array(primitive["indices"]).ravel()
        attributes = {name: glb.array(at) for name, at in primitive["attributes"].items()}
        wanted = to_head_frame(bundle.vertices[corners[own]]).reshape(-1, 3)
        assert np.allclose(attributes["POSITION"][index], wanted, atol=1e-7)
        uv = bundle.uv[places[own]].reshape(-1, 2)
        assert np.allclose(attributes["TEXCOORD_0"][index], uv * (1, -1) + (0, 1), atol=1e-6)
        pairs = np.stack([corners[own].ravel(), places[own].ravel()], axis=1)
        assert len(attributes["POSITION"]) == len(np.unique(pairs, axis=0)), "vertices are there twice, or lost"
    skin = primitives[0]["attributes"]
    position, normal = glb.array(skin["POSITION"]), glb.array(skin["NORMAL"])
    assert ((position * normal).sum(axis=1) > 0).all(), "the ellipsoid is inside out"
    # The nose, which is at -Y in Blender, points along +Z.
    assert position[:, 2].max() > -position[:, 2].min() + 0.01


def test_morph_targets(file: Path) -> None:
    bundle, glb = example(), Glb(file)
    mesh = glb.json["meshes"][0]
    assert mesh["extras"]["targetNames"] == ["neutral", *bundle.expressions]
    assert mesh["weights"] == [0.0] * (1 + len(bundle.expressions))
    corners, _, face = triangulate(bundle.faces, bundle.faces_uv)
    for number, primitive in enumerate(mesh["primitives"]):
        vertices = corners[bundle.material[face] == number].ravel()
        index = glb.array(primitive["indices"]).ravel()
        before = glb.array(primitive["attributes"]["NORMAL"])
        still = np.zeros_like(bundle.offsets[:1])
        for offset, target in zip(np.concatenate([still, bundle.offsets]), primitive["targets"], strict=True):
            moved = glb.array(target["POSITION"])[index]
            assert np.abs(moved - to_head_frame(offset)[vertices]).max() < 1.1e-5
            after = vertex_normals(to_head_frame(bundle.vertices + offset), corners)[vertices]
            assert np.abs(before[index] + glb.array(target["NORMAL"])[index] - after).max() < 5e-3
            accessor = glb.json["accessors"][target["POSITION"]]
            moves = number == 0 and offset.any()
            assert "bufferView" not in accessor and moves == ("sparse" in accessor), "eyes do not smile, nor neutral"
            assert np.allclose(accessor["max"], moved.max(axis=0)) and np.allclose(accessor["min"], moved.min(axis=0))


def test_materials(file: Path) -> None:
    given, glb = example(), Glb(file)
    skin, eyes, lashes, film = glb.json["materials"]
    surfaces = [material["pbrMetallicRoughness"] for material in (skin, eyes, lashes, film)]
    assert all(surface["metallicFactor"] == 0 for surface in surfaces)
    roughness = glb.image(surfaces[0]["metallicRoughnessTexture"]).astype(int)
    # The pictures of this bundle are noise, the worst there is for a JPEG.
    assert np.abs(roughness[..., 1] - np.asarray(given.materials[0].roughness, int)).mean() < 8
    assert surfaces[1]["roughnessFactor"] == pytest.approx(0.1) and "metallicRoughnessTexture" not in surfaces[1]
    assert glb.image(skin["normalTexture"]).shape == (16, 16, 3) and "normalTexture" not in eyes
    factors = [material["extensions"]["KHR_materials_specular"] for material in (skin, eyes, lashes, film)]
    assert [factor.get("specularFactor") for factor in factors] == [None, 1.0, 0.5, 1.0]
    map_of_specular = np.asarray(given.materials[0].specular, float)
    wanted = np.round(np.minimum(2 * map_of_specular, 255))
    assert np.abs(glb.image(factors[0]["specularTexture"])[..., 3] - wanted).max() <= 1
    assert [material.get("alphaMode") for material in (skin, eyes, lashes, film)] == [None, None, "MASK", "BLEND"]
    for surface, material in zip(surfaces[2:], given.materials[2:], strict=True):
        assert np.array_equal(glb.image(surface["baseColorTexture"]), material.albedo)


def test_hair_shines_in_its_own_colour(tmp_path: Path) -> None:
    given = example()
    lashes = given.materials.index(next(m for m in given.materials if m.name == "lashes"))
    materials = tuple(replace(m, name="hair") if n == lashes else m for n, m in enumerate(given.materials))
    write_glb(replace(given, materials=materials), tmp_path / "head.glb")
    hair = Glb(tmp_path / "head.glb").json["materials"][lashes]
    sheen = hair["extensions"]["KHR_materials_sheen"]
    assert sheen["sheenColorTexture"] == hair["pbrMetallicRoughness"]["baseColorTexture"]
    assert report_of(tmp_path / "head.glb")["issues"]["numErrors"] == 0


def test_a_head_without_expressions(tmp_path: Path) -> None:
    none = np.zeros((0, len(example().vertices), 3), np.float32)
    still = replace(example(), expressions=(), expression_groups=(), offsets=none)
    write_glb(still, tmp_path / "head.glb")
    mesh = Glb(tmp_path / "head.glb").json["meshes"][0]
    assert mesh.keys() == {"name", "primitives"} and "targets" not in mesh["primitives"][0]


def test_trimesh_loads_it_with_all_pictures(file: Path) -> None:
    scene = trimesh.load_scene(file, process=False)
    found = {geometry.visual.material.name: geometry for geometry in scene.geometry.values()}
    bundle = example()
    assert found.keys() == {material.name for material in bundle.materials}
    low, high = scene.bounds
    there = to_head_frame(bundle.vertices)
    assert np.allclose(low, there.min(axis=0), atol=1e-6) and np.allclose(high, there.max(axis=0), atol=1e-6)
    for material in bundle.materials:
        seen = found[material.name].visual.material
        colour = np.asarray(seen.baseColorTexture.convert("RGBA"))[..., : material.albedo.shape[2]]
        assert colour.shape == material.albedo.shape
        assert np.abs(colour.mean(axis=(0, 1)) - material.albedo.mean(axis=(0, 1))).max() < 4
        assert len(found[material.name].visual.uv) == len(found[material.name].vertices)
    skin = found["skin"].visual.material
    assert skin.metallicRoughnessTexture.size == (16, 16) and skin.normalTexture.size == (16, 16)


def report_of(file: Path) -> dict[str, Any]:
    """What Khronos' validator says of a glb; it is installed once into the cache folder."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("node and npm are not there: no validator")
    folder = cache_folder() / "gltf-validator" / VALIDATOR
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(Path(f"{folder}.lock")):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix", str(folder)]
            command = [npm, "install", *options, f"gltf-validator@{VALIDATOR}"]
            made = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
            if made.returncode:
                pytest.skip(f"npm cannot install the validator: {made.stderr.strip().splitlines()[-1:]}")
            (folder / "complete").touch()
    done = subprocess.run(
        [node, "-e", VALIDATE, str(file)], cwd=folder, capture_output=True, text=True, timeout=120, check=True
    )
    return dict(json.loads(done.stdout))


def test_khronos_finds_no_error(file: Path, tmp_path: Path) -> None:
    bundle = example()
    triangles = replace(
        bundle, **{name: getattr(bundle, name)[bundle.faces[:, 3] < 0] for name in ("faces", "faces_uv", "material")}
    )
    write_glb(triangles, tmp_path / "triangles.glb")
    for each in (file, tmp_path / "triangles.glb"):
        issues = report_of(each)["issues"]
        assert issues["numErrors"] == 0, issues["messages"]
        # That tangents are left to the reader is the one thing it may mention.
        assert {m["code"] for m in issues["messages"]} <= {"MESH_PRIMITIVE_GENERATED_TANGENT_SPACE"}, issues
    broken = bytearray(file.read_bytes())
    broken[broken.index(b"VEC3") + 3] = ord("2")
    (tmp_path / "broken.glb").write_bytes(broken)
    assert report_of(tmp_path / "broken.glb")["issues"]["numErrors"] > 0, "it would not see an error"


def test_a_material_without_faces_is_left_out(tmp_path: Path) -> None:
    bundle: Bundle = replace(example(), material=np.minimum(example().material, 1))
    write_glb(bundle, tmp_path / "head.glb")
    glb = Glb(tmp_path / "head.glb")
    assert [material["name"] for material in glb.json["materials"]] == ["skin", "eyes"]
    assert len(glb.json["images"]) == 5
