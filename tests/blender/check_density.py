# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: a head in half and a quarter of its faces. ``python check_density.py WORK``."""

import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import (
    chords,
    densities,
    import_head,
    mesh_data,
    multires,
    naming,
    operators_density,
    separate,
    wrap_head,
)
from idto3d_blender.head.net import Net
from idto3d_blender.head.thinning import thin
from tests.blender import blender_session, check_polls
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import key_places, refused

WORK = Path(sys.argv[-1])


def check_grid() -> None:
    """A flat grid of 8 x 8 quads with a seam in its middle: every strip can be closed but those at the seam's cost."""
    side = np.arange(9)
    points = np.array([(x, y, 0.0) for y in side for x in side])
    faces = np.array([(9 * j + i, 9 * j + i + 1, 9 * j + i + 10, 9 * j + i + 9) for j in range(8) for i in range(8)])
    corners = np.where(np.arange(64)[:, None] % 8 >= 4, faces + 81, faces)
    steps: Any = thin(Net(points, faces, corners, np.zeros(64, int)), 0.25, chords.close_strips)
    closed = import_head.run_to_end(steps)
    assert 15 <= len(closed.faces) <= 18 and (closed.faces >= 0).all(), len(closed.faces)
    stays = np.flatnonzero(closed.vertex == np.arange(81))
    assert set(stays) >= {0, 8, 72, 80}, "a corner went"
    assert len(np.unique(closed.faces)) == len(stays)
    # Area and the seam are as before: the quads tile the square, and none lies on both sides of the seam.
    square = points[closed.faces]
    crossed = np.cross(square[:, 2] - square[:, 0], square[:, 3] - square[:, 1])[:, 2] / 2
    assert (crossed > 0).all() and abs(crossed.sum() - 64.0) < 1e-9
    left = square[:, :, 0].max(axis=1) <= 4
    right = square[:, :, 0].min(axis=1) >= 4
    assert (left ^ right).all()
    # A texture place goes where its vertex went, on its own side of the seam.
    for face, places in zip(closed.faces, closed.corners, strict=True):
        assert (places % 81 == face % 81).all() or (places - face == 81).all()
        assert len({bool(place >= 81) for place in places}) == 1


def uv_of(obj: Any) -> np.ndarray:
    """(C,5): each corner's place and UV."""
    uv, vertex = np.empty((len(obj.data.loops), 2), np.float32), np.empty(len(obj.data.loops), np.int32)
    obj.data.uv_layers.active.uv.foreach_get("vector", uv.reshape(-1))
    obj.data.loops.foreach_get("vertex_index", vertex)
    return np.column_stack([key_places(obj, 0)[vertex], uv])


def check_head(full: Any) -> None:
    full.data.shape_keys.key_blocks["smile"].value = 0.5
    group = full.vertex_groups.new(name="neck")
    group.add(list(range(len(full.data.vertices))), 0.25, "REPLACE")
    known = {tuple(row): number for number, row in enumerate(key_places(full, 0).tolist())}
    uv = uv_of(full)
    corners = {tuple(row) for row in uv.tolist()}
    count = len(full.data.polygons)
    quads = sum(len(polygon.vertices) == 4 for polygon in full.data.polygons)
    made = {}
    for density, share in densities.SHARES.items():
        assert bpy.ops.idto3d.change_density(density=density) == {"FINISHED"}
        head = made[density] = bpy.context.object
        assert import_head.is_head(head) and head.name == f"{full.name} {density.lower()}"
        faces = [len(polygon.vertices) for polygon in head.data.polygons]
        assert abs(len(faces) / count - share) < 0.05, (len(faces), count)
        assert set(faces) <= {3, 4} and faces.count(3) <= count - quads, "quads became triangles"
        numbers = [known[tuple(row)] for row in key_places(head, 0).tolist()]  # each is a vertex of the full head
        for key in range(1, len(synthetic.EXPRESSIONS) + 1):
            assert np.array_equal(key_places(head, key), key_places(full, key)[numbers])
        assert {tuple(row) for row in uv_of(head).tolist()} <= corners, "a corner has another's UV"
        assert abs(head.data.vertices[0].groups[0].weight - 0.25) < 1e-6
        assert head.data.shape_keys.key_blocks["smile"].value == 0.5
        assert full.hide_render and not head.hide_render
        curve = head.data.materials[0].node_tree.animation_data.drivers[0]
        assert curve.driver.variables[0].targets[0].id == head.data.shape_keys
        check_polls.draw_all_panels()
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    assert bpy.context.object == made["HALF"], "it was made a second time"
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    blender_session.look_into_edit_mode()
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"} and bpy.context.object == made["HALF"]
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"} and bpy.context.object == full
    assert made["HALF"].hide_render and not full.hide_render and len(full.data.polygons) == count
    assert np.array_equal(uv_of(full), uv), "thinning the head has moved its own UV"
    check_users_keys(full)
    check_deleted(full)
    check_elsewhere(full)


def check_users_keys(full: Any) -> None:
    """What a user has set of keys, and drives them with, is the thinner head's, too, and its parts'."""
    half, smile = full.name + " half", "smile"
    bpy.data.objects.remove(bpy.data.objects[half])
    own = full.shape_key_add(name="own", from_mix=False)
    blocks = full.data.shape_keys.key_blocks
    own.relative_key, own.slider_max, own.slider_min, own.value, own.mute = blocks[smile], 3.0, 2.0, 2.5, True
    own.vertex_group = "neck"
    own.driver_add("mute").driver.expression = "frame > 0"
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    made = bpy.context.object
    assert made.name == half
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
    for obj in (made, bpy.context.object):
        keys = obj.data.shape_keys
        key = keys.key_blocks["own"]
        assert key.relative_key == keys.key_blocks[smile] and key.mute and key.vertex_group == "neck"
        assert (key.slider_min, key.slider_max, key.value) == (2.0, 3.0, 2.5)
        assert len([one for one in keys.animation_data.drivers if one.data_path.endswith(".mute")]) == 1
        assert [one.name for one in obj.data.attributes if one.name.startswith("idto3d")] == []
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"}
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"} and bpy.context.object == full
    own.driver_remove("mute")
    full.shape_key_remove(own)
    bpy.data.objects.remove(made)


def check_deleted(full: Any) -> None:
    """The full head, deleted while a thinner one was shown, comes back when it is asked for."""
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    half = bpy.context.object
    for collection in full.users_collection:
        collection.objects.unlink(full)
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"} and bpy.context.object == full
    assert full.visible_get() and half.hide_render and full.data.shape_keys.key_blocks["smile"].value == 0.5


def check_motion(full: Any) -> None:
    """What moves one density and its keys, and what it hangs on, is the other's, too."""
    empty = bpy.data.objects.new("hangs on", None)
    bpy.context.scene.collection.objects.link(empty)
    for density, value in (("HALF", 0.25), ("FULL", 0.75)):
        assert bpy.ops.idto3d.change_density(density=density) == {"FINISHED"}
        shown = bpy.context.object
        keys = shown.data.shape_keys
        keys.animation_data_clear()
        keys.key_blocks["smile"].value = value
        keys.key_blocks["smile"].keyframe_insert("value", frame=1)
        strip = keys.animation_data.nla_tracks.new().strips.new("stretch", 11, keys.animation_data.action.copy())
        strip.mute = True
        shown.parent = empty
        shown.animation_data_clear()
        shown.keyframe_insert("location", frame=1)
        shown.constraints.new("LIMIT_SCALE").name = density
        assert bpy.ops.idto3d.change_density(density="HALF" if density == "FULL" else "FULL") == {"FINISHED"}
        other = bpy.context.object
        data = other.data.shape_keys.animation_data
        assert other != shown and other.parent == empty and data.action == keys.animation_data.action
        assert other.animation_data.action == shown.animation_data.action, "it stands still"
        assert [one.name for one in other.constraints] == [one.name for one in shown.constraints]
        (track,) = data.nla_tracks
        assert track.strips[0].action == strip.action and track.strips[0].frame_start == 11 and track.strips[0].mute
        other.data.shape_keys.key_blocks["smile"].value = 0.0
        bpy.context.scene.frame_set(1)
        assert other.data.shape_keys.key_blocks["smile"].value == value
    for obj in (shown, other):
        obj.data.shape_keys.animation_data_clear()
        obj.animation_data_clear()
        obj.constraints.clear()
        obj.parent = None
    bpy.data.objects.remove(empty)
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}


def check_parts_of_half(full: Any) -> None:
    """The parts of a thinner head are no thinner heads: the full one hides that whole head, and its parts with it."""
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    half = bpy.context.object
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
    refused(lambda: bpy.ops.idto3d.change_density(density="FULL"), "Take its parts together")
    refused(bpy.ops.idto3d.add_rig, "in one piece")
    assert all(densities.full_of(obj) == obj for obj in bpy.data.objects if separate.is_part(obj))
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"} and bpy.context.object == half
    refused(bpy.ops.idto3d.add_rig, "Show the full head")
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"} and bpy.context.object == full


def check_outdated(full: Any) -> None:
    """A head that was moved since is thinned anew; what there was before stays, as a head of its own."""
    full.hide_set(False)
    bpy.context.view_layer.objects.active = full
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    before = bpy.context.object
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"} and bpy.context.object == before
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    for block in full.data.shape_keys.key_blocks:
        block.points.foreach_set("co", (key_places(full, block.name) + np.float32(0.01)).ravel())
    full.data.vertices.foreach_set("co", key_places(full).ravel())
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    after = bpy.context.object
    moved = key_places(after) - key_places(before)
    assert after != before and np.allclose(moved, 0.01, atol=1e-6)
    assert densities.density_of(before) == densities.FULL and densities.full_of(before) == before
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    bpy.data.objects.remove(before)


def check_elsewhere(full: Any) -> None:
    """The full head comes back from another scene, and from a collection that the view layer leaves out."""
    (home,) = full.users_collection
    scene, away = bpy.data.scenes.new("elsewhere"), bpy.data.collections.new("left out")
    bpy.context.scene.collection.children.link(away)
    bpy.context.view_layer.layer_collection.children[away.name].exclude = True
    for collection in (scene.collection, away):
        assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
        home.objects.unlink(full)
        collection.objects.link(full)
        assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"} and bpy.context.object == full
        assert full.visible_get() and full in home.objects.values()
        collection.objects.unlink(full)
    bpy.data.scenes.remove(scene)
    bpy.data.collections.remove(away)


def check_multires(full: Any) -> None:
    """The finest level lies on the full head's skin, and a key moves it as it moves the head."""
    for density in ("HALF", "FULL"):
        assert bpy.ops.idto3d.change_density(density=density) == {"FINISHED"}
        shown = bpy.context.object
        kinds = (bpy.data.objects, bpy.data.meshes, bpy.data.materials)
        before = [set(kind) for kind in kinds]
        for far in (0.2, 0.45, 0.5, 0.6, 0.7, 0.9):
            given_up = multires.base(bpy.context, shown)
            done = [0.0]
            while done[-1] < far:
                done.append(next(given_up))
            given_up.close()
            assert done == sorted(done), "progress ran backwards"
            assert [set(kind) for kind in kinds] == before, (density, far)
            assert bpy.context.object == shown and not shown.hide_get() and not shown.hide_render, (density, far)
    full.hide_set(True)
    refused(bpy.ops.idto3d.multires_base, "Show the head first")
    full.hide_set(False)
    full.select_set(True)
    smooth = full.modifiers.new("Subdivision", "SUBSURF")
    steps: Any = operators_density.IDTO3D_OT_multires_base.steps
    assert "Modifiers left out: Subdivision" in import_head.run_to_end(steps(None, bpy.context))
    full.modifiers.remove(smooth)
    made = bpy.context.object
    assert made != full and full.hide_get() and full.hide_render and densities.density_of(made) == densities.FULL
    assert made.data.name == made.name and [material[naming.ROLE] for material in made.data.materials] == ["skin"]
    curve = made.data.materials[0].node_tree.animation_data.drivers[0]
    assert curve.driver.variables[0].targets[0].id == made.data.shape_keys
    tops = []
    for value in (0.0, 1.0):
        made.data.shape_keys.key_blocks["mouth_stretch"].value = value
        bpy.context.view_layer.update()
        mesh = made.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
        tops.append(np.array([vertex.co for vertex in mesh.vertices]))
    skin = wrap_head.skin_of(full)
    assert len(tops[0]) > len(np.unique(skin.triangles))
    off = np.linalg.norm(skin.nearest()(tops[0]).place - tops[0], axis=1)
    assert off.mean() < 2e-5, f"{1000 * off.mean():.3f} mm off"
    # The chin goes down by 30 mm, the crown stays.
    low, high = np.argmin(tops[0][:, 2]), np.argmax(tops[0][:, 2])
    moved = tops[1] - tops[0]
    assert abs(moved[:, 2].min() + 0.03) < 0.004 and np.abs(moved[high]).max() < 1e-4, (moved[low], moved[high])


def check_separate(head: Any) -> None:
    """An object a material, or a part, that together are the head in every key; and back."""
    objects, materials, meshes = len(bpy.data.objects), len(bpy.data.materials), len(bpy.data.meshes)
    for by, count in (("MATERIAL", len(head.data.materials)), ("PART", len(set(parts_of(head))))):
        assert bpy.ops.idto3d.separate_parts(by=by) == {"FINISHED"}
        first = bpy.context.object
        made = [obj for obj in bpy.data.objects if separate.is_part(obj)]
        assert len(made) == count and import_head.is_head(first) and head.hide_render
        assert sum(len(obj.data.polygons) for obj in made) == len(head.data.polygons)
        assert [import_head.is_head(obj) for obj in made].count(True) == 1
        assert all(len(obj.data.materials) == 1 for obj in made), "materials that no face has"
        first.data.shape_keys.key_blocks["smile"].value = 0.75
        bpy.context.view_layer.update()
        depsgraph = bpy.context.evaluated_depsgraph_get()
        for obj in made:
            keys = obj.data.shape_keys.evaluated_get(depsgraph).key_blocks
            assert abs(keys["smile"].value - 0.75) < 1e-6, f"{obj.name} does not follow"
            own = {tuple(row) for row in key_places(obj, 1).tolist()}
            assert own <= {tuple(row) for row in key_places(head, 1).tolist()}
        check_polls.draw_all_panels()
        refused(bpy.ops.idto3d.separate_parts, "Take its parts together first")
        refused(lambda: bpy.ops.idto3d.export(directory=str(WORK), preset="UNITY"), "Take its parts together first")
        assert bpy.ops.idto3d.whole_head() == {"FINISHED"} and bpy.context.object == head and not head.hide_render
        assert abs(head.data.shape_keys.key_blocks["smile"].value - 0.75) < 1e-6
        assert (len(bpy.data.objects), len(bpy.data.materials), len(bpy.data.meshes)) == (objects, materials, meshes)
    # Of faces whose slots somebody has removed none is lost.
    kept, slots = list(head.data.materials), mesh_data.slots(head.data)
    head.data.materials.clear()
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
    assert len(bpy.context.object.data.polygons) == len(head.data.polygons)
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"} and bpy.context.object == head
    for own in kept:
        head.data.materials.append(own)
    head.data.polygons.foreach_set("material_index", slots)


def check_copies(folder: Path) -> None:
    """Blender's own copies of a thinner head, and of all parts of one, are heads for themselves."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert bpy.ops.idto3d.import_head(filepath=str(folder)) == {"FINISHED"}
    full = bpy.context.object
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    half = bpy.context.object
    copy = copied([half])[0]
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"}
    other = bpy.context.object
    assert other != full and full.hide_get() and not half.hide_get() and copy.hide_get() and not other.hide_get()
    assert (other.location.x, full.location.x, len(other.data.polygons)) == (5.0, 0.0, len(full.data.polygons))
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"} and bpy.context.object == copy
    blender_session.select(half)
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"} and bpy.context.object == full
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
    first = bpy.context.object
    parts = separate.parts_of(first)
    second, *_ = copies = copied(parts)
    assert set(separate.parts_of(second)) == set(copies) and set(separate.parts_of(first)) == set(parts)
    blender_session.select(second)
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"}
    made = bpy.context.object
    assert made != full and made.location.x == 5.0 and set(separate.parts_of(first)) == set(parts)
    assert full.hide_get() and not made.hide_get() and len(made.data.polygons) == len(full.data.polygons)
    blender_session.select(first)
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"} and bpy.context.object == full and full.location.x == 0.0


def copied(objects: list[Any]) -> list[Any]:
    """Blender's copies of objects, moved aside, in their order; the first is the active one."""
    blender_session.select(*objects)
    before = set(bpy.data.objects)
    assert bpy.ops.object.duplicate() == {"FINISHED"}
    made = {obj.name.rpartition(".")[0]: obj for obj in set(bpy.data.objects) - before}
    for obj in made.values():
        obj.location.x = 5.0
    ordered = [made[obj.name] for obj in objects]
    blender_session.select(ordered[0])
    bpy.context.view_layer.update()
    return ordered


def parts_of(head: Any) -> list[int]:
    part = np.zeros(len(head.data.polygons), np.int32)
    head.data.attributes["part"].data.foreach_get("value", part)
    return part.tolist()


def main() -> None:
    check_grid()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    assert bpy.ops.idto3d.import_head(filepath=str(synthetic.write(WORK / "anna", rows=24, columns=48))) == {"FINISHED"}
    full = bpy.context.object
    check_head(full)
    check_motion(full)
    check_separate(full)
    check_parts_of_half(full)
    check_multires(full)
    check_outdated(full)
    check_copies(WORK / "anna")
    idto3d_blender.unregister()
    blender_session.leave()


main()
