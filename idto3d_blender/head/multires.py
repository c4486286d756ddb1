# SPDX-License-Identifier: GPL-3.0-or-later
"""A base to sculpt on: the skin in a quarter of its quads, with the full head's shape as displacement of a
Multiresolution modifier. All keys move the base, and what was sculpted with it."""

from typing import Any

import bpy
import numpy as np

from . import densities, mesh_data, naming, separate, wrap, wrap_head
from .stepwise import Steps, aside, scaled

LEVELS = 2  # a quarter of the quads, four times four as many again: finer than the full head
_CUT, _QUARTERED, _SUBDIVIDED = 0.45, 0.5, 0.7  # of the whole work
_FACING = 0.3  # cosine between normals: else it is the other lip


def base(context: Any, head: Any) -> Steps[tuple[Any, float]]:
    """Steps to the new object, which is selected and active in the place of the head, now hidden, and how far its
    finest level lies off the head's skin on average, metres. Hair, eyes, teeth and lashes are left out: they would be
    rounded off."""
    full = densities.full_of(head)
    had = (yield from densities.existing(full, "QUARTER")) is not None
    quarter = yield from scaled(densities.change(head, "QUARTER"), 0.0, _CUT)
    if quarter != head:
        densities.show_instead(head, quarter)
    part, names = mesh_data.parts(quarter.data), np.array(mesh_data.part_names(quarter))
    own = [] if had else [quarter]
    try:
        cut = densities.without_faces(quarter.data, ~np.isin(names[part], wrap_head.SKIN))
        mesh = yield from scaled(cut, _CUT, _QUARTERED)
        made = densities.beside(quarter, mesh, f"{full.name} multires")
        own.append(made)
        _show(context, made)
        muted = [block.mute for block in made.data.shape_keys.key_blocks]
        for block in made.data.shape_keys.key_blocks:
            block.mute = True  # a driver would set its value again
        # By its name: it may be another one after each step.
        name = made.modifiers.new("Multires", "MULTIRES").name
        for level in range(LEVELS):
            yield _QUARTERED + (_SUBDIVIDED - _QUARTERED) * (level + 1) / LEVELS
            bpy.ops.object.multires_subdivide(modifier=name, mode="CATMULL_CLARK")
        yield _SUBDIVIDED
        modifier = made.modifiers[name]
        modifier.levels = modifier.render_levels = modifier.sculpt_levels = LEVELS
        off = yield from scaled(_reshape(context, made, full, name), _SUBDIVIDED, 1.0)
        for block, mute in zip(made.data.shape_keys.key_blocks, muted, strict=True):
            block.mute = mute
    except BaseException:
        separate.remove(own)
        context.view_layer.objects.active = head
        head.select_set(True)
        raise
    # Both in one place, each would show through the other.
    head.hide_set(True)
    head.hide_render = True
    return made, off


def _show(context: Any, made: Any) -> None:
    """Make a new object that stands for itself, in its neutral shape, the selected and active one."""
    densities.stand_alone(made)
    # What makes faces of its own, as a subdivision does, would leave nothing to reshape.
    for modifier in [one for one in made.modifiers if one.type != "ARMATURE"]:
        made.modifiers.remove(modifier)
    made.hide_set(False)
    made.hide_render = False
    for block in made.data.shape_keys.key_blocks[1:]:
        block.value = 0.0
    for obj in context.selected_objects:
        obj.select_set(False)
    made.select_set(True)
    context.view_layer.objects.active = made


def _reshape(context: Any, made: Any, full: Any, modifier: str) -> Steps[float]:
    """Lay the finest level on the full head's skin."""
    skin = wrap_head.skin_of(full)
    yield 0.0
    nearest = yield from aside(skin.nearest)
    armatures = [one.name for one in made.modifiers if one.type == "ARMATURE" and one.show_viewport]
    for one in armatures:
        made.modifiers[one].show_viewport = False
    fine = bpy.data.meshes.new_from_object(made.evaluated_get(context.evaluated_depsgraph_get()))
    shell = bpy.data.objects.new("shell", fine)
    try:
        surface = wrap_head.mesh_of(shell)
        goal = yield from scaled(aside(lambda: _goal(surface, nearest)), 0.3, 0.7)
        fine.vertices.foreach_set("co", goal.astype(np.float32).ravel())
        naming.collection_of(made).objects.link(shell)
        shell.matrix_world = made.matrix_world
        shell.select_set(True)
        context.view_layer.update()
        bpy.ops.object.multires_reshape(modifier=modifier)
    finally:
        bpy.data.batch_remove([shell, fine])
    yield 0.7
    context.view_layer.update()
    evaluated = made.evaluated_get(context.evaluated_depsgraph_get())
    places = np.empty((len(goal), 3), np.float32)
    evaluated.to_mesh().vertices.foreach_get("co", places.reshape(-1))
    evaluated.to_mesh_clear()
    for one in armatures:
        made.modifiers[one].show_viewport = True
    found = yield from scaled(aside(lambda: nearest(places.astype(float))), 0.7, 1.0)
    return float(np.linalg.norm(found.place - places, axis=1).mean())


def _goal(surface: wrap_head.Surface, nearest: wrap.Nearest) -> wrap.Floats:
    """(V,3) the nearest places of the skin, but for vertices that face another way."""
    found = nearest(surface.points)
    normals = wrap.vertex_normals(surface.points, surface.triangles)
    facing = (normals * found.normal).sum(axis=1) > _FACING
    return np.where(facing[:, None], found.place, surface.points)
