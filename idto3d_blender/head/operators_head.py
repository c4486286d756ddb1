# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist does with a finished head: pose, animate, file."""

from collections.abc import Iterator
from typing import Any

import bpy

from ..polls import OBJECT_MODE, ExplainedPoll
from ..studio import animation, asset
from . import blend_materials, clean_neck, densities, hand_over, life_size, mirror, naming, rig, separate, widgets
from .import_head import JOB, is_head, is_matched
from .stepwise import Steps, StepsOperator

_FRAMES = 24
IN_PIECES = "Take its parts together first"
UNFINISHED = "Make the new head for good first"
GROWING = "This head is not finished: wait for it, resume it, or use it as it is"
AN_INSTANCE = "This is an instance of a collection with a head: choose Object > Library Override > Make first"
SHARED = "Another object has this head's mesh, too: make it a single user first"


class HeadOperator(ExplainedPoll):
    """Works on the active object, a head of ours, in object mode; changes: the head itself; poses: nothing of it but
    values and animation, which are all that Blender keeps of changes to an override of a linked head; remakes: its
    mesh, or reads it for long, which neither a job nor sliders of people nor pins may change meanwhile."""

    changes = True
    poses = False
    remakes = False

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        if not is_head(context.object):
            yield AN_INSTANCE if _has_head(context.object) else "Select a head first"
        if context.mode != "OBJECT":
            yield OBJECT_MODE
        if cls.changes and (context.object.library is not None or context.object.data.library is not None):
            yield "This head is linked from another file"
        if cls.changes and not cls.poses and context.object.override_library is not None:
            yield "This head is an override of a linked one: change that in its own file"
        if cls.remakes and JOB in context.object:
            yield GROWING
        if cls.remakes and len(context.object.idto3d_blend.people):
            yield UNFINISHED
        if cls.remakes and is_matched(context.object):
            yield "Leave the match first"
        if cls.remakes and hand_over.is_tweaked(context.object, context.object.data.shape_keys):
            yield hand_over.TWEAKED


def _has_head(obj: Any) -> bool:
    """An object stands for a collection, mostly a linked one, with a head in it."""
    collection = obj.instance_collection if obj is not None and obj.instance_type == "COLLECTION" else None
    return collection is not None and any(map(is_head, collection.all_objects))


def select_only(context: Any, obj: Any) -> None:
    """Select an object, make it the active one, and deselect all others."""
    for other in context.selected_objects:
        other.select_set(False)
    obj.select_set(True)
    context.view_layer.objects.active = obj


class IDTO3D_OT_rename_head(HeadOperator, bpy.types.Operator):
    """Rename the head with all its forms, and with it its collection, meshes, materials, images, rig and takes, but for
    what another head has, too"""

    bl_idname = "idto3d.rename_head"
    bl_label = "Rename Head"
    bl_options = {"REGISTER", "UNDO"}

    name: bpy.props.StringProperty(name="Name", maxlen=180, options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def invoke(self, context: Any, event: Any) -> set[str]:
        self.name = _named(context.object)[0].name
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: Any) -> set[str]:
        if not self.name.strip():
            self.report({"WARNING"}, "A head needs a name")
            return {"CANCELLED"}
        (first, *forms), name = _named(context.object), self.name.strip()
        before = first.name
        if before != name:
            # Names have 63 bytes before Blender 5.0, and those of materials and pictures say of what they are besides.
            first.name = name if bpy.app.version >= (5, 0) else name.encode()[:40].decode(errors="ignore")
        if context.object in forms and not naming.begins_with(context.object, before):  # somebody has named it
            context.object.name = f"{first.name} {str(context.object.get(densities.DENSITY, 'part')).lower()}"
        others = [other for other in bpy.data.objects if is_head(other) and other not in (first, *forms)]
        theirs = {block for other in others for block in _around(other)}
        for form in (*forms, first):  # what they share is called after the first
            naming.rename_start(form, before, first.name)
            naming.name_after(form, theirs)
            made = rig.rig_of(form)
            if made is not None and made not in theirs:
                made.name = made.data.name = f"{first.name} rig"
                widgets.name_after(made)
            for block in _around(form) - theirs:
                if isinstance(block, bpy.types.Action) or getattr(block, "type", "") == "EMPTY":
                    naming.rename_start(block, before, first.name)
        naming.rename_takes(before, first.name, theirs)
        return {"FINISHED"}


def _named(obj: Any) -> list[Any]:
    """What is renamed with a head, or with one of its forms: the full one first; a copy that Blender has made of a form
    alone."""
    *_, full = separate.origins(obj)
    forms = separate.own_forms(full)
    return [full, *forms] if obj == full or obj in forms else [obj]


def _around(head: Any) -> set[Any]:
    """What belongs to a head beside its mesh: materials, images, collections, its rig or what it hangs on, and the
    actions that these and its keys play."""
    hung = [one for one in (rig.rig_of(head), head.parent) if one is not None and one.library is None]
    players = [*hung, head.data.shape_keys]
    datas = [one.animation_data for one in players if one is not None]
    actions = [holder.action for data in datas for holder in hand_over.holders(data)]
    own = (*head.data.materials, *naming.images(head), *head.users_collection, *hung)
    return {*filter(None, own), *(action for action in actions if action.library is None)}


class IDTO3D_OT_life_size(HeadOperator, bpy.types.Operator):
    """Scale the head, and what it hangs on, so that it is as large as a head in this scene's unit"""

    poses = True
    bl_idname = "idto3d.life_size"
    bl_label = "Make Life-size"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if life_size.top_of(context.object).library is not None:
            yield "What this head hangs on is linked from another file"
        if life_size.factor(context.scene, context.object) == 1.0:
            yield "This head is as large as a head"

    def execute(self, context: Any) -> set[str]:
        life_size.restore(context.scene, context.object)
        return {"FINISHED"}


class IDTO3D_OT_own_materials(HeadOperator, bpy.types.Operator):
    """Let wrinkles and colours follow this head's own sliders: a copy that Blender made follows those of the head that
    it was copied from"""

    bl_idname = "idto3d.own_materials"
    bl_label = "Follow Its Own Sliders"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if not blend_materials.strange(context.object):
            yield "Its wrinkles follow its own sliders"

    def execute(self, context: Any) -> set[str]:
        blend_materials.make_own(context.object)
        return {"FINISHED"}


class IDTO3D_OT_cut_neck(HeadOperator, bpy.types.Operator):
    """Cut the bust level at the neck, for a plinth or a body. Mix people before: a cut head has a mesh of its own"""

    remakes = True
    bl_idname = "idto3d.cut_neck"
    bl_label = "Cut Neck"
    bl_options = {"REGISTER", "UNDO"}

    height: bpy.props.FloatProperty(  # type: ignore[valid-type]
        # Of the head itself, whatever the scene's unit is: Blender's own lengths would be the scene's.
        name="Height (m)",
        description="Metres above the neck's base",
        min=-0.2,
        max=0.1,
        step=0.1,
        precision=3,
    )
    close: bpy.props.BoolProperty(name="Close", description="With a flat face")  # type: ignore[valid-type]

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if naming.shares_mesh(context.object):
            yield SHARED
        if separate.is_part(context.object):
            yield IN_PIECES

    def execute(self, context: Any) -> set[str]:
        if not clean_neck.cut(context.object, self.height, self.close):
            self.report({"WARNING"}, "There is nothing to cut at that height")
            return {"CANCELLED"}
        return {"FINISHED"}


class IDTO3D_OT_reset_expressions(HeadOperator, bpy.types.Operator):
    """Set all expressions to 0: the neutral head"""

    poses = True
    bl_idname = "idto3d.reset_expressions"
    bl_label = "Reset"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> set[str]:
        animation.reset(context.object)
        return {"FINISHED"}


class IDTO3D_OT_test_animation(HeadOperator, bpy.types.Operator):
    """Key a loop through the whole expressions and your own keys, one after the other"""

    bl_idname = "idto3d.test_animation"
    bl_label = "Test Animation"
    bl_options = {"REGISTER", "UNDO"}

    frames: bpy.props.IntProperty(  # type: ignore[valid-type]
        name="Frames", description="For each expression", default=_FRAMES, min=3, soft_max=120
    )
    start: bpy.props.IntProperty(name="Start", description="First frame", default=1)  # type: ignore[valid-type]
    set_range: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Set Frame Range", description="Show the whole loop, until it is cleared", default=True
    )

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if len(context.object.data.shape_keys.key_blocks) < 2:
            yield "This head has no expressions"
        if animation.own_animation(context.object):
            yield "This head has an animation of its own already"

    def execute(self, context: Any) -> set[str]:
        after = animation.animate(context.object, self.start, self.frames)
        if self.set_range:
            animation.show_all(context.scene, context.object, self.start, after)
        context.scene.frame_set(self.start)
        self.report({"INFO"}, f"Frames {self.start} to {after - 1}. Press Space in the viewport to play")
        return {"FINISHED"}


class IDTO3D_OT_clear_animation(HeadOperator, bpy.types.Operator):
    """Take the test animation off this head, which is posed again as it was before"""

    bl_idname = "idto3d.clear_animation"
    bl_label = "Clear Animation"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if not animation.is_animated(context.object):
            yield "This head has no test animation"

    def execute(self, context: Any) -> set[str]:
        animation.clear(context.object)
        return {"FINISHED"}


class IDTO3D_OT_mirror_keys(HeadOperator, StepsOperator, bpy.types.Operator):
    """Make the missing side of one-sided expressions, such as mouth_right from mouth_left"""

    remakes = True
    bl_idname = "idto3d.mirror_keys"
    bl_label = "Add Mirrored Keys"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if separate.is_part(context.object):
            yield IN_PIECES
        if not mirror.missing(context.object):
            yield "Every one-sided expression has its other side"

    def steps(self, context: Any) -> Steps[str]:
        made = yield from mirror.add_missing(context.object)
        return f"Added: {', '.join(made)}"


class IDTO3D_OT_mark_asset(HeadOperator, bpy.types.Operator):
    """Offer this head in the asset browser, with its picture"""

    bl_idname = "idto3d.mark_asset"
    bl_label = "Mark as Asset"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if context.object.asset_data is not None:
            yield "It is an asset already"

    def execute(self, context: Any) -> set[str]:
        asset.mark(context.object)
        self.report({"INFO"}, "Save the file in a folder of an asset library to find the head there")
        return {"FINISHED"}


_CLASSES = (
    IDTO3D_OT_cut_neck,
    IDTO3D_OT_rename_head,
    IDTO3D_OT_life_size,
    IDTO3D_OT_own_materials,
    IDTO3D_OT_reset_expressions,
    IDTO3D_OT_test_animation,
    IDTO3D_OT_clear_animation,
    IDTO3D_OT_mirror_keys,
    IDTO3D_OT_mark_asset,
)
register, unregister = bpy.utils.register_classes_factory(_CLASSES)
