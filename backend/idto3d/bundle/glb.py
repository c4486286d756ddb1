# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle as binary glTF 2.0, for all programs that are not Blender.

https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html. One mesh, a primitive for each material, a morph target for
each expression and an empty one for neutral, pictures inside. What glTF cannot say is left out: light under the skin,
an expression's own albedo.
"""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from PIL import Image

from ..arrays import Array
from ..mesh.surface import split_quads
from .format import COMPRESSION, Bundle, BundleMaterial, Bytes, to_head_frame

_FLOAT, _USHORT, _UINT = 5126, 5123, 5125
_VERTICES, _INDICES = 34962, 34963
_LINEAR, _MIPMAPPED, _CLAMP = 9729, 9987, 33071
_NUMBERS = {_FLOAT: "<f4", _USHORT: "<u2", _UINT: "<u4"}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3"}
# Less than a hundredth of a millimetre, and a quarter of a degree, is no motion: each of eighty keys stays small.
_MOVES, _TURNS = 1e-5, 4e-3
NEUTRAL = "neutral"
_JPEG = 92
_SPECULAR = "KHR_materials_specular"
_COAT = "KHR_materials_clearcoat"
_COATED = ("eyes",)
"""Materials whose gloss is that of a clear layer, which has the surface's own normals; under it they are dull."""
_COAT_ROUGHNESS, _DULL = 0.03, 0.7
_SHEEN = "KHR_materials_sheen"
_STRANDS = ("hair",)
"""Materials that shine in their own colour at a grazing angle."""
_SHEEN_ROUGHNESS = 0.4
# Principled BSDF's specular of 0.5 and glTF's factor of 1 are both the 4 % of refractive index 1.5.
_FULL_SPECULAR = 0.5


def write_glb(bundle: Bundle, file: Path) -> None:
    """Write a bundle whose arrays fit each other (`check_mesh`) as `file`. Raises OSError."""
    out = _Gltf()
    vertices = to_head_frame(bundle.vertices)
    corners, corners_uv, face = triangulate(bundle.faces, bundle.faces_uv)
    normals = vertex_normals(vertices, corners)
    # first neutral, so that its name is there
    offsets = [np.zeros_like(vertices), *map(to_head_frame, bundle.offsets)] if bundle.expressions else []
    targets = []
    for offset in offsets:
        turned = turned_normals(vertices, offset, corners, normals)
        targets.append((offset, _exceeds(offset, _MOVES), turned, _exceeds(turned, _TURNS)))
    primitives = []
    for number, material in enumerate(bundle.materials):
        own = bundle.material[face] == number
        if not own.any():
            continue
        # A vertex is split where its faces have different places in the picture.
        pairs, index = np.unique(
            np.stack([corners[own], corners_uv[own]], axis=-1).reshape(-1, 2), axis=0, return_inverse=True
        )
        vertex, place = pairs.T
        uv = np.clip(bundle.uv[place], 0, 1) * (1, -1) + (0, 1)
        primitives.append(
            {
                "attributes": {
                    "POSITION": out.accessor(vertices[vertex], _FLOAT, bounds=True),
                    "NORMAL": out.accessor(normals[vertex], _FLOAT),
                    "TEXCOORD_0": out.accessor(uv, _FLOAT),
                },
                "indices": out.indices(index.ravel()),
                "material": out.material(material),
                "targets": [
                    {"POSITION": out.sparse(offset, moves, vertex), "NORMAL": out.sparse(turned, turns, vertex)}
                    for offset, moves, turned, turns in targets
                ],
            }
        )
    mesh: dict[str, Any] = {"name": "head", "primitives": primitives}
    if bundle.expressions:
        mesh |= {"weights": [0.0] * len(targets), "extras": {"targetNames": [NEUTRAL, *bundle.expressions]}}
    else:
        for primitive in primitives:
            del primitive["targets"]
    out.write(file, mesh, bundle)


def triangulate(faces: Array, faces_uv: Array) -> tuple[Array, Array, Array]:
    """Faces (F,4), -1 last in a triangle, as triangles (N,3) of vertices and of uv, and the face (N,) of each."""
    face = np.concatenate([np.arange(len(faces)), np.flatnonzero(faces[:, 3] >= 0)])
    return split_quads(faces, faces), split_quads(faces_uv, faces), face


def vertex_normals(vertices: Array, triangles: Array) -> Array:
    """Unit normals (V,3) float32, each triangle weighted by its angle at the vertex, as Blender does; +Y where a vertex
    has none."""
    total = _angle_weighted(np.asarray(vertices, np.float64), np.asarray(triangles, np.int64))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-12, total / np.maximum(length, 1e-12), (0.0, 1.0, 0.0)).astype(np.float32)


@njit(cache=True, nogil=True)
def _angle_weighted(vertices, triangles):  # type: ignore[no-untyped-def]
    total = np.zeros((len(vertices), 3))
    for n in range(len(triangles)):
        for k in range(3):
            at, ahead, behind = triangles[n, k], triangles[n, (k + 1) % 3], triangles[n, (k + 2) % 3]
            x, y, z = _way(vertices, at, ahead)
            u, v, w = _way(vertices, at, behind)
            a, b, c = y * w - z * v, z * u - x * w, x * v - y * u
            length = np.sqrt(a * a + b * b + c * c)
            angle = np.arctan2(length, x * u + y * v + z * w) / max(length, 1e-20)
            total[at, 0] += angle * a
            total[at, 1] += angle * b
            total[at, 2] += angle * c
    return total


@njit(cache=True, nogil=True)
def _way(vertices, a, b):  # type: ignore[no-untyped-def]
    return vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]


def turned_normals(vertices: Array, offset: Array, triangles: Array, normals: Array) -> Array:
    """(V,3) what an offset (V,3) adds to the unit normals of vertices (V,3): only where it moves a triangle."""
    out = np.zeros_like(normals)
    near = np.zeros(len(vertices), bool)
    near[_touching(triangles, _exceeds(offset, _MOVES))] = True
    own = _touching(triangles, near)
    within = np.zeros(len(vertices), bool)
    within[own] = True
    used = np.flatnonzero(within)
    place = np.zeros(len(vertices), np.int64)
    place[used] = np.arange(len(used))
    posed = vertex_normals((vertices + offset)[used], place[own])
    kept = near[used]
    out[used[kept]] = posed[kept] - normals[used[kept]]
    return out


def _exceeds(vectors: Array, threshold: float) -> Array:
    """(N,) bool: whether any entry of vectors (N,3) is larger. By columns: NumPy is slow over so short rows."""
    x, y, z = np.abs(vectors).T > threshold
    return np.asarray(x | y | z)


def _touching(triangles: Array, vertices: Array) -> Array:
    """Those of triangles (F,3) with a corner among vertices (V,) bool."""
    a, b, c = vertices[triangles].T
    return np.asarray(triangles[a | b | c])


class _Gltf:
    """The lists of a glTF in the making, and its one buffer."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.materials: list[dict[str, Any]] = []
        self._still: dict[int, int] = {}  # rows to the accessor that has so many, all zero

    def view(self, data: bytes, target: int | None = None) -> int:
        """Append to the buffer; the number of the new view."""
        self.buffer += bytes(-len(self.buffer) % 4)
        view = {"buffer": 0, "byteOffset": len(self.buffer), "byteLength": len(data)}
        self.views.append(view if target is None else {**view, "target": target})
        self.buffer += data
        return len(self.views) - 1

    def accessor(self, values: Array, kind: int, bounds: bool = False, target: int = _VERTICES) -> int:
        values = np.ascontiguousarray(values, _NUMBERS[kind])
        made = _described(values, kind, bounds)
        self.accessors.append({"bufferView": self.view(values.tobytes(), target), **made})
        return len(self.accessors) - 1

    def indices(self, index: Array) -> int:
        return self.accessor(index, _USHORT if index.max() < 0xFFFF else _UINT, target=_INDICES)

    def sparse(self, values: Array, some: Array, vertex: Array) -> int:
        """The rows of values (V,3) at vertex (N,), of which most are zero: only those of some (V,) bool are written."""
        moved = np.flatnonzero(some[vertex])
        if not len(moved) and len(vertex) in self._still:
            return self._still[len(vertex)]
        kept = values[vertex[moved]].astype(np.float32)
        resting = np.zeros((int(len(moved) < len(vertex)), 3), np.float32)
        accessor = _described(np.concatenate([kept, resting]), _FLOAT, bounds=True) | {"count": len(vertex)}
        if len(moved):
            kind = _USHORT if len(vertex) <= 0xFFFF else _UINT
            accessor["sparse"] = {
                "count": len(moved),
                "indices": {"bufferView": self.view(moved.astype(_NUMBERS[kind]).tobytes()), "componentType": kind},
                "values": {"bufferView": self.view(kept.tobytes())},
            }
        else:
            self._still[len(vertex)] = len(self.accessors)
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def texture(self, image: Image.Image, name: str) -> dict[str, int]:
        """A picture as JPEG, or as PNG where it can be seen through."""
        encoded = io.BytesIO()
        clear = image.mode == "RGBA"
        if clear:
            image.save(encoded, "PNG", compress_level=COMPRESSION)
        else:
            # Colours at full resolution: of a normal map they are directions.
            image.save(encoded, "JPEG", quality=_JPEG, subsampling=0)
        view = self.view(encoded.getvalue())
        self.images.append({"bufferView": view, "mimeType": f"image/{'png' if clear else 'jpeg'}", "name": name})
        return {"index": len(self.images) - 1}

    def material(self, given: BundleMaterial) -> int:
        surface: dict[str, Any] = {
            "baseColorTexture": self.texture(Image.fromarray(given.albedo), f"{given.name}_albedo"),
            "metallicFactor": 0.0,
        }
        if isinstance(given.roughness, np.ndarray):
            # Green is the roughness. Blue is how metallic, times a factor of zero.
            grey = Image.fromarray(given.roughness).convert("RGB")
            surface["metallicRoughnessTexture"] = self.texture(grey, f"{given.name}_roughness")
        else:
            surface["roughnessFactor"] = float(given.roughness)
        made: dict[str, Any] = {"name": given.name, "pbrMetallicRoughness": surface}
        if given.normal is not None:
            made["normalTexture"] = self.texture(Image.fromarray(given.normal), f"{given.name}_normal")
        made["extensions"] = {_SPECULAR: self._specular(given)}
        if given.name in _COATED and given.normal is not None:
            surface |= {"roughnessFactor": _DULL}
            coat = {"clearcoatFactor": 1.0, "clearcoatRoughnessFactor": _COAT_ROUGHNESS}
            made["extensions"] = {_SPECULAR: {"specularFactor": 0.0}, _COAT: coat}
        if given.name in _STRANDS:
            own = {"sheenColorFactor": [1.0, 1.0, 1.0], "sheenColorTexture": surface["baseColorTexture"]}
            made["extensions"][_SHEEN] = {**own, "sheenRoughnessFactor": _SHEEN_ROUGHNESS}
        if given.alpha != "opaque":
            made |= {"alphaMode": "MASK" if given.alpha == "clip" else "BLEND", "doubleSided": True}
        self.materials.append(made)
        return len(self.materials) - 1

    def _specular(self, given: BundleMaterial) -> dict[str, Any]:
        if not isinstance(given.specular, np.ndarray):
            return {"specularFactor": min(float(given.specular) / _FULL_SPECULAR, 1.0)}
        levels = np.round(np.minimum(np.arange(256) / _FULL_SPECULAR, 255)).astype(np.uint8)
        white: Bytes = np.full((*given.specular.shape, 4), 255, np.uint8)
        white[..., 3] = levels[given.specular]
        return {"specularTexture": self.texture(Image.fromarray(white), f"{given.name}_specular")}

    def write(self, file: Path, mesh: dict[str, Any], bundle: Bundle) -> None:
        self.buffer += bytes(-len(self.buffer) % 4)
        content = {
            "asset": {"version": "2.0", "generator": bundle.generator, "copyright": bundle.licence},
            "extensionsUsed": sorted({name for material in self.materials for name in material["extensions"]}),
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"name": "head", "mesh": 0}],
            "meshes": [mesh],
            "materials": self.materials,
            "textures": [{"source": number, "sampler": 0} for number in range(len(self.images))],
            "images": self.images,
            "samplers": [{"magFilter": _LINEAR, "minFilter": _MIPMAPPED, "wrapS": _CLAMP, "wrapT": _CLAMP}],
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.buffer)}],
        }
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")
        text += b" " * (-len(text) % 4)
        with file.open("wb") as stream:
            stream.write(struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(self.buffer)))
            stream.write(struct.pack("<I4s", len(text), b"JSON") + text)
            stream.write(struct.pack("<I4s", len(self.buffer), b"BIN\0"))
            stream.write(self.buffer)


def _described(values: Array, kind: int, bounds: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "componentType": kind,
        "count": len(values),
        "type": _KINDS[1 if values.ndim == 1 else values.shape[1]],
    }
    if bounds:
        made |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
    return made
