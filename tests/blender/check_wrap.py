# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: a head put onto meshes whose truth is known. ``python check_wrap.py WORK``."""

import math
import sys
import threading
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import (
    import_head,
    mesh_data,
    naming,
    operators_wrap,
    room,
    stepwise,
    wrap,
    wrap_head,
    wrap_maps,
    wrap_marks,
)
from tests.blender import blender_session, check_polls
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import key_places, refused, select

WORK = Path(sys.argv[-1])


def check_numbers() -> None:
    # A quarter turn about Z, twice as large, moved by (1,2,3).
    start = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1.0)])
    end = np.array([(1, 2, 3), (1, 4, 3), (-1, 2, 3), (1, 2, 5.0)])
    assert np.allclose(wrap.similarity(start, end), [(0, -2, 0, 1), (2, 0, 0, 2), (0, 0, 2, 3), (0, 0, 0, 1)])
    # Three in a row, the ends held at 0 and 3 by 1, stiffness 1: x0 = x1/2, x2 = (3+x1)/2, 2 x1 = x0 + x2.
    graph = wrap.Graph(np.array([(0, 1), (1, 2)]), 3)
    wanted = np.array([[0.0], [9.0], [3.0]])
    solved = graph.smooth(wanted, np.array([1.0, 0.0, 1.0]), 1.0, np.zeros((3, 1)))
    assert np.allclose(solved[:, 0], (0.75, 1.5, 2.25), atol=1e-3), solved
    corners = np.array([[(0, 0, 0), (1, 0, 0), (0, 1, 0.0)]])
    assert np.allclose(wrap.barycentric(np.array([(0.25, 0.5, 0.0)]), corners), (0.25, 0.25, 0.5))


def bent(points: np.ndarray) -> np.ndarray:
    """Another person, 1.5 times as large, elsewhere."""
    out = points * (1.01, 1.0, 0.995)
    out[:, 1] += 0.001 * np.sin(30 * out[:, 2])
    return 1.5 * out + (0.4, 0.2, -0.1)


def own_mesh(head: Any) -> tuple[Any, np.ndarray]:
    """The head's skin in triangles, its vertices in another order, bent; and where each vertex was."""
    import bmesh  # There only once bpy is.

    mesh = bpy.data.meshes.new("mine")
    work = bmesh.new()
    work.from_mesh(head.data)
    part = work.faces.layers.int["part"]
    bmesh.ops.delete(work, geom=[face for face in work.faces if face[part] != 0], context="FACES")
    bmesh.ops.triangulate(work, faces=work.faces[:])
    order = np.random.default_rng(1).permutation(len(work.verts))
    for vertex, number in zip(work.verts, order.tolist(), strict=True):
        vertex.index = number
    work.verts.sort()
    truth = np.array([vertex.co for vertex in work.verts])
    for vertex, place in zip(work.verts, bent(truth).tolist(), strict=True):
        vertex.co = place
    work.to_mesh(mesh)
    work.free()
    obj = bpy.data.objects.new("mine", mesh)
    bpy.context.collection.objects.link(obj)
    if mesh.shape_keys is not None:
        obj.shape_key_clear()
    return obj, truth


def check_wrapped(head: Any, mine: Any, truth: np.ndarray) -> None:
    refused(bpy.ops.idto3d.wrap, "Select your own mesh")
    select(head, mine)
    refused(bpy.ops.idto3d.wrap, "Place the marks first")
    assert bpy.ops.idto3d.wrap_marks() == {"FINISHED"}
    marks = operators_wrap.marks_of(mine)
    assert set(marks) == {"nose tip", "crown", "ear L", "ear R"}, set(marks)
    head_at = wrap_marks.landmarks(key_places(head, "Basis"), mesh_data.members(head))
    bpy.context.view_layer.update()
    for name, mark in marks.items():
        mark.matrix_world.translation = bent(head_at[name][None])[0]
    head[import_head.JOB] = "a job"
    refused(bpy.ops.idto3d.wrap, "is not finished")
    del head[import_head.JOB]
    before = len(bpy.data.objects)
    vertices = np.array([vertex.co for vertex in mine.data.vertices])
    assert bpy.ops.idto3d.wrap() == {"FINISHED"}
    made = bpy.context.object
    assert len(bpy.data.objects) == before + 1 and made not in (head, mine)
    bpy.context.view_layer.update()
    low, high = room.box(made)
    for other in (head, mine):
        other_low, other_high = room.box(other)
        assert (low >= other_high).any() or (high <= other_low).any(), f"it stands in {other.name}"
    assert np.array_equal(vertices, [vertex.co for vertex in mine.data.vertices]), "the user's mesh was changed"
    assert [p.vertices[:] for p in made.data.polygons] == [p.vertices[:] for p in mine.data.polygons]
    off = 1000 * np.linalg.norm(key_places(made, "Basis") - truth, axis=1)
    report = made[wrap_head.REPORT].to_dict()
    assert off.mean() < 1.0, f"{off.mean():.2f} mm off the truth"
    assert report["mean_mm"] < 0.3 and report["mean_mm"] <= report["most_mm"] <= report["worst_mm"]
    basis = key_places(head, "Basis")
    numbers = [int(np.argmin(((basis - row) ** 2).sum(axis=1))) for row in truth]
    for key in synthetic.EXPRESSIONS:
        moved = key_places(made, key) - key_places(made, "Basis")
        wanted = (key_places(head, key) - key_places(head, "Basis"))[numbers]
        assert np.linalg.norm(moved - wanted, axis=1).mean() < 0.05 * np.linalg.norm(wanted, axis=1).max(), key
    check_maps(made, head)
    check_polls.draw_all_panels()
    check_tiles(head, mine, made)


def check_tiles(head: Any, mine: Any, made: Any) -> None:
    """A mesh of two materials: one in another tile of UDIM, one without area in its UV, which stays as it is."""
    bpy.data.objects.remove(made)
    layer, before = mine.data.uv_layers.active.uv, np.empty(2 * len(mine.data.loops), np.float32)
    layer.foreach_get("vector", before)
    plain = bpy.data.materials.new("plain")
    mine.data.materials.clear()
    for material in (None, plain):
        mine.data.materials.append(material)
    uv = before.reshape(-1, 2) + [1.0, 0.0]
    for polygon in list(mine.data.polygons)[:6]:
        polygon.material_index = 1
        uv[list(polygon.loop_indices)] = 0.5
    layer.foreach_set("vector", uv.astype(np.float32).ravel())
    select(head, mine)
    assert bpy.ops.idto3d.wrap() == {"FINISHED"}
    tiled = bpy.context.object
    painted, kept = tiled.data.materials
    assert kept == plain and any(image[naming.ROLE] == "skin_albedo" for image in naming.images(tiled))
    image = next(image for image in naming.images(tiled) if image[naming.ROLE] == "skin_albedo")
    flat = np.empty((image.size[0] * image.size[1], 4), np.float32)
    image.pixels.foreach_get(flat.reshape(-1))
    assert (flat[:, 3] > 0.5).mean() > 0.8 and painted is not None
    bpy.data.objects.remove(tiled)
    mine.data.materials.clear()
    layer.foreach_set("vector", before)


def check_maps(made: Any, head: Any) -> None:
    """The synthetic skin has one colour, and normals that are flat."""
    (material,) = made.data.materials
    images = {image[naming.ROLE]: image for image in naming.images(made)}
    assert not set(images.values()) & set(naming.images(head)) and material not in head.data.materials[:]
    for role, colour in (("skin_albedo", synthetic.ALBEDO), ("skin_normal", synthetic.NORMAL)):
        flat = np.empty((synthetic.SIZE**2, 4), np.float32)
        images[role].pixels.foreach_get(flat.reshape(-1))
        painted = 255 * flat[flat[:, 3] > 0.5, :3]
        # The flat of 8 bits is 128 of 255, half a step beside the middle.
        assert len(painted) > 0.8 * len(flat) and np.abs(np.median(painted, axis=0) - colour).max() <= 1.5, role
        assert images[role].packed_file is not None
    curve = material.node_tree.animation_data.drivers[0]
    assert curve.driver.variables[0].targets[0].id == made.data.shape_keys


def check_pictures() -> None:
    """Four pixels: red, green above blue, white. In their middle they are mixed in equal parts."""
    pixels = np.array([[(0, 0, 1, 1), (1, 1, 1, 1)], [(1, 0, 0, 1), (0, 1, 0, 1)]], np.float32)
    got = wrap_maps._sampled(pixels, np.array([(0.25, 0.25), (0.75, 0.75), (0.5, 0.5), (0.5, 0.0)]))
    assert np.allclose(got, [(0, 0, 1, 1), (0, 1, 0, 1), (0.5, 0.5, 0.5, 1), (0.5, 0.5, 1, 1)])
    # A triangle over the lower left half of 4 x 4 texels: centres on its long side count as in it.
    steps: Any = wrap_maps._painted(np.array([[(0, 0), (1, 0), (0, 1.0)]]), 4)
    number, share = import_head.run_to_end(steps)
    assert [int((row >= 0).sum()) for row in number] == [4, 3, 2, 1]
    assert np.allclose(share[1, 2], (0.0, 0.625, 0.375), atol=1e-6)
    # One square in the plane of X and Z, facing -Y, whose u grows to the left: u runs along -X, v along Z.
    points = np.array([(0, 0, 0), (1, 0, 0), (1, 0, 1.0)])
    mesh = wrap_maps.Textured(points, np.array([(0, 1, 2)]), np.array([[(1, 0), (0, 0), (0, 1.0)]]), np.zeros(1, int))
    tangent, bitangent = wrap_maps._frames(mesh, np.array([0]), np.array([(0, -1.0, 0)]))
    assert np.allclose(tangent, (-1, 0, 0)) and np.allclose(bitangent, (0, 0, 1))


def check_refused(head: Any) -> None:
    """A box is no head."""
    bpy.ops.mesh.primitive_cube_add(size=0.3)
    box = bpy.context.object
    select(head, box)
    assert bpy.ops.idto3d.wrap_marks() == {"FINISHED"}
    before = len(bpy.data.objects), len(bpy.data.meshes)
    refused(bpy.ops.idto3d.wrap, "E_WRAP_FAR")
    assert (len(bpy.data.objects), len(bpy.data.meshes)) == before


def check_without_pictures(head: Any, mine: Any) -> None:
    """Of a head whose skin's pictures somebody has taken out the shape is wrapped."""
    nodes = [node for node in head.data.materials[0].node_tree.nodes if node.type == "TEX_IMAGE"]
    kept = [node.image for node in nodes]
    for node in nodes:
        node.image = None
    select(head, mine)
    assert bpy.ops.idto3d.wrap() == {"FINISHED"}
    bpy.data.meshes.remove(bpy.context.object.data)
    for node, image in zip(nodes, kept, strict=True):
        node.image = image
    # Or has given it a material of their own, which has no roughness.
    own = bpy.data.materials.new("toon")
    own.use_nodes = True
    own.node_tree.nodes.clear()
    slot = len(head.data.materials)
    head.data.materials.append(own)
    slots = mesh_data.slots(head.data)
    toon = np.where((slots == 0) & (np.arange(len(slots)) % 2 == 0), slot, slots)
    head.data.polygons.foreach_set("material_index", toon)
    select(head, mine)
    assert bpy.ops.idto3d.wrap() == {"FINISHED"}
    bpy.data.meshes.remove(bpy.context.object.data)
    head.data.polygons.foreach_set("material_index", slots)
    head.data.materials.pop(index=slot)
    bpy.data.materials.remove(own)


def check_own_keys(head: Any, mine: Any) -> None:
    """A key of one side, relative to another one, muted, with a range and a driver; and a mesh without UV."""
    left = head.vertex_groups.new(name="left")
    basis = key_places(head, "Basis")
    left.add(np.flatnonzero(basis[:, 0] > 0).tolist(), 0.5, "REPLACE")
    own = head.shape_key_add(name="own", from_mix=False)
    own.points.foreach_set("co", (key_places(head, "smile") + np.array([0.0, 0.0, 0.01], np.float32)).ravel())
    own.relative_key, own.vertex_group = head.data.shape_keys.key_blocks["smile"], "left"
    own.slider_max, own.slider_min, own.mute, own.value = 3.0, -1.0, True, 0.0
    own.driver_add("value").driver.expression = "0.25"
    bare = mine.copy()
    bare.data = mine.data.copy()
    bpy.context.collection.objects.link(bare)
    for mark in operators_wrap.marks_of(mine).values():
        copy = mark.copy()
        bpy.context.collection.objects.link(copy)
        copy.parent = bare
    while bare.data.uv_layers:
        bare.data.uv_layers.remove(bare.data.uv_layers[0])
    bare.modifiers.new("Finer", "SUBSURF")
    select(head, bare)
    steps: Any = operators_wrap.IDTO3D_OT_wrap.steps
    said = import_head.run_to_end(steps(None, bpy.context))
    assert "has no UV" in said and "Modifiers stay on mine.001: Finer" in said, said
    made = bpy.context.object
    keys = made.data.shape_keys
    key = keys.key_blocks["own"]
    assert (key.slider_min, key.slider_max, key.mute, key.vertex_group) == (-1.0, 3.0, True, "")
    assert [curve.data_path for curve in keys.animation_data.drivers] == ['key_blocks["own"].value']
    places = key_places(made, "Basis")
    moved = key_places(made, "own") - places
    for side, height in ((places[:, 0] > 0.01, 0.005), (places[:, 0] < -0.01, 0.0)):
        assert np.abs(moved[side] - (0.0, 0.0, height)).max() < 2e-4, (height, moved[side].max(axis=0))
    bpy.data.meshes.remove(made.data)
    check_mirrored(head, bare)
    bpy.data.meshes.remove(bare.data)
    own.driver_remove("value")
    head.shape_key_remove(own)
    head.vertex_groups.remove(left)


def check_mirrored(head: Any, mine: Any) -> None:
    """What is wrong with the mesh is not laid to the marks."""
    select(head, mine)
    mine.scale.x = -1.0
    bpy.context.view_layer.update()
    refused(bpy.ops.idto3d.wrap, "mirrored by a negative scale")
    mine.scale.x = 1.0
    half = mine.modifiers.new("Half", "MIRROR")
    bpy.context.view_layer.update()
    refused(bpy.ops.idto3d.wrap, "Half mirrors mine.001")
    mine.modifiers.remove(half)
    mine.data.flip_normals()
    refused(bpy.ops.idto3d.wrap, "E_WRAP_INSIDE")


def check_given_up(head: Any, mine: Any) -> None:
    """At whatever step it is closed, nothing is left of it."""
    kinds = (bpy.data.objects, bpy.data.meshes, bpy.data.images, bpy.data.materials)
    before = [len(kind) for kind in kinds]
    at = wrap_marks.landmarks(wrap_head.skin_of(head).points, mesh_data.members(head))
    marks = {name: (bent(at[name][None])[0], at[name]) for name in operators_wrap.marks_of(mine)}
    for far in (0.1, 0.55, 0.9):
        steps = wrap_head.wrapped(head, mine, marks)
        while next(steps) < far:
            pass
        steps.close()
        assert [len(kind) for kind in kinds] == before, far


def check_place(head: Any, mine: Any, truth: np.ndarray) -> None:
    """It stands beside its head, whatever the scale and turn of that, and no further off than it has to."""
    for obj in bpy.context.scene.objects:
        obj.hide_set(obj != head)
    for scale in (1.0, 100.0, 600.0, 3000.0):
        head.scale, head.location = (scale,) * 3, (-0.34 * scale, 0.0, 0.0)
        bpy.context.view_layer.update()
        made = wrap_head._object(head, mine, truth)
        bpy.context.view_layer.update()
        (low, _), (_, head_high) = room.box(made), room.box(head)
        assert head_high[0] <= low[0] < head_high[0] + 0.34 * scale, scale
        bpy.data.objects.remove(made)
    # Lying with its crown along -X it reaches to the left of its place.
    head.scale, head.location, head.rotation_euler = (1, 1, 1), (-0.34, 0, 0), (0, -np.pi / 2, 0)
    bpy.context.view_layer.update()
    made = wrap_head._object(head, mine, truth)
    bpy.context.view_layer.update()
    (low, _), (_, head_high) = room.box(made), room.box(head)
    assert head_high[0] <= low[0] < head_high[0] + 0.34, (low, head_high)
    bpy.data.objects.remove(made)
    head.rotation_euler = (0, 0, 0)


def check_turned_marks(head: Any, mine: Any) -> None:
    """Marks lie where they lie on a pair that looks to the front, whichever way both look."""
    places = []
    for turn in (0.0, 0.7, math.pi):
        for obj in (head, mine):
            obj.rotation_euler = (0.0, 0.0, turn)
        bpy.context.view_layer.update()
        for obj in bpy.context.scene.objects:
            obj.hide_set(False)
            obj.select_set(obj in (head, mine))
        bpy.context.view_layer.objects.active = head
        assert bpy.ops.idto3d.wrap_marks() == {"FINISHED"}
        bpy.context.view_layer.update()
        marks = operators_wrap.marks_of(mine)
        back = mine.matrix_world.inverted()
        places.append({name: np.array(back @ mark.matrix_world.translation) for name, mark in marks.items()})
    assert len(places[0]) >= 3
    for name, place in places[0].items():
        assert all(np.abs(other[name] - place).max() < 1e-5 for other in places[1:]), name
    for obj in (head, mine):
        obj.rotation_euler = (0.0, 0.0, 0.0)
    bpy.context.view_layer.update()


def check_thread() -> None:
    """Steps go on in another thread; their value and their error come back, and a close stops them."""
    seen: list[Any] = []
    run: Any = import_head.run_to_end

    def work(fail: bool) -> Any:
        for number in range(3):
            seen.append(threading.current_thread())
            yield number / 3
        if fail:
            raise ValueError("so")
        return "done"

    assert run(stepwise.scaled(stepwise.in_thread(work(False)), 0.5, 1.0)) == "done"
    assert len(seen) == 3 and threading.main_thread() not in seen
    try:
        run(stepwise.in_thread(work(True)))
        raise AssertionError("it did not fail")
    except ValueError:
        pass
    ended = threading.Event()

    def endless() -> Any:
        try:
            while True:
                time.sleep(0.001)
                yield 0.5
        finally:
            ended.set()

    steps = stepwise.in_thread(endless())
    assert 0 <= next(steps) <= 0.5
    steps.close()
    assert ended.wait(10)


def main() -> None:
    check_numbers()
    check_thread()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    check_pictures()
    idto3d_blender.register()
    bpy.context.scene.unit_settings.scale_length = 0.01
    assert bpy.ops.idto3d.import_head(filepath=str(synthetic.write(WORK / "anna", rows=30, columns=60))) == {"FINISHED"}
    head = bpy.context.object
    mine, truth = own_mesh(head)
    check_wrapped(head, mine, truth)
    check_own_keys(head, mine)
    check_given_up(head, mine)
    check_without_pictures(head, mine)
    check_refused(head)
    check_place(head, mine, truth)
    check_turned_marks(head, mine)
    idto3d_blender.unregister()
    blender_session.leave()


main()
