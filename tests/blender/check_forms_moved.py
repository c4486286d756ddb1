# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: what a user moves a head with goes along to its other forms, and into mixtures, and is
in nobody's way. ``python check_forms_moved.py WORK``."""

import math
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import hand_over, import_head, mesh_data, naming, operators_blend, rig, separate, wrap_head
from tests.blender import blender_session
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import key_places, refused

WORK = Path(sys.argv[-1])


def head_of(name: str) -> Any:
    """The head of a bundle in an empty file."""
    folder = WORK / name
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert bpy.ops.idto3d.import_head(filepath=str(folder)) == {"FINISHED"}
    return bpy.context.object


def drive(obj: Any, key: str, name: str) -> Any:
    """Let a key follow a property of the object; returns the driver."""
    obj[name] = 0.0
    driver = obj.data.shape_keys.key_blocks[key].driver_add("value").driver
    driver.type = "SUM"
    target = driver.variables.new().targets[0]
    target.id, target.data_path = obj, f'["{name}"]'
    return driver


def driven(obj: Any) -> list[str]:
    data = obj.data.shape_keys.animation_data
    return [curve.data_path for curve in data.drivers] if data is not None else []


def check_densities() -> None:
    full = head_of("anna")
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    half = bpy.context.object
    half.rotation_mode, half.delta_location = "QUATERNION", (0.0, 0.0, 1.0)
    half.rotation_quaternion = (math.cos(0.5), 0.0, 0.0, math.sin(0.5))
    half.keyframe_insert("rotation_quaternion", frame=1)
    half.keyframe_insert("location", frame=1)
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    half.matrix_basis = full.matrix_basis.Identity(4)
    bpy.context.scene.frame_set(1)
    bpy.context.view_layer.update()
    assert full.rotation_mode == "QUATERNION" and np.allclose(full.matrix_world, half.matrix_world, atol=1e-6)
    assert abs(full.matrix_world.translation.z - 1.0) < 1e-6, "the delta stayed behind"
    drive(full, "smile", "mood")
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    assert driven(half) == driven(full) != []
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    assert len(driven(full)) == 1, "driven twice"


def check_correctives() -> None:
    """A key that follows another one of its head does so in each form."""
    full = head_of("anna")
    full.shape_key_add(name="corrective", from_mix=False)
    driver = full.data.shape_keys.key_blocks["corrective"].driver_add("value").driver
    driver.type = "SUM"
    target = driver.variables.new().targets[0]
    target.id_type, target.id, target.data_path = "KEY", full.data.shape_keys, 'key_blocks["smile"].value'
    for make in (lambda: bpy.ops.idto3d.change_density(density="HALF"), bpy.ops.idto3d.separate_parts):
        assert make() == {"FINISHED"}
        keys = bpy.context.object.data.shape_keys
        assert {v.targets[0].id for curve in keys.animation_data.drivers for v in curve.driver.variables} == {keys}
        keys.key_blocks["smile"].value = 0.7
        bpy.context.view_layer.update()
        assert abs(keys.key_blocks["corrective"].value - 0.7) < 1e-6, "it reads the keys of a form that is hidden"


def check_parts() -> None:
    head = head_of("anna")
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
    refused(bpy.ops.idto3d.cut_neck, "Take its parts together first")
    refused(bpy.ops.idto3d.mirror_keys, "Take its parts together first")
    part = bpy.context.object
    keys = part.data.shape_keys
    driver = keys.key_blocks["smile"].driver_add("value").driver
    driver.type = "SUM"
    target = driver.variables.new().targets[0]
    target.id_type, target.id, target.data_path = "KEY", keys, 'key_blocks["mouth_stretch"].value'
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"} and bpy.context.object == head
    (curve,) = head.data.shape_keys.animation_data.drivers
    assert curve.driver.variables[0].targets[0].id == head.data.shape_keys, "it follows keys that are gone"
    # From a part whose leader was deleted.
    head.data.shape_keys.animation_data_clear()
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
    bpy.data.objects.remove(bpy.context.object)
    bpy.context.view_layer.objects.active = next(obj for obj in bpy.context.scene.objects if separate.is_part(obj))
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"} and not driven(head)


def check_changed_parts() -> None:
    """Work on the parts is not lost with them: a sculpted key, a key and a material of one's own, a modifier."""
    head = head_of("anna")
    lamp = bpy.data.lights.new("lamp", "POINT")
    for number in range(4):
        assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
        parts = separate.parts_of(bpy.context.object)
        changed, first = (parts[0] if number == 0 else parts[1]), bpy.context.object
        if number == 0:
            changed.shape_key_add(name="my scar")
            energy = lamp.driver_add("energy").driver.variables.new().targets[0]
            energy.id_type, energy.id = "KEY", first.data.shape_keys
            energy.data_path = 'key_blocks["smile"].value'
        elif number == 1:
            changed.data.shape_keys.key_blocks["smile"].points[0].co.z += 0.01
        elif number == 2:
            changed.data.materials[0] = bpy.data.materials.new("steel")
        else:
            changed.modifiers.new("thick", "SOLIDIFY")
        assert bpy.ops.idto3d.whole_head() == {"FINISHED"} and bpy.context.object == head and not head.hide_get()
        if number == 0:
            assert energy.id == head.data.shape_keys, "the driver reads nothing any more"
        assert (
            kept_of(head) == [changed] and changed.hide_get() and changed.hide_render and not separate.is_part(changed)
        )
        assert import_head.is_head(head) and not import_head.is_head(changed)
        head.data.shape_keys.key_blocks["smile"].value = 0.5
        changed.hide_set(False)
        bpy.context.view_layer.update()
        assert math.isclose(changed.data.shape_keys.key_blocks["smile"].value, 0.5, abs_tol=1e-6), (
            "it does not follow the head"
        )
        naming.remove_objects([changed])
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"} and not kept_of(head), "what nobody changed stays"


def kept_of(head: Any) -> list[Any]:
    return [obj for obj in naming.collection_of(head).objects if obj != head]


def check_view_layers() -> None:
    """Who has hidden a head in another view layer finds it hidden there, and else one form of it."""
    full = head_of("anna")
    other = bpy.context.scene.view_layers.new("second")
    for hidden in (True, False):
        full.hide_set(hidden, view_layer=other)
        assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
        half = bpy.context.object
        assert full.hide_get(view_layer=other) and half.hide_get(view_layer=other) == hidden
        assert not half.hide_get() and full.hide_get()
        assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
        assert half.hide_get(view_layer=other) and full.hide_get(view_layer=other) == hidden


def check_multires() -> None:
    """The base is the head at rest, whatever its drivers say meanwhile, and follows them afterwards."""
    head = head_of("anna")
    muted = head.data.shape_keys.key_blocks["smile"]
    muted.mute = True
    drive(head, "mouth_stretch", "open")
    head["open"] = 1.0
    bpy.context.view_layer.update()
    assert bpy.ops.idto3d.multires_base() == {"FINISHED"}
    made = bpy.context.object
    assert [key.name for key in made.data.shape_keys.key_blocks if key.mute] == [muted.name]
    nearest = wrap_head.skin_of(head).nearest()
    for value, least, most in ((0.0, 0.0, 2e-5), (1.0, 1e-3, 1.0)):
        made.data.shape_keys.animation_data_clear()
        made.data.shape_keys.key_blocks["mouth_stretch"].value = value
        bpy.context.view_layer.update()
        mesh = made.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
        places = np.array([vertex.co for vertex in mesh.vertices])
        off = float(np.linalg.norm(nearest(places).place - places, axis=1).mean())
        assert least <= off <= most, (value, off)


def check_easing() -> None:
    """A copied curve is the curve, with the overshoot of its easing."""
    obj = bpy.data.objects.new("eased", None)
    for frame, height in ((1, 0.0), (20, 1.0)):
        obj.location.z = height
        obj.keyframe_insert("location", index=2, frame=frame)
    data = obj.animation_data
    (curve,) = hand_over.curves_of(data)
    curve.keyframe_points[0].interpolation, curve.keyframe_points[0].type = "BACK", "EXTREME"
    curve.keyframe_points[0].back = 3.0
    other = bpy.data.objects.new("copy", None)
    other.animation_data_create().action = action = bpy.data.actions.new("copy")
    curves, slot = hand_over.part_for(other, action)
    if slot is not None:
        other.animation_data.action_slot = slot
    hand_over.copy_curve(curve, curves)
    (made,) = hand_over.curves_of(other.animation_data)
    drawn = [[one.evaluate(frame) for frame in range(1, 21)] for one in (curve, made)]
    assert max(drawn[0]) > 1.1 and drawn[0] == drawn[1] and made.keyframe_points[0].type == "EXTREME"


def check_uv() -> None:
    """What is painted and thinned is the layer that is shown, not the one that is being edited."""
    full = head_of("anna")
    shown = mesh_data.uv_of(full.data)
    other = full.data.uv_layers.new(name="lightmap", do_init=False)
    full.data.uv_layers.active = other
    assert np.array_equal(mesh_data.uv_of(full.data), shown) and np.ptp(shown) > 0.1
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    half = bpy.context.object.data
    apart = np.abs(mesh_data.uv_of(half)[:, None] - shown[None]).max(axis=2).min(axis=1)
    assert apart.max() < 1e-4, "UV of no corner"


def check_masks() -> None:
    """A key of one side stays that when people are mixed."""
    for name in ("anna", "ben"):
        head = head_of("anna") if name == "anna" else import_of("ben")
        places = key_places(head).reshape(-1, 3)
        group = head.vertex_groups.new(name="left")
        group.add(np.flatnonzero(places[:, 0] > 0).tolist(), 1.0, "REPLACE")
        head.data.shape_keys.key_blocks["smile"].vertex_group = "left"
    bpy.data.objects["anna"].select_set(True)
    assert bpy.ops.idto3d.blend_people() == {"FINISHED"} and bpy.ops.idto3d.finish_blend() == {"FINISHED"}
    made = bpy.context.object
    made.data.shape_keys.key_blocks["smile"].value = 1.0
    bpy.context.view_layer.update()
    seen = mesh_data.vertices(made.evaluated_get(bpy.context.evaluated_depsgraph_get()).data)
    moved = np.linalg.norm(seen - key_places(made).reshape(-1, 3), axis=1)
    right = key_places(made).reshape(-1, 3)[:, 0] < -1e-4
    assert moved[~right].max() > 1e-3 and moved[right].max() < 1e-6, (moved[~right].max(), moved[right].max())


def check_many_masks() -> None:
    """Those of all keys are read at once: Blender's window waits meanwhile."""
    head = head_of("anna")
    head.vertex_groups.new(name="half").add(list(range(len(head.data.vertices))), 0.5, "REPLACE")
    for number in range(60):
        head.shape_key_add(name=f"own {number}", from_mix=False)
    for key in head.data.shape_keys.key_blocks[-60:]:
        key.vertex_group = "half"
    with mock.patch.object(mesh_data, "weights", wraps=mesh_data.weights) as read:
        rig._read(head)
    assert read.call_count == 1, "once a key"
    moved = rig._read(head)[2]["smile"]
    head.data.shape_keys.key_blocks["smile"].vertex_group = "half"
    assert np.array_equal(rig._read(head)[2]["smile"], 0.5 * moved) and moved.any()


def check_mirrored_mask() -> None:
    """The other side of a key moves as that key does: as its mask lets it, from the key that it is relative to."""
    head = head_of("anna")
    blocks = head.data.shape_keys.key_blocks
    key, brow = blocks["smile"], blocks["brow_raiser"]
    key.name = "mouth_left"
    key.points.foreach_set(
        "co", (key_places(head, "mouth_left") + key_places(head, brow.name) - key_places(head)).ravel()
    )
    key.relative_key, key.vertex_group = brow, "half"
    head.vertex_groups.new(name="half").add(list(range(len(key.points))), 0.5, "REPLACE")
    most = np.abs(key_places(head, "mouth_left") - key_places(head, brow.name)).max()
    assert bpy.ops.idto3d.mirror_keys() == {"FINISHED"}
    moved = np.abs(key_places(head, "mouth_right") - key_places(head))
    assert abs(moved.max() - 0.5 * most) < 0.05 * most and moved[:, 2].max() < 1e-4, (moved.max(axis=0), most)


def import_of(name: str) -> Any:
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / name)) == {"FINISHED"}
    return bpy.context.object


def check_mixture() -> None:
    """What nobody posed while the shape was chosen is posed on that shape; and hair that changes takes no motion."""
    anna = head_of("anna")
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / "ben")) == {"FINISHED"}
    ben = bpy.context.object
    anna.select_set(True)
    bpy.context.view_layer.objects.active = anna
    assert bpy.ops.idto3d.blend_people() == {"FINISHED"}
    made = bpy.context.object
    made.idto3d_blend.people[1].shape = 1.0
    assert made.data.shape_keys.key_blocks["smile"].value == 0.0
    smile = key_places(made, "smile") - key_places(made)
    assert np.abs(smile - (key_places(anna, "smile") - key_places(anna))).max() < 1e-6
    assert np.abs(key_places(made) - key_places(ben)).max() < 1e-6
    made.data.shape_keys.key_blocks["smile"].keyframe_insert("value", frame=1)
    drive(made, "mouth_stretch", "open")
    action = made.data.shape_keys.animation_data.action
    for hair in ("1", "NONE", "0"):
        made.idto3d_blend.hair = hair
        assert made.data.shape_keys.animation_data.action == action and len(driven(made)) == 1, hair


def check_drivers_of_people() -> None:
    """The first one's go along, and outlive that head; of the others it is told."""
    anna = head_of("anna")
    ben = import_of("ben")
    drive(anna, "smile", "mood")
    follows = anna.data.shape_keys.key_blocks["brow_raiser"].driver_add("value").driver
    follows.type = "SUM"
    target = follows.variables.new().targets[0]
    target.id_type, target.id, target.data_path = "KEY", anna.data.shape_keys, 'key_blocks["smile"].value'
    gone = anna.shape_key_add(name='a "quoted" key', from_mix=False)
    gone.driver_add("value").driver.expression = "1"
    drive(ben, "mouth_stretch", "open")
    anna.select_set(True)
    bpy.context.view_layer.objects.active = anna
    assert bpy.ops.idto3d.blend_people() == {"FINISHED"}
    finish: Any = operators_blend.IDTO3D_OT_finish_blend.steps
    said = import_head.run_to_end(finish(None, bpy.context))
    made = bpy.context.object
    assert 'Not all of them have a "quoted" key' in said and f"keys of {ben.name} stay there" in said, said
    assert sorted(driven(made)) == ['key_blocks["brow_raiser"].value', 'key_blocks["smile"].value'], driven(made)
    naming.remove_objects([anna, ben])
    made["mood"] = 0.5
    made.update_tag()
    bpy.context.view_layer.update()
    values = {name: round(made.data.shape_keys.key_blocks[name].value, 4) for name in ("smile", "brow_raiser")}
    assert values == {"smile": 0.5, "brow_raiser": 0.5}, values


def main() -> None:
    idto3d_blender.register()
    synthetic.write(WORK / "anna", rows=24, columns=48)
    folder = synthetic.write(WORK / "ben", rows=24, columns=48)
    with np.load(folder / "head.npz") as stored:
        arrays = dict(stored)
    np.savez(folder / "head.npz", **{**arrays, "vertices": arrays["vertices"] * np.array([1.1, 1.0, 1.0], np.float32)})
    check_densities()
    check_correctives()
    check_parts()
    check_changed_parts()
    check_view_layers()
    check_multires()
    check_easing()
    check_uv()
    check_masks()
    check_many_masks()
    check_mirrored_mask()
    check_mixture()
    check_drivers_of_people()
    idto3d_blender.unregister()
    blender_session.leave()


main()
