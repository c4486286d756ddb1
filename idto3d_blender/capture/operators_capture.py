# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a take or a video, stop reading it, bake it onto the head."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from .. import preferences
from ..head import applied, carrier, hand_over, rig
from ..head.bundle import BundleError
from ..head.import_head import is_head, is_matched
from ..head.operators_head import HeadOperator
from ..head.operators_rig import FLAT
from ..jobs import session
from ..polls import ExplainedPoll
from ..studio import animation
from . import bake, properties, takes, target
from .table import SHAPES, TakeError
from .treat import treat

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".3gp", ".wmv")
_FEW = 8


class IDTO3D_OT_capture_open(ExplainedPoll, bpy.types.Operator):
    """Open a take: a CSV of Live Link Face, or any video of a face, which is read in the background"""

    bl_idname = "idto3d.capture_open"
    bl_label = "Open Take"
    bl_options = {"INTERNAL"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})  # type: ignore[valid-type]
    filter_glob: bpy.props.StringProperty(  # type: ignore[valid-type]
        default=";".join(f"*{ending}" for ending in (".csv", *VIDEOS)), options={"HIDDEN"}
    )

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        return _why_reading()

    def invoke(self, context: Any, event: Any) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> set[str]:
        path = Path(bpy.path.abspath(self.filepath)).absolute()
        if path.suffix.lower() == ".csv":
            return self._load(path)
        return _read(self, context, path)

    def _load(self, path: Path) -> set[str]:
        try:
            takes.load(path)
        except TakeError as error:
            self.report({"ERROR"}, f"{error.message} {error.fix} ({error.code})")
            return {"CANCELLED"}
        take = takes.state.take
        assert take is not None
        self.report({"INFO"}, f"{takes.state.name}: {take.duration:.1f} s, {len(take.times)} moments")
        return {"FINISHED"}


class IDTO3D_OT_capture_camera(ExplainedPoll, bpy.types.Operator):
    """Film your face with a camera of this computer, and read it meanwhile. Begin with a face at rest that looks ahead.
    Nothing of the film itself is kept"""

    bl_idname = "idto3d.capture_camera"
    bl_label = "Film With Camera"
    bl_options = {"INTERNAL"}

    seconds: bpy.props.IntProperty(name="Seconds", default=20, min=2, max=600)  # type: ignore[valid-type]
    camera: bpy.props.IntProperty(  # type: ignore[valid-type]
        name="Camera", description="0 is the first that this computer has", default=0, min=0, max=9
    )

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from _why_reading()
        yield from session.why_not_ready()

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, confirm_text="Film")

    def execute(self, context: Any) -> set[str]:
        return _read(self, context, Path(f"camera:{self.camera}:{self.seconds}"))


def _why_reading() -> Iterator[str]:
    if takes.running() is not None:
        yield "A video is being read"


def _read(operator: Any, context: Any, video: Path) -> set[str]:
    """Have the backend read a video for an operator."""
    given = properties.settings()
    if reason := next(session.why_not_now(), ""):
        operator.report({"ERROR"}, reason)
        return {"CANCELLED"}
    if not preferences.get().heads_folder.is_absolute():
        why = "The preferences' folder for heads has no whole path. Save the file first, or choose another folder"
        operator.report({"ERROR"}, f"{why} (E_OUT_NOT_WRITABLE)")
        return {"CANCELLED"}
    head = context.object if is_head(context.object) and given.performer == "HEAD" else None
    if given.performer == "HEAD" and head is None:
        operator.report({"ERROR"}, "Select the head of the person in the video, or choose Somebody Else")
        return {"CANCELLED"}
    try:
        job = takes.start(video, head)
    except BundleError as error:
        operator.report({"ERROR"}, f"{error.message} {error.fix} ({error.code})")
        return {"CANCELLED"}
    except OSError as error:
        operator.report({"ERROR"}, f"Nothing can be saved: {error.strerror or error} (E_OUT_NOT_WRITABLE)")
        return {"CANCELLED"}
    if not bpy.app.background:
        return {"FINISHED"}
    while takes.poll():
        time.sleep(0.05)
    problem = takes.state.problem
    if problem is not None:
        operator.report({"ERROR"}, problem.said)
    return {"FINISHED"} if job.state == "done" and problem is None else {"CANCELLED"}


class IDTO3D_OT_capture_cancel(ExplainedPoll, bpy.types.Operator):
    """Stop reading the video. Nothing of it is kept"""

    bl_idname = "idto3d.capture_cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        now = takes.running()
        if now is None or now.state == "cancelling":
            yield "No video is being read" if now is None else "It is being cancelled"

    def execute(self, context: Any) -> set[str]:
        assert takes.state.job is not None
        takes.state.job.cancel()
        return {"FINISHED"}


class IDTO3D_OT_capture_close(bpy.types.Operator):
    """Put the take away. Its file, and what is baked, stay"""

    bl_idname = "idto3d.capture_close"
    bl_label = "Close Take"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        takes.state.take, takes.state.file, takes.state.name = None, None, ""
        takes.state.problem, takes.state.warnings = None, ()
        return {"FINISHED"}


class IDTO3D_OT_capture_bake(HeadOperator, bpy.types.Operator):
    """Animate the head with the take, as a new action of its own"""

    poses = True
    bl_idname = "idto3d.capture_bake"
    bl_label = "Bake Take"
    bl_options = {"REGISTER", "UNDO"}

    set_range: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Set Frame Range", description="Set the scene's frame range to the takes that heads play", default=True
    )

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        if takes.state.take is None:
            yield "Open a take first"
        yield from super().why_not(context)
        if is_matched(context.object):
            yield "Leave the match first"
        if rig.is_flat(context.object):
            yield FLAT
        made = target.rig_of(context.object)
        if made is not None and target.turns_another(made, context.object):
            yield "Another head has the same rig, and would move with this one: give this one a rig of its own"
        if bake.is_tweaked(context.object):
            yield hand_over.TWEAKED

    def execute(self, context: Any) -> set[str]:
        obj, given, take = context.object, properties.settings(), takes.state.take
        assert take is not None
        if not any(name in obj.data.shape_keys.key_blocks for name in SHAPES):
            self.report({"ERROR"}, "This head has none of ARKit's shape keys. Generate it anew with this version")
            return {"CANCELLED"}
        if why := applied.hindrance(obj):
            self.report({"ERROR"}, why)
            return {"CANCELLED"}
        try:
            treated = treat(take, properties.treatment(context.scene, take))
        except ValueError as error:
            self.report({"ERROR"}, f"{error}. Change the seconds of Calibrate or Trim")
            return {"CANCELLED"}
        if animation.is_animated(obj):
            animation.clear(obj)  # the take comes in its place, and the scene's frames are its own again
        wanted = bake.Wanted(takes.state.name, given.as_strip, given.head, given.eyes)
        moved, shifted = carrier.is_moved(obj), applied.matrix_of(obj) is not None
        baked = bake.bake(context, obj, treated, wanted)
        if not baked.action:
            self.report({"WARNING"}, "Drivers keep all of the take from this head: remove or mute them, and bake again")
            return {"FINISHED"}
        first, last = int(treated.frames[0]), int(treated.frames[-1])
        if self.set_range:
            begin, end = bake.frames_with_others(context.scene, treated)
            context.scene.frame_start, context.scene.frame_end = max(0, begin), max(0, end)
        context.scene.frame_set(first)
        self.report({"INFO"}, f"{baked.action}: frames {first} to {last}")
        if moved and not carrier.is_moved(obj):
            self.report({"INFO"}, carrier.TOLD.format(obj.name))
        if shifted and applied.matrix_of(obj) is None:
            self.report({"INFO"}, applied.TOLD.format(obj.name))
        for names, why in (
            (baked.missing, "this head has no keys for {}"),
            (baked.driven, "drivers keep the take from {}"),
            (baked.covered, "your own action lies over the strip and moves {}: mute these curves of it"),
            (baked.muted, "these keys are muted: {}"),
            (baked.narrow, "the take goes beyond Range Max of {}"),
        ):
            if names:
                shown = ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")
                self.report({"WARNING"}, f"{baked.action}: {why.format(shown)}")
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory(
    (
        IDTO3D_OT_capture_open,
        IDTO3D_OT_capture_camera,
        IDTO3D_OT_capture_cancel,
        IDTO3D_OT_capture_close,
        IDTO3D_OT_capture_bake,
    )
)
