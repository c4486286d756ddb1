# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: names, keys and motion that a head hands on to what is made of it, and what is said
where it cannot. ``python check_handed_on.py WORK`` as check_import.py."""

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.capture.table import SHAPES
from idto3d_blender.head import blend_people, export, import_head, rig, separate, wrap_maps
from tests.blender import blender_session
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import refused, select
from tests.blender.captured import csv_of, new_head, plain, ramp


def taken(name: str) -> None:
    assert bpy.ops.idto3d.capture_open(filepath=str(csv_of(name, yaw=ramp(0.5)))) == {"FINISHED"}
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}


def check_renamed(head: Any) -> None:
    """Whatever form of a head is renamed, nothing keeps the name of before."""
    plain()
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    taken("talk")
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
    before = head.name
    assert bpy.ops.idto3d.rename_head(name="Kim") == {"FINISHED"}
    *_, full = separate.origins(bpy.context.object)
    assert full == head and head.name == "Kim" and bpy.context.object.name.startswith("Kim half")
    kinds = ("objects", "meshes", "materials", "images", "collections", "actions", "armatures", "shape_keys")
    kept = [(kind, one.name) for kind in kinds for one in getattr(bpy.data, kind) if one.name.startswith(before)]
    assert not kept, kept
    assert [action.name for action in bpy.data.actions if action.name.startswith("Kim talk")]
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"}
    assert bpy.ops.idto3d.change_density(density="FULL") == {"FINISHED"} and bpy.context.object.name == "Kim"


def check_renamed_alone(head: Any) -> None:
    """A copy that Blender has made of a thinner head is one of its own; a like name is another head's."""
    plain()
    select(head)
    assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
    half = bpy.context.object
    copy = half.copy()
    copy.data = half.data.copy()
    bpy.context.collection.objects.link(copy)
    select(copy)
    assert bpy.ops.idto3d.rename_head(name="Dora") == {"FINISHED"}
    assert copy.name == "Dora" and head.name == "check_renamed_alone" and half.name == "check_renamed_alone half"
    half.name = "by hand"
    select(half)
    assert bpy.ops.idto3d.rename_head(name="Gus") == {"FINISHED"}
    assert head.name == "Gus" and half.name == "Gus half"
    other = new_head("Gus B")
    taken("talk")
    action = other.data.shape_keys.animation_data.action
    head.data.shape_keys.animation_data_create().action = action
    select(head)
    assert bpy.ops.idto3d.rename_head(name="Hal") == {"FINISHED"}
    assert head.name == "Hal" and action.name == "Gus B talk" and other.name == "Gus B"


def check_widgets(head: Any) -> None:
    """Appended with its rig alone they lie in no hidden collection."""
    plain()
    select(head)
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    shapes = {bone.custom_shape for bone in rig.rig_of(head).pose.bones if bone.custom_shape is not None}
    assert shapes and all(shape.hide_viewport and shape.hide_render for shape in shapes)


def check_instance(head: Any) -> None:
    plain()
    empty = bpy.data.objects.new("instance", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", head.users_collection[0]
    bpy.context.scene.collection.objects.link(empty)
    select(empty)
    refused(lambda: bpy.ops.idto3d.separate_parts(), "Library Override")
    bpy.data.objects.remove(empty)


def check_notes(head: Any) -> None:
    """What a take's export holds besides, or cannot hold, is said before."""
    plain()
    select(head)
    head.data.shape_keys.key_blocks["smile"].value = 0.7
    choice = export.Choice(export.BY_NAME["THREE"], animation=True)
    assert "smile" not in " ".join(export.notes(head, choice)), "without an animation all are at rest"
    taken("talk")
    told = " ".join(export.notes(head, choice))
    assert "smile will stand as now" in told and "bake again" in told and head.parent.name in told
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    assert "bake again" in " ".join(export.notes(head, choice)), "the rig does not turn yet"
    few = export.Choice(export.BY_NAME["THREE"], ("ARKIT",), animation=True)
    assert "smile" not in " ".join(export.notes(head, few)), "it is not exported"
    head.data.shape_keys.key_blocks["smile"].value = 0.0
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    told = " ".join(export.notes(head, choice))
    assert "bake again" not in told and "will stand" not in told


def check_matched(head: Any) -> None:
    plain()
    select(head)
    assert bpy.ops.idto3d.capture_open(filepath=str(csv_of("talk", yaw=ramp(0.5)))) == {"FINISHED"}
    bpy.context.scene[import_head.MATCHED] = head
    refused(lambda: bpy.ops.idto3d.capture_bake(), "Leave the match first")
    del bpy.context.scene[import_head.MATCHED]


def check_one_piece(head: Any) -> None:
    """As one that was put onto a mesh of the user's."""
    plain()
    select(head)
    head[import_head.PROPERTY] = {**head[import_head.PROPERTY].to_dict(), "parts": ""}
    refused(lambda: bpy.ops.idto3d.separate_parts(), "in one piece")


def check_tiles(_: Any) -> None:
    """Two squares: side by side, one over the other, and in two tiles, which have one picture."""
    square = np.array([[(0, 0), (1, 0), (0, 1)], [(1, 0), (1, 1), (0, 1)]]) * 0.4 + 0.05
    triangles = np.zeros((4, 3), int)

    def two(apart: float) -> wrap_maps.Textured:
        uv = np.concatenate([square, square + [apart, 0.0]])
        return wrap_maps.Textured(np.zeros((4, 3)), triangles, uv, np.zeros(4, int))

    def shared(mesh: wrap_maps.Textured) -> float:
        return float(import_head.run_to_end(wrap_maps.overlap(mesh)))

    assert shared(two(0.5)) < 0.02 and abs(shared(two(0.0)) - 0.5) < 0.02 and abs(shared(two(1.0)) - 0.5) < 0.02
    material = bpy.data.materials.new("tiled")
    material.use_nodes = True
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.new("tiles", 4, 4, tiled=True)
    assert wrap_maps.is_tiled(material) and not wrap_maps.is_tiled(bpy.data.materials.new("plain"))


def check_lost_keys() -> None:
    """Whose hair it is, keys that not all have are named when they go."""
    plain()
    many, few = new_head("many"), new_head("few", (*synthetic.EXPRESSIONS, *SHAPES[:-2]))
    select(few, many)
    assert bpy.ops.idto3d.blend_people() == {"FINISHED"}
    made = bpy.context.object
    for hair in ("0", "1"):
        made.idto3d_blend.hair = hair
    heads = (many, few)
    lost = import_head.run_to_end(blend_people.finish(made, heads, (0.5, 0.5), (0.5, 0.5), few))
    assert lost == list(SHAPES[-2:]), lost


def main() -> None:
    idto3d_blender.register()
    checks: tuple[Callable[[Any], None], ...] = (
        check_renamed, check_renamed_alone, check_widgets, check_instance, check_notes, check_matched, check_one_piece,
        check_tiles,
    )  # fmt: skip
    for check in checks:
        check(new_head(check.__name__))
    check_lost_keys()
    idto3d_blender.unregister()
    blender_session.leave()


main()
