# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: what users have made of a head, or beside it, outlives our operators.

``python check_users_own.py WORK`` as check_import.py.
"""

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import blend_materials, hand_over, import_head, naming, operators_blend, rig
from tests.blender import blender_session
from tests.blender.blender_session import refused, select
from tests.blender.captured import at_frame, csv_of, new_head, plain, ramp


def check_own_action(head: Any) -> None:
    """The test animation goes into an action of its own, whatever moves the object."""
    head.keyframe_insert("location", frame=1)
    own = head.animation_data.action
    own.name = "MyWalk"
    assert bpy.ops.idto3d.test_animation() == {"FINISHED"}
    keys = head.data.shape_keys
    assert head.animation_data.action == own and own.name == "MyWalk" and not own.keys()
    assert keys.animation_data.action != own and len(hand_over.curves_of(keys.animation_data)) > 0
    assert len(hand_over.curves_of(head.animation_data)) == 3
    at_frame(12)
    assert max(key.value for key in keys.key_blocks[1:]) > 0.9
    assert bpy.ops.idto3d.clear_animation() == {"FINISHED"}
    assert head.animation_data.action == own and keys.animation_data.action is None


def check_shared_meshes(head: Any, other: Any) -> None:
    """Objects of a mesh that is done with stay: of parts that are put together, and of a mixture whose hair changes."""
    select(head)
    assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
    copy = linked(bpy.context.object)
    name = copy.name
    assert bpy.ops.idto3d.whole_head() == {"FINISHED"}
    assert name in bpy.data.objects and len(bpy.data.objects[name].data.vertices) > 0
    select(head, other)
    assert bpy.ops.idto3d.blend_people() == {"FINISHED"}
    made = bpy.context.object
    name = linked(made).name
    made.idto3d_blend.hair = "1"
    assert name in bpy.data.objects and bpy.data.objects[name].data != made.data
    check_pictures(made)


def linked(obj: Any) -> Any:
    """An object of the same mesh."""
    copy = bpy.data.objects.new(f"{obj.name} copy", obj.data)
    bpy.context.collection.objects.link(copy)
    return copy


def check_pictures(made: Any) -> None:
    """Undo leaves pictures as they are, and redo makes them black: they are mixed again."""
    pictures = blend_materials.own_pictures(made)
    before = [np.array(image.pixels) for image in pictures]
    for image in pictures:
        image.pixels.foreach_set(np.zeros(len(image.pixels), np.float32))
    operators_blend.show_again()
    assert pictures and all(np.allclose(image.pixels, was) for image, was in zip(pictures, before, strict=True))


def check_own_skin(head: Any, other: Any) -> None:
    """A picture that somebody has put into the place of the skin's is mixed as that one was, whosever it is."""
    nodes = [one.data.materials[0].node_tree.nodes["albedo"] for one in (head, other)]
    before = [node.image for node in nodes]
    for own in ((0.8, None), (None, 0.8), (0.8, 0.4)):
        for node, image, value in zip(nodes, before, own, strict=True):
            node.image = image if value is None else picture(value)
        wanted = np.mean([np.array(node.image.pixels[:3]) for node in nodes], axis=0)
        select(head, other)
        assert bpy.ops.idto3d.blend_people() == {"FINISHED"}
        assert bpy.ops.idto3d.finish_blend() == {"FINISHED"}
        made = bpy.context.object
        image = made.data.materials[0].node_tree.nodes["albedo"].image
        assert np.abs(np.array(image.pixels[:3]) - wanted).max() < 0.01, (own, image.pixels[:3], wanted)
        assert image.get(naming.ROLE) == "skin_albedo" and image not in [node.image for node in nodes], own
        naming.remove_objects([made])
    for node, image in zip(nodes, before, strict=True):
        node.image = image


def check_own_nodes(head: Any, other: Any) -> None:
    """Pictures of two people in nodes that Blender has called the same are two: a tattoo is not mixed with freckles."""
    own = []
    for one, value in ((head, 0.8), (other, 0.4)):
        node = one.data.materials[0].node_tree.nodes.new("ShaderNodeTexImage")
        node.image = picture(value)
        own.append(node)
    assert own[0].name == own[1].name == "Image Texture"
    own[0].image.pixels[0] = 0.8
    assert own[0].image.is_dirty  # painted on, and not saved yet
    select(head, other)
    assert bpy.ops.idto3d.blend_people() == {"FINISHED"} and bpy.ops.idto3d.finish_blend() == {"FINISHED"}
    made = bpy.context.object
    image = made.data.materials[0].node_tree.nodes["Image Texture"].image
    assert image != own[0].image and np.allclose(image.pixels[:3], 0.8, atol=0.01), image.pixels[:3]
    assert naming.ROLE not in image, "it has none of ours"
    naming.remove_objects([made])
    for one, node in zip((head, other), own, strict=True):
        one.data.materials[0].node_tree.nodes.remove(node)


def picture(value: float) -> Any:
    made = bpy.data.images.new("painted by hand", 16, 16)
    made.pixels.foreach_set(np.full(4 * 16 * 16, value, np.float32))
    made.pack()
    return made


def check_unfinished(head: Any, other: Any) -> None:
    other[import_head.JOB] = "7"
    select(head, other)
    refused(bpy.ops.idto3d.blend_people, "is not finished")
    del other[import_head.JOB]


def check_constraint(head: Any) -> None:
    """One whose influence is keyed, as of what a hand picks up, moves the head as before when it gets a rig."""
    hand = bpy.data.objects.new("hand", None)
    bpy.context.collection.objects.link(hand)
    hand.location.x = 5.0
    constraint = head.constraints.new("COPY_LOCATION")
    constraint.target = hand
    for frame, influence in ((1, 0.0), (10, 1.0)):
        constraint.influence = influence
        constraint.keyframe_insert("influence", frame=frame)
    select(head)
    before = ways(head)
    assert abs(before[1] - 5.0) < 1e-4 and bpy.ops.idto3d.add_rig() == {"FINISHED"}
    np.testing.assert_allclose(ways(head), before, atol=1e-4)


def ways(obj: Any) -> list[float]:
    out = []
    for frame in (1, 10):
        at_frame(frame)
        out.append(obj.matrix_world.translation.x)
    return out


def check_copy_of_a_rig(head: Any) -> None:
    """Without its rig a copy leaves the shapes of the other's bones, and what users have hung on a rig stays on it."""
    select(head)
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    first = rig.rig_of(head)
    select(head, first)
    bpy.ops.object.duplicate()
    second = next(obj for obj in bpy.context.selected_objects if obj.type == "MESH")
    assert rig.rig_of(second) not in (None, first)
    select(second)
    assert bpy.ops.idto3d.remove_rig() == {"FINISHED"}
    assert all(first.pose.bones[name].custom_shape is not None for name in ("head", "jaw"))
    collar = bpy.data.objects.new("collar", bpy.data.meshes.new("collar"))
    bpy.context.collection.objects.link(collar)
    collar.modifiers.new("Armature", "ARMATURE").object = first
    collar.vertex_groups.new(name="head")
    collar.hide_viewport = True
    select(head)
    assert bpy.ops.idto3d.remove_rig() == {"FINISHED"} and rig.rig_of(head) is None
    assert collar.modifiers[0].object == first and "head" in collar.vertex_groups


def check_tweaked(head: Any) -> None:
    """Nothing is left half done where a strip is in tweak mode."""
    select(head)
    head.keyframe_insert("location", frame=1)
    data = head.animation_data
    action, data.action = data.action, None
    data.nla_tracks.new().strips.new("way", 1, action)
    data.nla_tracks[0].strips[0].select, data.nla_tracks.active = True, data.nla_tracks[0]
    data.use_tweak_mode = True
    for call in (lambda: bpy.ops.idto3d.change_density(density="HALF"), bpy.ops.idto3d.separate_parts):
        refused(call, hand_over.TWEAKED)
    data.use_tweak_mode = False


def check_other_scene(head: Any) -> None:
    """A head that is linked into a scene where its own collection is not: what is made of it is there, too."""
    other = bpy.data.scenes.new("other")
    other.collection.objects.link(head)
    window = bpy.context.window_manager.windows[0]
    before, window.scene = window.scene, other
    with bpy.context.temp_override(window=window, scene=other, view_layer=other.view_layers[0]):
        assert naming.collection_of(head) == other.collection
        select(head)
        assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
        assert bpy.context.object.name in other.collection.objects
        assert bpy.ops.idto3d.whole_head() == {"FINISHED"}
    window.scene = before
    assert naming.collection_of(head) == head.users_collection[0] != other.collection


def check_turn_by_hand(head: Any) -> None:
    """The action of one who turned the empty of takes by hand stays in the file, when a rig takes its place."""
    plain()
    select(head)
    assert bpy.ops.idto3d.capture_open(filepath=str(csv_of("talk", yaw=ramp(0.5)))) == {"FINISHED"}
    assert bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    empty = head.parent
    empty.animation_data.action = own = bpy.data.actions.new("by hand")
    empty.rotation_mode = "QUATERNION"
    empty.keyframe_insert("rotation_quaternion", frame=1)
    assert empty.animation_data.action == own
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"} and bpy.ops.idto3d.capture_bake() == {"FINISHED"}
    assert own.users > 0, "it is gone when the file is saved"


def main() -> None:
    idto3d_blender.register()
    one: tuple[Callable[[Any], None], ...] = (
        check_own_action, check_constraint, check_copy_of_a_rig, check_tweaked, check_other_scene, check_turn_by_hand,
    )  # fmt: skip
    for check in one:
        check(new_head(check.__name__))
    check_unfinished(new_head("anna"), new_head("ben"))
    emma, finn = new_head("emma"), new_head("finn")
    check_own_skin(emma, finn)
    check_own_nodes(emma, finn)
    check_shared_meshes(new_head("cora"), new_head("dora"))
    idto3d_blender.unregister()
    blender_session.leave()


main()
