# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: what an artist does with heads, two of them in one scene.

``python check_tools.py WORK`` as check_import.py.
"""

import math
import sys
import threading
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

import idto3d_blender
from idto3d_blender.head import expressions, mirror
from idto3d_blender.studio import as_photographed, light_rigs, own_collection, tiles, turntable
from tests.blender import blender_session, check_polls
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import refused, select

WORK = Path(sys.argv[-1])
NAMES = (*synthetic.EXPRESSIONS, *(name for name in expressions.EXPRESSIONS if name not in synthetic.EXPRESSIONS))


def values(obj: Any) -> dict[str, float]:
    return {key.name: key.value for key in obj.data.shape_keys.key_blocks[1:]}


def two_heads() -> tuple[Any, Any]:
    """Side by side, with nothing in common."""
    heads = []
    for name in ("anna", "ben"):
        synthetic.write(WORK / name, expressions=NAMES)
        assert bpy.ops.idto3d.import_head(filepath=str(WORK / name)) == {"FINISHED"}
        heads.append(bpy.context.object)
    bpy.context.view_layer.update()
    anna, ben = heads
    assert ben.location.x - anna.location.x > 0.2, "they stand in each other"
    assert not set(anna.data.materials) & set(ben.data.materials)
    trees = [[material.node_tree for material in head.data.materials] for head in heads]
    images = [{n.image for tree in of_head for n in tree.nodes if n.type == "TEX_IMAGE"} for of_head in trees]
    assert not images[0] & images[1]
    for head in heads:
        drivers = head.material_slots[0].material.node_tree.animation_data.drivers
        assert [d.driver.variables[0].targets[0].id for d in drivers] == [head.data.shape_keys]
    return anna, ben


def check_animation(anna: Any, ben: Any) -> None:
    select(anna)
    anna.data.shape_keys.key_blocks["smile"].value = 0.4
    assert bpy.ops.idto3d.reset_expressions() == {"FINISHED"} and not any(values(anna).values())
    anna.data.shape_keys.key_blocks["smile"].value = 0.4
    assert bpy.ops.idto3d.test_animation(frames=12, start=10) == {"FINISHED"}
    scene = bpy.context.scene
    assert (scene.frame_start, scene.frame_end) == (10, 10 + 12 * len(NAMES) - 1)
    for number, name in enumerate(NAMES):
        scene.frame_set(10 + 12 * number + 6)
        assert {key for key, value in values(anna).items() if value > 0.99} == {name}, (
            f"frame of {name}: {values(anna)}"
        )
    scene.frame_set(scene.frame_end + 1)
    assert not any(values(anna).values()), "the loop does not close"
    assert not any(values(ben).values()) and ben.data.shape_keys.animation_data is None
    assert bpy.ops.idto3d.test_animation(frames=6) == {"FINISHED"}, "a second time"
    assert len([action for action in bpy.data.actions if action.users]) == 1
    check_frames(scene, anna)
    assert bpy.ops.idto3d.clear_animation() == {"FINISHED"}
    pose = {name: value for name, value in values(anna).items() if value}
    assert list(pose) == ["smile"] and abs(pose["smile"] - 0.4) < 1e-6, f"as before both of them: {pose}"
    refused(bpy.ops.idto3d.clear_animation, "no test animation")
    bare = ben.copy()
    bare.data = ben.data.copy()
    bpy.context.scene.collection.objects.link(bare)
    for key in list(bare.data.shape_keys.key_blocks)[1:]:
        bare.shape_key_remove(key)
    select(bare)
    refused(bpy.ops.idto3d.test_animation, "no expressions")
    bpy.data.meshes.remove(bare.data)
    ben.data.shape_keys.key_blocks["smile"].keyframe_insert("value", frame=1)
    select(ben)
    refused(bpy.ops.idto3d.test_animation, "animation of its own")
    select(anna)


def check_frames(scene: Any, anna: Any) -> None:
    """Test animation (6 frames for each expression) and turntable share the scene's frames, and give them back."""

    def frames() -> tuple[int, int]:
        return scene.frame_start, scene.frame_end

    loop = 6 * len(NAMES)
    assert frames() == (1, loop), "the longer one from before is still there"
    camera = scene.camera
    for turn, both in ((4, loop), (loop + 50, loop + 50)):
        assert bpy.ops.idto3d.turntable(frames=turn) == {"FINISHED"} and frames() == (1, both)
    assert bpy.ops.idto3d.clear_animation() == {"FINISHED"} and frames() == (1, loop + 50)
    assert bpy.ops.idto3d.test_animation(frames=6) == {"FINISHED"} and frames() == (1, loop + 50)
    assert bpy.ops.idto3d.remove_turntable() == {"FINISHED"} and frames() == (1, loop) and scene.camera == camera
    refused(bpy.ops.idto3d.remove_turntable, "no turntable")
    assert bpy.ops.idto3d.clear_animation() == {"FINISHED"} and frames() == (1, 250), "the scene's own range is lost"
    # What the user sets meanwhile stays.
    assert bpy.ops.idto3d.test_animation(frames=6) == {"FINISHED"}
    scene.frame_start, scene.frame_end = 20, 90
    assert bpy.ops.idto3d.clear_animation() == {"FINISHED"} and frames() == (20, 90)
    scene.frame_start, scene.frame_end = 1, 250
    # A head that is deleted needs no frames any more.
    copy = anna.copy()
    copy.data = anna.data.copy()
    scene.collection.objects.link(copy)
    select(copy)
    assert bpy.ops.idto3d.test_animation(frames=6) == {"FINISHED"} and frames() == (1, loop)
    bpy.data.objects.remove(copy)
    scene.frame_start, scene.frame_end = 1, 100
    select(anna)
    assert bpy.ops.idto3d.turntable(frames=4) == {"FINISHED"} and frames() == (1, 4)
    assert bpy.ops.idto3d.remove_turntable() == {"FINISHED"} and frames() == (1, 100)
    scene.frame_start, scene.frame_end = 1, 250
    assert bpy.ops.idto3d.test_animation(frames=6) == {"FINISHED"}


def check_mirror(anna: Any, ben: Any) -> None:
    blocks = anna.data.shape_keys.key_blocks
    points = np.empty(3 * len(anna.data.vertices), dtype=np.float32)
    blocks[0].points.foreach_get("co", points)
    basis = points.reshape(-1, 3).copy()
    # A pull of the mouth to the person's left, on that half only.
    offset = np.zeros_like(basis)
    offset[:, 0] = 0.01 * np.exp(-((basis[:, 0] - 0.03) ** 2 + (basis[:, 2] - 0.08) ** 2) / 0.0008) * (basis[:, 1] < 0)
    blocks["mouth_left"].points.foreach_set("co", (basis + offset).ravel())
    assert mirror.missing(anna) == {"jaw_right": "jaw_left", "mouth_left": "mouth_right"}
    # Given up after the first of two keys: none is left. The window waits for no key's arithmetic.
    before, where, arithmetic = blocks.keys(), set(), mirror.mirrored

    def watched(*given: Any) -> Any:
        where.add(threading.current_thread())
        time.sleep(0.02)  # longer than a step waits for it
        return arithmetic(*given)

    mirror.mirrored = watched  # type: ignore[assignment]
    steps = mirror.add_missing(anna)
    while len(blocks) == len(before):
        next(steps)
    steps.close()
    mirror.mirrored = arithmetic
    assert where and threading.main_thread() not in where, "a key is mirrored while the window waits"
    assert blocks.keys() == before, blocks.keys()
    assert bpy.ops.idto3d.mirror_keys() == {"FINISHED"}
    refused(bpy.ops.idto3d.mirror_keys, "has its other side")
    blocks["mouth_right"].points.foreach_get("co", points)
    made = points.reshape(-1, 3) - basis
    # The ellipsoid is symmetric (24 columns): the true mirror image is known.
    twin = [int(np.argmin(np.linalg.norm(basis - p * (-1, 1, 1), axis=1))) for p in basis]
    assert np.abs(made - offset[twin] * (-1, 1, 1)).max() < 3e-4
    still = anna.data.attributes["part"]
    assert len(still.data) == len(anna.data.polygons)
    assert made[:, 0].min() < -0.005, made[:, 0].min()
    assert blocks["mouth_right"].value == 0.0
    assert "mouth_right" not in ben.data.shape_keys.key_blocks
    # Vertices that have no twin: the field is smooth, so nearest ones give it to a tenth.
    jitter = np.random.default_rng(1).normal(0, 1, (4000, 3)).astype(np.float32)
    cloud = (jitter / np.linalg.norm(jitter, axis=1, keepdims=True) * 0.1).astype(np.float32)

    def field(p: np.ndarray) -> np.ndarray:
        weight = np.exp(-((p - (0.05, -0.08, 0)) ** 2).sum(axis=1) / 0.002)
        return (weight[:, None] * (0.01, 0.0, 0.002)).astype(np.float32)

    wanted = field(cloud * (-1, 1, 1)) * (-1, 1, 1)
    one = np.zeros(len(cloud), np.int32)
    assert np.abs(mirror.mirrored(cloud, field(cloud), one) - wanted).max() < 0.001
    # Two parts in the same place, of which one moves: its motion is not the other's.
    both, of = np.concatenate([cloud, cloud]), np.repeat(np.array([0, 5], np.int32), len(cloud))
    made = mirror.mirrored(both, np.concatenate([field(cloud), 0 * cloud]), of)
    assert np.abs(made[: len(cloud)] - wanted).max() < 0.001 and not made[len(cloud) :].any()


def check_light(anna: Any, ben: Any) -> None:
    scene = bpy.context.scene
    own = bpy.data.objects.new("my light", bpy.data.lights.new("my light", "SUN"))
    scene.collection.objects.link(own)
    directions = {}
    for head in (anna, ben):
        select(head)
        for rig in ("FRONT", "BACK", "DIRECT", "DIFFUSE"):
            assert bpy.ops.idto3d.light_rig(rig=rig) == {"FINISHED"}
            lights = [obj for obj in scene.objects if obj.type == "LIGHT" and obj != own]
            assert len(lights) == {"FRONT": 2, "BACK": 3, "DIRECT": 1, "DIFFUSE": 8}[rig]
            assert all(light.data.use_shadow_jitter for light in lights)
            middle = np.mean([light.location for light in lights], axis=0) - np.array(head.matrix_world.translation)
            directions[rig] = middle
        assert directions["FRONT"][1] < -0.3 and directions["DIRECT"][1] < -0.3 < directions["BACK"][1]
        assert abs(directions["DIFFUSE"][:2]).max() < 0.1
    lamps = next(child for child in scene.collection.children if own_collection.is_ours(child, "lights"))
    # A copy that somebody has made of one of ours, as a start, is theirs.
    select(next(iter(lamps.objects)))
    bpy.ops.object.duplicate()
    copy = bpy.context.object
    lamps.objects.unlink(copy)
    scene.collection.objects.link(copy)
    select(ben)
    assert bpy.ops.idto3d.light_rig(rig="BACK") == {"FINISHED"}
    copy.name = "a light of my own"
    lamps = next(child for child in scene.collection.children if own_collection.is_ours(child, "lights"))
    select(next(iter(lamps.objects)))
    bpy.ops.object.delete()
    mine = bpy.data.objects.new("mine", None)
    lamps.objects.link(mine)
    deeper = bpy.data.collections.new("deeper")
    scene.collection.children.link(deeper)
    deeper.children.link(lamps)
    scene.collection.children.unlink(lamps)
    assert own_collection.is_there(scene, light_rigs.KIND)
    assert bpy.ops.idto3d.remove_lights() == {"FINISHED"}
    assert mine.name in scene.objects and own.name in scene.objects
    assert {obj.name for obj in scene.objects if obj.type == "LIGHT"} == {"my light", "a light of my own"}
    assert len(bpy.data.lights) == 2
    bpy.data.lights.remove(copy.data)


def ball(metallic: float) -> Any:
    """(32,32) lightness of a ball before a camera at -Y, in the scene's world alone."""
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32)
    bpy.ops.object.shade_smooth()
    shader = bpy.data.materials.new("ball")
    shader.use_nodes = True
    inputs = shader.node_tree.nodes["Principled BSDF"].inputs
    inputs["Metallic"].default_value, inputs["Roughness"].default_value = metallic, 1.0 - metallic
    inputs["Base Color"].default_value, inputs["Specular IOR Level"].default_value = (0.5, 0.5, 0.5, 1), 0.0
    bpy.context.object.data.materials.append(shader)
    scene.render.filepath = str(WORK / "ball.png")
    bpy.ops.render.render(write_still=True)
    bpy.data.objects.remove(bpy.context.object)
    image = bpy.data.images.load(scene.render.filepath)
    pixels = np.array(image.pixels[:]).reshape(32, 32, 4)[..., 0]
    bpy.data.images.remove(image)
    return pixels[8:-8, 8:-8]


def check_light_of_a_photo() -> None:
    """Cloth shows its light smooth, as nine harmonics are; on an eye they were fog without a catchlight."""
    light = np.zeros((9, 3))
    light[0], light[2], light[1] = 3.5, 1.2, 1.2  # from the front and from above
    smooth = as_photographed.radiance(light)
    sharp = as_photographed.mirrored(smooth)
    rise = np.cos(((np.arange(len(smooth)) + 0.5) / len(smooth) - 0.5) * np.pi)[:, None, None]
    np.testing.assert_allclose((sharp * rise).sum((0, 1)), (smooth * rise).sum((0, 1)), rtol=1e-4)
    assert not as_photographed.mirrored(np.zeros_like(smooth)).any()

    scene = bpy.data.scenes.new("photo")
    bpy.context.window.scene = scene
    data = bpy.data.cameras.new("camera")
    scene.camera = bpy.data.objects.new("camera", data)
    scene.collection.objects.link(scene.camera)
    data.type, data.ortho_scale = "ORTHO", 2.2
    scene.camera.location, scene.camera.rotation_euler = (0, -5, 0), (math.pi / 2, 0, 0)
    tiles.set_up_cycles(scene, 32, 16)
    scene.view_settings.view_transform, scene.view_settings.look = "Standard", "None"
    scene.world = as_photographed.world(light)
    eye, cloth = ball(1.0), ball(0.0)
    assert eye.max() > 0.99 and np.median(eye) < 0.5, (eye.max(), np.median(eye))
    assert cloth.max() < 2.0 * np.median(cloth), (cloth.max(), np.median(cloth))
    # A mirror turned half way to the light shows it: the lamp is above the ball's middle.
    rows, columns = np.nonzero(eye > 0.99)
    assert 8 < rows.mean() < 14 and abs(columns.mean() - 7.5) < 2, (rows.mean(), columns.mean())
    bpy.context.window.scene = bpy.data.scenes[0]
    bpy.data.scenes.remove(scene)
    bpy.data.cameras.remove(data)


def box(name: str, size: float, place: Any) -> Any:
    mesh = bpy.data.meshes.new(name)
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh.from_pydata([[size / 2 * c for c in corner] for corner in corners], [], faces)
    obj = bpy.data.objects.new(name, mesh)
    obj.location = place
    bpy.context.scene.collection.objects.link(obj)
    return obj


def check_in_the_way(ben: Any) -> None:
    """A box beside the head, as the default cube is, and one around it are hidden meanwhile; ground and room stay."""
    middle = ben.matrix_world.translation
    beside = box("beside", 2.0, middle + Vector((-1.2, 0, 0)))
    around = box("around", 2.0, middle)
    ground, far, walls = (
        box("ground", 3.0, middle - Vector((0, 0, 1.8))),
        box("far", 1.0, (0, 9, 0)),
        box("room", 12, middle),
    )
    around.hide_set(True)
    assert bpy.ops.idto3d.turntable() == {"FINISHED"}
    assert beside.hide_render and beside.hide_get() and around.hide_render
    beside.name = "renamed"
    assert not any(obj.hide_render or obj.hide_get() for obj in (ground, far, walls, ben))
    assert bpy.ops.idto3d.remove_turntable() == {"FINISHED"}
    assert not beside.hide_render and not beside.hide_get() and not around.hide_render and around.hide_get()
    # In another view layer than it was made in.
    layers = bpy.context.scene.view_layers
    assert bpy.ops.idto3d.turntable() == {"FINISHED"} and beside.hide_get()
    bpy.context.window.view_layer = layers.new("another")
    assert bpy.ops.idto3d.remove_turntable() == {"FINISHED"}
    bpy.context.window.view_layer = layers[0]
    layers.remove(layers["another"])
    assert not beside.hide_get() and not beside.hide_render
    select(ben)
    marker = bpy.context.scene.timeline_markers.new("cut", frame=5)
    assert not turntable.bound(bpy.context.scene)
    marker.camera = bpy.data.objects.new("another", bpy.data.cameras.new("another"))
    assert turntable.bound(bpy.context.scene) == ["cut"]
    bpy.data.cameras.remove(marker.camera.data)
    bpy.context.scene.timeline_markers.remove(marker)
    # Deleted with its collection, as in the Outliner: the cross beside the button still gives back what it changed.
    scene, frames = bpy.context.scene, (bpy.context.scene.frame_start, bpy.context.scene.frame_end)
    own = bpy.data.objects.new("own", bpy.data.cameras.new("own"))
    scene.collection.objects.link(own)
    scene.camera = own
    assert bpy.ops.idto3d.turntable(frames=77) == {"FINISHED"} and beside.hide_render
    (ours,) = [one for one in scene.collection.children if own_collection.is_ours(one, turntable.KIND)]
    bpy.data.batch_remove([*filter(None, (obj.data for obj in ours.objects)), *ours.objects, ours])
    assert bpy.ops.idto3d.remove_turntable() == {"FINISHED"} and not beside.hide_render
    assert (scene.frame_start, scene.frame_end) == frames and scene.camera == own
    bpy.data.cameras.remove(own.data)
    refused(bpy.ops.idto3d.remove_turntable, "no turntable")
    for obj in (beside, around, ground, far, walls):
        bpy.data.objects.remove(obj)


def check_turntable(ben: Any) -> None:
    scene = bpy.context.scene
    select(ben)
    check_in_the_way(ben)
    scene.render.resolution_x, scene.render.resolution_y = 1920, 1080
    for engine, name in (("EEVEE", turntable.EEVEE), ("CYCLES", "CYCLES"), ("KEEP", "CYCLES")):
        assert bpy.ops.idto3d.turntable(frames=40, engine=engine) == {"FINISHED"} and scene.render.engine == name
    assert len(bpy.data.cameras) == 1 and (scene.frame_start, scene.frame_end) == (1, 40)
    corners = [ben.matrix_world @ vertex.co for vertex in ben.data.vertices]
    for frame, angle in ((1, 0), (11, 90), (21, 180), (31, 270)):
        scene.frame_set(frame)
        camera = scene.camera
        away = camera.matrix_world.translation - camera.parent.matrix_world.translation
        off = (math.degrees(math.atan2(away.x, -away.y)) - angle + 180) % 360 - 180
        assert abs(off) < 0.1, f"frame {frame} is {off} degrees off: it does not turn evenly"
        seen = np.array([world_to_camera_view(scene, camera, corner) for corner in corners])
        assert (seen[:, 0] > 0).all() and (seen[:, 0] < 1).all() and seen[:, 1].max() < 1 and (seen[:, 2] > 0).all()
        assert seen[:, 1].max() - seen[:, 1].min() > 0.5, "the head is small in the picture"
    assert bpy.ops.idto3d.remove_turntable() == {"FINISHED"}


def check_asset(anna: Any) -> None:
    select(anna)
    assert bpy.ops.idto3d.mark_asset() == {"FINISHED"}
    assert anna.asset_data is not None and tuple(anna.preview.image_size) == (256, 256)
    pixels = np.array(anna.preview.image_pixels_float[:])
    assert pixels.reshape(-1, 4)[:, 3].max() > 0, "the picture is empty"
    assert anna.asset_data.license == "CC0-1.0"
    refused(bpy.ops.idto3d.mark_asset, "already")


def main() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    refused(bpy.ops.idto3d.light_rig, "Select a head first")
    anna, ben = two_heads()
    check_animation(anna, ben)
    check_mirror(anna, ben)
    check_light(anna, ben)
    check_light_of_a_photo()
    check_turntable(ben)
    check_asset(anna)
    check_polls.draw_all_panels()
    idto3d_blender.unregister()
    blender_session.leave()


main()
