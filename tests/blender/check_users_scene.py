# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: what users paint on a head, hang on it, put around it, and copy of it.

``python check_users_scene.py WORK`` as check_import.py.
"""

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import densities, export, hand_over, naming, rig, separate
from idto3d_blender.head.export import motion
from tests.blender import blender_session
from tests.blender.blender_session import refused, select
from tests.blender.captured import new_head
from tests.blender.exported import WORK

PAINT = (0.0, 1.0, 0.0)


def paint(head: Any, role: str, colour: tuple[float, float, float] = PAINT) -> Any:
    """Fill a picture of a head, and do not save it."""
    image = next(image for image in naming.images(head) if image.get(naming.ROLE) == role)
    image.pixels.foreach_set(np.tile(np.array((*colour, 1.0), np.float32), image.size[0] * image.size[1]))
    image.update()
    assert image.is_dirty
    return image


def colour_of(image: Any) -> list[int]:
    return [round(value) for value in image.pixels[:3]]


def check_paint(head: Any, other: Any) -> None:
    """What is painted and not saved is exported, and goes into a mixture."""
    depth = paint(head, "skin_albedo").depth
    paint(head, "skin_roughness")
    select(head)
    assert bpy.ops.idto3d.export(directory=str(WORK / "out"), preset="UNITY") == {"FINISHED"}
    (file,) = (WORK / "out").rglob("*skin_albedo.png")
    written = bpy.data.images.load(str(file))
    assert colour_of(written) == list(PAINT) and written.depth == depth == 24, (written.depth, depth)
    assert paint(head, "skin_albedo").is_dirty
    for share in (0.0, 1.0):
        select(other, head)
        assert bpy.ops.idto3d.blend_people() == {"FINISHED"}
        made = bpy.context.object
        made.idto3d_blend.people[1].skin = share
        assert bpy.ops.idto3d.finish_blend() == {"FINISHED"}
        image = next(image for image in naming.images(made) if image.get(naming.ROLE) == "skin_albedo")
        assert (colour_of(image) == list(PAINT)) == (share == 1.0), image.pixels[:3]
        assert image.packed_file is not None and image.name.startswith(made.name)


def check_copied_mixture(one: Any, other: Any) -> None:
    """Two mixtures side by side, one copied from the other, are two people."""
    paint(other, "skin_albedo")
    select(one, other)
    assert bpy.ops.idto3d.blend_people() == {"FINISHED"}
    first = bpy.context.object
    bpy.ops.object.duplicate()
    second = bpy.context.object
    assert second != first and second.data != first.data
    first.idto3d_blend.people[1].skin, second.idto3d_blend.people[1].skin = 0.0, 1.0
    looks = []
    for made in (first, second):
        select(made)
        assert bpy.ops.idto3d.finish_blend() == {"FINISHED"}
    for made in (first, second):
        looks.append(next(image for image in naming.images(made) if image.get(naming.ROLE) == "skin_albedo"))
        curve = made.data.materials[0].node_tree.animation_data.drivers[0]
        assert curve.driver.variables[0].targets[0].id == made.data.shape_keys
    assert not {*first.data.materials} & {*second.data.materials}
    assert colour_of(looks[0]) != list(PAINT) and colour_of(looks[1]) == list(PAINT)


def check_lattice(head: Any) -> None:
    """What lies around a head in the scene and shapes it, shapes its export."""
    head.location = (2.0, 0.0, 0.0)
    lattice = bpy.data.objects.new("cage", bpy.data.lattices.new("cage"))
    bpy.context.collection.objects.link(lattice)
    lattice.location = (2.0, 0.0, 0.0)
    for point in lattice.data.points:
        point.co_deform.x *= 2.0
    head.modifiers.new("Lattice", "LATTICE").object = lattice
    select(head)
    bpy.context.view_layer.update()
    width = head.evaluated_get(bpy.context.evaluated_depsgraph_get()).dimensions.x
    assert width > 1.5 * np.ptp(blender_session.key_places(head)[:, 0])
    wanted = export.stage.Wanted(export.BY_NAME["THREE"], {}, False, "wide", 1.0)
    with export.stage.scene_of_our_own(bpy.context) as scene:
        staged = export.stage.stage(scene, head, wanted, WORK / "wide").head
        points = np.array([vertex.co for vertex in staged.data.vertices])
    assert abs(np.ptp(points[:, 0]) - width) < 1e-4, (np.ptp(points[:, 0]), width)


def check_camera_view(head: Any) -> None:
    """A viewport that looks through the camera does so after an export."""
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    bpy.context.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    areas = [area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == "VIEW_3D"]
    view = areas[0].spaces.active.region_3d
    view.view_perspective = "CAMERA"
    with export.stage.scene_of_our_own(bpy.context):
        pass
    assert view.view_perspective == "CAMERA"


def check_shared_mesh(head: Any) -> None:
    """A rig's keys and weights are the mesh's: no second object may have the same one."""
    twin = bpy.data.objects.new("twin", head.data)
    bpy.context.collection.objects.link(twin)
    select(head)
    refused(bpy.ops.idto3d.add_rig, "make it a single user")
    bpy.data.objects.remove(twin)
    head.data.use_fake_user = True
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}


def check_own_keys(head: Any) -> None:
    """A user's key may be called as those of a rig begin, and groups as bones are."""
    head.shape_key_add(name="rig_squash", from_mix=False)
    for name in ("head", "neck"):
        head.vertex_groups.new(name=name)
    head.modifiers.new("Armature", "ARMATURE")
    select(head)
    refused(bpy.ops.idto3d.add_rig, "rename them first")
    assert "rig_squash" in head.data.shape_keys.key_blocks and len(head.vertex_groups) == 2 and head.modifiers


def check_hidden_copy(head: Any) -> None:
    """It keeps the rig that another head gives up; an earlier form of that one does not."""
    select(head)
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    made = rig.rig_of(head)
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    early = bpy.context.object
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    head.shape_key_add(name="more", from_mix=False)
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    half = bpy.context.object
    assert half != early and "more" in half.data.shape_keys.key_blocks, "a key that was added is not there"
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    select(head)
    bpy.ops.object.duplicate()
    copy = bpy.context.object
    copy.hide_set(True)
    select(head)
    assert bpy.ops.idto3d.remove_rig() == {"FINISHED"} and rig.rig_of(head) is None
    assert rig.rig_of(copy) == made and "head" in copy.vertex_groups
    assert rig.rig_of(half) is None and rig.rig_of(early) is None


def check_hung_on(head: Any) -> None:
    """Glasses hang on the form of a head that is shown, and stay where they are."""
    glasses = bpy.data.objects.new("glasses", None)
    bpy.context.collection.objects.link(glasses)
    glasses.parent, glasses.location, head.location = head, (0.0, -0.1, 0.0), (1.0, 0.0, 0.0)
    # A constraint that adds to where the object is does so once.
    strap = bpy.data.objects.new("strap", None)
    bpy.context.collection.objects.link(strap)
    strap.location = (0.0, 0.0, 0.5)
    strap.parent = head
    held = bpy.data.objects.new("held", None)
    bpy.context.collection.objects.link(held)
    held.parent = head
    adding = held.constraints.new("COPY_LOCATION")
    adding.target, adding.use_offset = strap, True
    bpy.context.view_layer.update()
    before = held.matrix_world.copy()
    select(head)
    for density in ("HALF", "FULL"):
        assert bpy.ops.idto3d.change_density(density=density) == {"FINISHED"}
        assert glasses.parent == bpy.context.object and densities.density_of(glasses.parent) == density
        bpy.context.view_layer.update()
        np.testing.assert_allclose(glasses.matrix_world.translation, (1.0, -0.1, 0.0), atol=1e-6)
        np.testing.assert_allclose(held.matrix_world, before, atol=1e-6)
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
    assert glasses.parent == bpy.context.object and separate.is_part(glasses.parent)
    part = next(obj for obj in bpy.data.objects if separate.is_part(obj) and obj != bpy.context.object)
    glasses.parent = part
    part.location.x = 4.0
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"} and glasses.parent == head
    bpy.context.view_layer.update()
    np.testing.assert_allclose(glasses.matrix_world.translation, (4.0, -0.1, 0.0), atol=1e-6)


def check_strips(head: Any) -> None:
    """Strips that meet between two frames, that play nothing, and an action without a slot."""
    smile = head.data.shape_keys.key_blocks["smile"]
    for frame in (1, 11):
        smile.keyframe_insert("value", frame=frame)
    data = head.data.shape_keys.animation_data
    action, data.action = data.action, None
    track = data.nla_tracks.new()
    first = track.strips.new("first", 1, action)
    second = track.strips.new("second", 40, action)
    first.frame_end = 25.7
    second.frame_start = 25.7
    assert abs(second.frame_start - 25.7) < 1e-4
    select(head)
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    made = bpy.context.object.data.shape_keys.animation_data.nla_tracks[0].strips
    wanted = [(one.name, one.frame_start, one.frame_end) for one in track.strips]
    assert [(one.name, one.frame_start, one.frame_end) for one in made] == wanted
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    track = data.nla_tracks[0]
    track.strips.remove(track.strips[1])
    bpy.data.actions.remove(track.strips[0].action)
    assert motion.is_animated(head.data.shape_keys)
    assert bpy.ops.idto3d.export(directory=str(WORK / "still"), preset="THREE") == {"FINISHED"}
    head.keyframe_insert("location", frame=1)
    if bpy.app.version >= (4, 4):
        head.animation_data.action_slot = None
        assert len(hand_over.curves_of(head.animation_data)) == 0
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}


def main() -> None:
    idto3d_blender.register()
    one: tuple[Callable[[Any], None], ...] = (
        check_lattice, check_camera_view, check_shared_mesh, check_own_keys, check_hidden_copy, check_hung_on,
        check_strips,
    )  # fmt: skip
    for check in one:
        check(new_head(check.__name__))
    for pair in (check_paint, check_copied_mixture):
        pair(new_head(f"{pair.__name__}_anna"), new_head(f"{pair.__name__}_ben"))
    idto3d_blender.unregister()
    blender_session.leave()


main()
