# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons under an error, and *Copy Report*."""

import contextlib
import platform
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from .. import preferences
from ..head import expressions
from ..jobs import session
from ..polls import ExplainedPoll
from ..properties import settings
from . import report

_HERE = Path(__file__).resolve().parents[1]
_GUIDE = _HERE / "docs" / "user-guide.md"
_LOWER = {"fine": "standard", "standard": "draft"}
# Those that an animator misses most; each expression costs memory and time.
_FEW = ("smile", "mouth_stretch", "brow_raiser", "eye_closed")


class IDTO3D_OT_other_photos(bpy.types.Operator):
    """Empty the list of photos and choose others"""

    bl_idname = "idto3d.other_photos"
    bl_label = "Choose Other Photos"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        settings().photos.clear()
        if not bpy.app.background:
            bpy.ops.idto3d.add_photos("INVOKE_DEFAULT")
        return {"FINISHED"}


class IDTO3D_OT_lower_quality(ExplainedPoll, bpy.types.Operator):
    """Set the next lower quality for the next head"""

    bl_idname = "idto3d.lower_quality"
    bl_label = "Lower Quality"
    bl_options = {"INTERNAL"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        if settings().quality not in _LOWER:
            yield "Draft is the lowest quality"

    def execute(self, context: Any) -> set[str]:
        settings().quality = _LOWER[settings().quality]
        self.report({"INFO"}, f"Quality: {settings().quality.capitalize()}. Generate again")
        return {"FINISHED"}


class IDTO3D_OT_fewer_expressions(bpy.types.Operator):
    """Choose the four most used expressions for the next head"""

    bl_idname = "idto3d.fewer_expressions"
    bl_label = "Fewer Expressions"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        given = settings()
        given.all_expressions = False
        given.expressions = tuple(name in _FEW for name in expressions.EXPRESSIONS)
        self.report({"INFO"}, "Four expressions are chosen. Generate again")
        return {"FINISHED"}


class IDTO3D_OT_choose_output(bpy.types.Operator):
    """Choose the folder in which heads are saved"""

    bl_idname = "idto3d.choose_output"
    bl_label = "Choose Folder"
    bl_options = {"INTERNAL"}

    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"})  # type: ignore[valid-type]
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})  # type: ignore[valid-type]

    def invoke(self, context: Any, event: Any) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> set[str]:
        settings().output = self.directory
        self.report({"INFO"}, "The next head goes there. Generate again")
        return {"FINISHED"}


class IDTO3D_OT_use_starter_pack(ExplainedPoll, bpy.types.Operator):
    """Use the pack that comes with the extension"""

    bl_idname = "idto3d.use_starter_pack"
    bl_label = "Use the Starter Pack"
    bl_options = {"INTERNAL"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        if settings().pack == "STARTER":
            yield "It is used already: install the extension again"

    def execute(self, context: Any) -> set[str]:
        settings().pack = "STARTER"
        return {"FINISHED"}


class IDTO3D_OT_open_guide(ExplainedPoll, bpy.types.Operator):
    """Open the user guide, from the set-up to a head in a game engine, in the program that this computer has for it"""

    bl_idname = "idto3d.open_guide"
    bl_label = "User Guide"
    bl_options = {"INTERNAL"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        if not _GUIDE.is_file():
            yield "This copy of the extension comes without it"

    def execute(self, context: Any) -> set[str]:
        return bpy.ops.wm.path_open(filepath=str(_GUIDE))


class IDTO3D_OT_copy_report(bpy.types.Operator):
    """Copy a report for the developers to the clipboard: versions, settings and the end of the log, without your name,
    your folders, or your photos' names"""

    bl_idname = "idto3d.copy_report"
    bl_label = "Copy Report"
    bl_options = {"INTERNAL"}

    of_setup: bpy.props.BoolProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: Any) -> set[str]:
        context.window_manager.clipboard = report_text(self.of_setup)
        self.report({"INFO"}, "The report is on the clipboard. Read it before you send it")
        return {"FINISHED"}


def report_text(of_setup: bool) -> str:
    """The report on the last set-up or on the last head."""
    state = session.get()
    snapshot = state.setup_ended if of_setup else state.ended or state.running()
    record = state.jobs.record(snapshot.id) if snapshot else None
    if record is None and snapshot is not None:
        record = next((known for known in state.resumable if known.id == snapshot.id), None)
    versions = {
        "ID-to-3D": _version(),
        "Blender": f"{bpy.app.version_string} ({bpy.app.build_hash.decode(errors='replace')})",
        "Python": platform.python_version(),
        "System": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Backend": f"{state.status.state} {state.status.device}".strip(),
    }
    chosen = preferences.get()
    # Outside of the home folder these may name a studio, a client or a production.
    folders = [str(Path(folder)) for folder in (chosen.heads_folder, chosen.wheels, chosen.python) if folder]
    return report.report(versions, snapshot, record.request if record else None, folders)


def _version() -> str:
    """From the manifest, which lies beside the code in an installed extension and one folder up in a checkout."""
    for folder in (_HERE, _HERE.parent):
        with contextlib.suppress(OSError, KeyError, ValueError):
            return str(tomllib.loads((folder / "blender_manifest.toml").read_text(encoding="utf-8"))["version"])
    return "unknown"


_CLASSES = (
    IDTO3D_OT_other_photos,
    IDTO3D_OT_lower_quality,
    IDTO3D_OT_fewer_expressions,
    IDTO3D_OT_choose_output,
    IDTO3D_OT_open_guide,
    IDTO3D_OT_use_starter_pack,
    IDTO3D_OT_copy_report,
)
register, unregister = bpy.utils.register_classes_factory(_CLASSES)
