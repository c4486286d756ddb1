# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys that bones of a rig move: twins of ARKit's for the jaw and for the lids that follow an eye."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import anatomy, mesh_data

PREFIX = "rig_"
"""Begins the names of keys that belong to the rig: no expression, not for a slider, not for an export."""
_SIDES = {"L": "Left", "R": "Right"}
_LOOKS = [f"eyeLook{way}{word}" for way in ("Up", "Down", "In", "Out") for word in _SIDES.values()]
_TWINS = {f"{PREFIX}{name}" for name in (*anatomy.JAW_KEYS, "jawLeft", "jawRight", "jawForward", *_LOOKS)}


def is_twin(name: str) -> bool:
    """The key is moved by a bone of the rig."""
    return name in _TWINS


def add(
    obj: Any, rig: Any, measured: anatomy.Anatomy, offsets: dict[str, NDArray[Any]], rigid: NDArray[Any]
) -> list[str]:
    """Make the twins and their drivers. offsets: key -> (V,3); rigid: numbers of the vertices that an eye bone turns
    by weight, which no lid's key may move again. Returns the names of the keys that the head lacks."""
    missing = []
    for name, bone, channel, scale in _wanted(measured, offsets):
        if name not in offsets:
            missing.append(name)
            continue
        offset = offsets[name].copy()
        if bone.startswith("eye"):
            offset[rigid] = 0.0
        _twin(obj, rig, name, offset, (bone, channel, scale))
    return missing


def remove(obj: Any) -> None:
    """Take the twins off a head."""
    keys = obj.data.shape_keys
    shown = obj.active_shape_key.name if obj.active_shape_key is not None else ""
    for block in [block for block in keys.key_blocks if is_twin(block.name)]:
        keys.driver_remove(f'key_blocks["{block.name}"].value')
        obj.shape_key_remove(block)
    obj.active_shape_key_index = max(keys.key_blocks.find(shown), 0)


def _wanted(measured: anatomy.Anatomy, offsets: dict[str, NDArray[Any]]) -> list[tuple[str, str, str, float]]:
    """(key, bone, channel of the bone, value of the key for 1 radian or 1 metre of it). Bones' X axes point to the
    person's left, the Z axes of jaw and eyes down."""
    opening = next((name for name in anatomy.JAW_KEYS if name in offsets), anatomy.JAW_KEYS[0])
    lever = float(np.linalg.norm(measured.chin - measured.jaw))
    out = [(opening, "jaw", "ROT_X", 1.0 / measured.jaw_angle)]
    for name, channel, sign, reach in (
        ("jawLeft", "ROT_Z", -1.0, lever),
        ("jawRight", "ROT_Z", 1.0, lever),
        ("jawForward", "LOC_Y", 1.0, 1.0),
    ):
        # A key that the head has tells how far its chin goes.
        far = float(np.linalg.norm(offsets[name], axis=1).max()) if name in offsets else 0.01
        out.append((name, "jaw", channel, sign * reach / max(far, 1e-4)))
    for side, word in _SIDES.items():
        if side not in measured.eyes:
            continue
        inwards = 1.0 if side == "L" else -1.0
        for way, channel, sign in (
            ("Up", "ROT_X", -1.0),
            ("Down", "ROT_X", 1.0),
            ("In", "ROT_Z", inwards),
            ("Out", "ROT_Z", -inwards),
        ):
            angle = measured.eye_angles[side, way]
            out.append((f"eyeLook{way}{word}", f"eye.{side}", channel, sign / angle))
    return out


def _twin(obj: Any, rig: Any, name: str, offset: NDArray[Any], moved_by: tuple[str, str, float]) -> None:
    bone, channel, scale = moved_by
    keys = obj.data.shape_keys
    key = obj.shape_key_add(name=f"{PREFIX}{name}", from_mix=False)
    key.points.foreach_set("co", (mesh_data.places(keys.key_blocks[0]) + offset.astype(np.float32)).ravel())
    key.slider_min, key.slider_max, key.value = 0.0, 1.5, 0.0
    driver = key.driver_add("value").driver
    driver.type = "SCRIPTED"
    turned = driver.variables.new()
    turned.name, turned.type = "turned", "TRANSFORMS"
    target = turned.targets[0]
    target.id, target.bone_target = rig, bone
    target.transform_space, target.transform_type = "LOCAL_SPACE", channel
    # Blender reads this without Python, so that it works where scripts of a file are not let run.
    driver.expression = f"min(max(turned * {scale:.6f}, 0), {1.5 if math.isfinite(scale) else 0})"
