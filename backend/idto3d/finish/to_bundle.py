# SPDX-License-Identifier: GPL-3.0-or-later
"""A head as the arrays and images of a bundle."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from ..bundle import SKIN, Bundle, BundleMaterial, Wrinkles, to_blender_frame, to_head_frame, to_uint8
from ..mesh.texels import make_texels
from .eye_relief import iris_relief
from .head import SEE_THROUGH, Head
from .keys import group_of
from .normal_map import skin_relief
from .wrinkles import Face, make_wrinkles

RELIEF = (SKIN, "head")  # materials of skin
PLACES = ("sclera", "teeth")
"""Parts by which the regions of wrinkles are placed."""
LINES_SIDE, MASKS_SIDE = 1024, 256
EYES = "eyes"
EVEN = 1.0 / 255.0  # a map with a smaller range is stored as one value


def head_arrays(head: Head) -> dict[str, Any]:
    """The fields of `bundle.Bundle` that come from a head, except its wrinkles: see `wrinkles_of`."""
    return {
        "vertices": to_blender_frame(head.vertices),
        "faces": head.quads.astype(np.int32),
        "uv": np.clip(head.uv, 0, 1).astype(np.float32),
        "faces_uv": head.quads_uv.astype(np.int32),
        "material": head.material.astype(np.int32),
        "part": head.part.astype(np.int32),
        "parts": head.parts,
        "materials": tuple(_material(head, name) for name in head.materials),
        "offsets": to_blender_frame(head.offsets),
        "expressions": head.names,
        "expression_groups": tuple(group_of(name) for name in head.names),
        "seen": np.clip(head.seen, 0, 1).astype(np.float32),
    }


def head_of_bundle(bundle: Bundle) -> Head:
    """The head that a bundle holds: what `head_arrays` made its fields from, but for eight bits and relief."""
    maps = {m.name: np.dstack([_levels(m.albedo[..., :3]), *gloss_maps(m)]) for m in bundle.materials}
    alpha = {m.name: _levels(m.albedo[..., 3]) for m in bundle.materials if m.alpha != "opaque"}
    return Head(
        to_head_frame(bundle.vertices), to_head_frame(bundle.offsets), bundle.expressions, bundle.faces, bundle.uv,
        bundle.faces_uv, bundle.part, bundle.parts, bundle.material, tuple(maps), maps, alpha, bundle.seen,
    )  # fmt: skip


def _levels(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.divide(image, np.float32(255), dtype=np.float32)


def gloss_maps(material: BundleMaterial) -> list[NDArray[np.float32]]:
    """Roughness and specular, each as a map of the albedo's size (S,S)."""
    shape = material.albedo.shape[:2]
    given = (material.roughness, material.specular)
    return [_levels(v) if isinstance(v, np.ndarray) else np.full(shape, v, np.float32) for v in given]


def with_gloss(material: BundleMaterial, roughness: Array, specular: Array) -> BundleMaterial:
    """The material with these maps (S,S), 0..1."""
    return replace(material, roughness=_value(roughness), specular=_value(specular))


def with_relief(material: BundleMaterial, head: Head) -> BundleMaterial:
    """The material with the relief that its albedo and shape give it in a head, where it has one."""
    return material if material.normal is None else replace(material, normal=_relief(head, material.name))


def _material(head: Head, name: str) -> BundleMaterial:
    maps = head.maps[name]
    albedo, alpha = to_uint8(maps[..., :3]), head.alpha.get(name)
    if alpha is None:
        normal = _relief(head, name) if name in (*RELIEF, EYES) else None
        return BundleMaterial(name, albedo, _value(maps[..., 3]), _value(maps[..., 4]), normal)
    # The albedo of a plain material is smaller than its opacity map.
    colour = albedo if len(albedo) == len(alpha) else np.broadcast_to(albedo[:1, :1], (*alpha.shape, 3))
    rgba = np.dstack([colour, to_uint8(alpha)])
    kind: Literal["clip", "blend"] = "blend" if name == SEE_THROUGH else "clip"
    return BundleMaterial(name, rgba, _value(maps[..., 3]), _value(maps[..., 4]), alpha=kind)


def _relief(head: Head, name: str) -> NDArray[np.uint8]:
    rows = head.triangle_material == head.materials.index(name)
    texels = make_texels(head.uv, head.triangles_uv[rows], head.triangles[rows], len(head.maps[name]))
    if name == EYES:
        return iris_relief(texels, head.vertices)
    return skin_relief(head.maps[name][..., :3], texels, head.vertices)


def wrinkles_of(head: Head, folds: Mapping[str, Array]) -> Wrinkles | None:
    """The wrinkle maps of a head's keys; None for a head without skin, eyes or teeth. folds: material to (S,S)
    log darkness of its folds in the photographs."""
    if not {*PLACES} <= {*head.parts} or SKIN not in head.materials:
        return None
    rows = head.triangle_material == head.materials.index(SKIN)
    triangles = head.triangles[rows]
    sides = (LINES_SIDE, MASKS_SIDE)
    texels, small = (make_texels(head.uv, head.triangles_uv[rows], triangles, side) for side in sides)
    eyes, teeth = (head.points_of(name) for name in PLACES)
    albedo = cv2.resize(head.maps[SKIN][..., :3], (LINES_SIDE, LINES_SIDE), interpolation=cv2.INTER_AREA)
    shown = np.zeros_like(albedo[..., 0])
    if SKIN in folds:
        shown = cv2.resize(folds[SKIN], (LINES_SIDE, LINES_SIDE), interpolation=cv2.INTER_LINEAR)
    face = Face(texels, small, head.vertices, triangles, head.offsets, head.names, eyes, teeth)
    return make_wrinkles(face, albedo, shown)


def _value(image: Array) -> float | NDArray[np.uint8]:
    return float(image.mean()) if float(np.ptp(image)) < EVEN else to_uint8(image)
