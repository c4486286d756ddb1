# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an export back with Blender's own importers and compares it with what it should contain."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from .. import mesh_data
from .errors import ExportError
from .looks import look_of
from .motion import is_animated
from .presets import Preset

# What is half a tenth of a millimetre off is another point; FBX's and USD's numbers are as fine as ours.
_NEAR = 5e-5
# A key's own largest movement may differ by so much of itself, and by _NEAR.
_MOVES = 0.01


@dataclass(frozen=True, eq=False)
class Contents:
    """What is in a scene or a file, in metres and in Blender's frame. points: how many vertices, those that lie in one
    place counted once; bounds (2,3); keys: name -> the farthest that it moves a vertex; materials: name -> its maps,
    "alpha" being one; bones: names of those that deform;
    sizes: pixels of each picture's side by material and map; moving: "keys" and "bones" where they are animated."""

    points: int
    bounds: NDArray[np.float64]
    keys: dict[str, float]
    materials: dict[str, frozenset[str]]
    bones: frozenset[str]
    sizes: dict[tuple[str, str], int]
    moving: frozenset[str]


def contents(objects: Iterable[Any], unit: float = 1.0) -> Contents:
    """Of the meshes and armatures among ``objects``; unit: metres of the scene's unit."""
    points, keys = [], dict[str, float]()
    maps, sizes, bones = dict[str, frozenset[str]](), dict[tuple[str, str], int](), set[str]()
    given = list(objects)
    armatures = [obj for obj in given if obj.type == "ARMATURE"]
    # glTF's importer gives bones a shape, which is a mesh, too.
    moving = {"bones" for armature in armatures if is_animated(armature)}
    shapes = {bone.custom_shape for armature in armatures for bone in armature.pose.bones}
    for armature in armatures:
        bones |= {bone.name for bone in armature.data.bones if _deforms(bone)}
    for obj in given:
        if obj.type != "MESH" or obj in shapes:
            continue
        matrix = np.array(obj.matrix_world) * unit
        # Where somebody has deleted faces, vertices of none may be left, which some formats do not hold.
        used = np.unique(mesh_data.corners(obj.data)[0])
        basis = _coordinates(obj.data.attributes["position"].data, "vector")[used]
        points.append(basis @ matrix[:3, :3].T + matrix[:3, 3])
        if is_animated(obj.data.shape_keys):
            moving.add("keys")
        blocks = obj.data.shape_keys.key_blocks if obj.data.shape_keys is not None else ()
        start = _coordinates(blocks[0].points, "co")[used] if blocks else basis
        for key in blocks[1:]:
            moved = (_coordinates(key.points, "co")[used] - start) @ matrix[:3, :3].T
            keys[key.name] = max(keys.get(key.name, 0.0), float(np.linalg.norm(moved, axis=1).max(initial=0)))
        for material in obj.data.materials:
            look = look_of(material)
            maps[material.name] = frozenset(look.maps) | ({"alpha"} if look.alpha != "opaque" else set())
            sizes |= {(material.name, kind): image.size[0] for kind, image in look.maps.items()}
    every = np.concatenate(points) if any(map(len, points)) else np.zeros((1, 3))
    places = np.unique(np.round(every / _NEAR).astype(np.int64), axis=0)
    bounds = np.stack([every.min(axis=0), every.max(axis=0)])
    return Contents(len(places), bounds, keys, maps, frozenset(bones), sizes, frozenset(moving))


def read(file: Path, preset: Preset) -> Contents:
    """What Blender makes of a file, in the window's scene, which is empty. Raises RuntimeError as operators do."""
    before = set(bpy.data.objects)
    if preset.format == "USD":
        bpy.ops.wm.usd_import(filepath=str(file))
    elif preset.format == "GLTF":
        bpy.ops.import_scene.gltf(filepath=str(file))
    elif hasattr(bpy.types, "IMPORT_SCENE_OT_fbx"):
        bpy.ops.import_scene.fbx(filepath=str(file))
    else:
        bpy.ops.wm.fbx_import(filepath=str(file))
    bpy.context.view_layer.update()
    return contents(set(bpy.data.objects) - before)


def check(promised: Contents, found: Contents, preset: Preset) -> None:
    """Raises ExportError E_EXPORT_LOST where the file does not hold what was promised."""
    lost = list(_differences(promised, found, preset))
    if lost:
        raise ExportError(
            "E_EXPORT_LOST",
            f"The file was read back and is not what it should be: {'; '.join(lost)}. It was thrown away.",
            "What was there before is as it was.",
        )


def _differences(promised: Contents, found: Contents, preset: Preset) -> Iterable[str]:
    if gone := promised.keys.keys() - found.keys.keys():
        yield f"no key {', '.join(sorted(gone)[:5])}"
    for name in promised.keys.keys() & found.keys.keys():
        wanted = promised.keys[name]
        if abs(wanted - found.keys[name]) > _NEAR + _MOVES * wanted:
            yield f"the key {name} moves {found.keys[name] * 1e3:.2f} instead of {wanted * 1e3:.2f} mm"
    if np.abs(promised.bounds - found.bounds).max() > _NEAR:
        size = np.ptp(found.bounds, axis=0)
        yield "its place or size is another, {:.4g} x {:.4g} x {:.4g} m".format(*size)
    # Places next to the border of two grid cells may fall into either.
    if abs(promised.points - found.points) > 0.02 * promised.points:
        yield f"{found.points} vertices instead of {promised.points}"
    for name, maps in promised.materials.items():
        # UsdPreviewSurface has no specular level.
        wanted_maps = maps - {"specular"} if preset.format == "USD" else maps
        if name not in found.materials:
            yield f"no material {name}"
        elif missing := wanted_maps - found.materials[name]:
            yield f"{name} lacks {', '.join(sorted(missing))}"
        # In glTF metal and roughness are one picture, as large as the larger.
        for kind in wanted_maps - {"alpha"}:
            if found.sizes.get((name, kind), promised.sizes[name, kind]) < promised.sizes[name, kind]:
                yield f"the picture {kind} of {name} cannot be read"
    for still in promised.moving - found.moving:
        yield f"no animation of its {still}"
    if bones := promised.bones - found.bones:
        yield f"no bone {', '.join(sorted(bones)[:5])}"


def _deforms(bone: Any) -> bool:
    """It, or one that hangs on it, moves the mesh. Others, such as targets, are no use to an engine."""
    return bool(bone.use_deform) or any(child.use_deform for child in bone.children_recursive)


def _coordinates(items: Any, name: str) -> NDArray[np.float64]:
    flat = np.empty(3 * len(items), np.float32)
    items.foreach_get(name, flat)
    return flat.reshape(-1, 3).astype(np.float64)
