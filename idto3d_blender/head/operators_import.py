# SPDX-License-Identifier: GPL-3.0-or-later
"""Import of a head bundle, in File > Import and in the sidebar."""

import os
from collections.abc import Generator, Iterator
from typing import Any

import bpy
from mathutils import Vector

from .. import preferences
from ..jobs import generate
from ..polls import OBJECT_MODE, ExplainedPoll
from ..studio import stage, view, viewport_colours
from . import bundle, clean_neck, folders, import_head, naming, room
from .prepare import prepare
from .stepwise import Refused, Steps, StepsOperator, aside


class _Choices(ExplainedPoll):
    """What can be chosen beside the file browser."""

    filepath: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Head",
        description="Folder of the head, or the head.json in it",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    add_stage: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Camera and Lights", description="Also add a portrait camera and lights", default=False
    )

    place: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Place",
        description="Where the base of the neck comes to stand",
        items=(
            ("FREE", "Free Place", "At the 3D cursor, or beside what stands there already"),
            ("CURSOR", "3D Cursor", "At the 3D cursor, whatever stands there"),
            ("ORIGIN", "World Origin", "In the middle of the world"),
        ),
    )

    cut_neck: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Cut Neck", description="Without shoulders, cut level at the neck's base", default=False
    )

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        if context.mode != "OBJECT":
            yield OBJECT_MODE
        if not naming.takes_new(context.collection):
            yield "The active collection cannot take new objects"


class IDTO3D_OT_choose_head(_Choices, bpy.types.Operator):
    """Import a generated head: mesh, expression shape keys and skin material"""

    # Not one that can be undone: Blender puts in a step of undo as soon as its file browser closes.
    bl_idname = "idto3d.choose_head"
    bl_label = "Import Head"

    # With a star: Blender matches whole paths.
    filter_glob: bpy.props.StringProperty(default="*head.json", options={"HIDDEN"})  # type: ignore[valid-type]

    def invoke(self, context: Any, event: Any) -> set[str]:
        self.filepath = first_folder()
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> set[str]:
        chosen = {name: getattr(self, name) for name in _Choices.__annotations__}
        bpy.ops.idto3d.import_head("INVOKE_DEFAULT", **chosen)
        return {"FINISHED"}


class IDTO3D_OT_import_head(_Choices, StepsOperator, bpy.types.Operator):
    """Import a generated head: mesh, expression shape keys and skin material"""

    bl_idname = "idto3d.import_head"
    bl_label = "Import Head"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    _shown = False

    def invoke(self, context: Any, event: Any) -> set[str]:
        self._shown = True
        return super().invoke(context, event)

    def steps(self, context: Any) -> Steps[str]:
        folder = bundle.bundle_folder(bpy.path.abspath(self.filepath))
        if not folders.can_be_shown(folder):
            raise Refused("The head's folder, or one that it lies in, has a name that Blender cannot show. Rename it")
        spot = self._spot(context)
        try:
            prepared = yield from aside(lambda: prepare(folder))
            head = yield from _counted(import_head.build(prepared), 3 * len(prepared.head.expressions))
        except bundle.BundleError as error:
            raise Refused(f"{error.message} {error.fix} ({error.code})") from error
        naming.own_collection(head, context.collection)
        for obj in context.selected_objects:
            obj.select_set(False)
        # An object in an excluded collection is in the file, but not in the view layer.
        if head.name in context.view_layer.objects:
            head.select_set(True)
            context.view_layer.objects.active = head
        head.location, head.scale = spot, [room.metre(context.scene)] * 3
        if self.cut_neck:
            clean_neck.cut(head, 0.0, close=False)
        if self.add_stage:
            context.view_layer.update()
            framing = stage.frame_head(head)
            stage.add_camera(context.scene, framing)
            stage.add_lights(context.scene, framing)
        if self._shown:
            _show(context, head)
        import_head.thumbnail(head, prepared)
        return f"{head.name}: {len(head.data.shape_keys.key_blocks) - 1} expressions"

    def _spot(self, context: Any) -> Vector:
        if self.place == "ORIGIN":
            return Vector()
        if self.place == "CURSOR":
            return context.scene.cursor.location.copy()
        return room.free_spot(context.scene, context.view_layer)


def _counted(work: Generator[Any, None, Any], about: int) -> Steps[Any]:
    """Steps that do not say how far they are, of which there are ``about`` so many."""
    number = 0
    try:
        while True:
            next(work)
            number += 1
            yield min(number / max(about, 1), 1.0)
    except StopIteration as end:
        return end.value
    finally:
        work.close()


def _show(context: Any, head: Any) -> None:
    """To somebody in a window, as a head that was made here."""
    context.view_layer.update()
    chosen = preferences.get()
    if chosen.frame_view:
        view.bring_into_sight(head)
    if chosen.solid_colours:
        viewport_colours.show(viewport_colours.FINISHED)


def first_folder() -> str:
    """Where the file browser opens: where heads are kept, if that is there; else wherever Blender likes."""
    folder = generate.heads_folder()
    # A path that ends in a separator is a folder to the file browser, and no file's name.
    return os.path.join(folder, "") if folder.is_absolute() and folder.is_dir() else ""


def _menu(self: Any, context: Any) -> None:
    self.layout.operator(IDTO3D_OT_choose_head.bl_idname, text="ID-to-3D Head (head.json)")


_CLASSES = (IDTO3D_OT_choose_head, IDTO3D_OT_import_head)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.TOPBAR_MT_file_import.append(_menu)


def unregister() -> None:
    bpy.types.TOPBAR_MT_file_import.remove(_menu)
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
