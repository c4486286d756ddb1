# SPDX-License-Identifier: GPL-3.0-or-later
"""Begin and leave a match, go from photo to photo, find photos, lay them on the head anew."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from ..head import applied, densities, folders, separate
from ..head.bundle import FIT, BundleError, FitFile, bundle_folder, read_vertices
from ..head.import_head import FOLDER, JOB, PROPERTY, is_matched
from ..head.operators_head import GROWING, SHARED, HeadOperator
from ..head.wrap_head import REPORT
from ..jobs import session as jobs
from ..polls import OBJECT_MODE, ExplainedPoll
from . import pump, session, viewport
from . import scene as stage

PROJECTING = "The photos are being projected"
_PAUSE = 0.005  # seconds between two steps that a script waits for


class IDTO3D_OT_match(HeadOperator, bpy.types.Operator):
    """Lay this head over the photos that it was made from, to see how well it fits and to mend it with pins"""

    bl_idname = "idto3d.match"
    bl_label = "Match to Photos"
    bl_options = {"REGISTER", "UNDO"}

    directory: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Folder", description="The head's own folder", subtype="DIR_PATH", options={"SKIP_SAVE"}
    )

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        obj = context.object
        if stage.matched(context.scene) is not None and session.of(context.scene) is not None:
            yield "A head is matched already: leave that first"
        if len(obj.idto3d_blend.people) or obj[PROPERTY].get("blend"):
            yield "A mixture of people was made from no photos"
        if densities.full_of(obj) != obj or separate.is_part(obj):
            yield "Show the full head in one piece first"
        if is_matched(obj) and stage.matched(context.scene) != obj:
            yield "It is matched in another scene: leave that first"
        if JOB in obj:
            yield GROWING
        if REPORT in obj:
            yield "This mesh is your own: match the head that was wrapped onto it"

    def invoke(self, context: Any, event: Any) -> set[str]:
        try:
            session.read(context.object)
        except BundleError as error:
            if (Path(folders.folder_of(context.object)) / "head.json").is_file():
                self.report({"ERROR"}, f"{error.message} {error.fix} ({error.code})")
                return {"CANCELLED"}
            context.window_manager.fileselect_add(self)
            return {"RUNNING_MODAL"}
        return self.execute(context)

    def execute(self, context: Any) -> set[str]:
        obj, scene = context.object, context.scene
        chosen = str(bundle_folder(bpy.path.abspath(self.directory))) if self.directory else ""
        try:
            folder, fit = session.read(obj, chosen)
        except BundleError as error:
            self.report({"ERROR"}, f"{error.message} {error.fix} ({error.code})")
            return {"CANCELLED"}
        try:
            made = read_vertices(folder)
            why = stage.misplaced(obj, made)
            if chosen and len(made) != len(obj.data.vertices):
                why = f"{folder.name} is another head's folder, or vertices of {obj.name} were added or removed."
        except BundleError as error:
            self.report({"ERROR"}, f"{error.message} {error.fix} ({error.code})")
            return {"CANCELLED"}
        if why:
            self.report({"ERROR"}, f"{why} (E_MATCH_MESH)")
            return {"CANCELLED"}
        if not fit.photos:
            self.report({"ERROR"}, f"{FIT} of this head names no photos")
            return {"CANCELLED"}
        if chosen:
            obj[PROPERTY][FOLDER] = str(folder)
        ready = not any(jobs.why_not_now())
        paths = [session.find_photo(photo, folder, folder.parent) for photo in fit.photos]
        # In a file that was closed meanwhile photos may have become others, and cameras be gone.
        numbers = [camera[stage.KEY] for camera in stage.cameras(scene)]
        if stage.matched(scene) != obj or numbers != list(range(len(fit.photos))):
            if applied.take_back(obj):
                self.report({"INFO"}, applied.TOLD.format(obj.name))
            elif applied.matrix_of(obj) is not None:
                self.report({"ERROR"}, f"{SHARED} (E_MATCH_MESH)")
                return {"CANCELLED"}
            viewport.leave()
            stage.end(scene)
            stage.begin(scene, obj, fit, {n: path for n, path in enumerate(paths) if path})
        number = min(obj.idto3d_match.photo, len(fit.photos) - 1)
        viewport.enter(context, stage.show_photo(scene, obj, number), fit.photos[number].landmarks)
        if not ready:
            self.report({"WARNING"}, "Until the backend is set up the head can be looked at, but not pinned")
        else:
            try:
                session.start(scene, folder, fit, paths)
                pump.ensure()
            except BundleError as error:
                why = f"{error.message} {error.fix} ({error.code})"
                self.report({"WARNING"}, f"The head can be looked at, but not pinned. {why}")
        missing = [photo.name for photo, path in zip(fit.photos, paths, strict=True) if not path]
        if missing:
            self.report({"WARNING"}, f"Not found, or changed since: {', '.join(missing)}. Find Photo shows where it is")
        return {"FINISHED"}


class MatchOperator(ExplainedPoll):
    """Works while a head is matched."""

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        if stage.matched(context.scene) is None:
            yield "No head is matched to its photos"
        if context.mode != "OBJECT":
            yield OBJECT_MODE


class AnsweredOperator(MatchOperator):
    """Works while the backend answers; mends: also where it refuses the pins that the head came with."""

    mends = False

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        match = session.of(context.scene)
        if match is None or match.skin is None and not (cls.mends and match.problem is not None):
            yield "The backend is not ready yet"
        if match is not None and match.link.state == "gone":
            yield "The backend has ended. Leave the match and begin it again"
        if not stage.has_pose(stage.matched(context.scene)):
            yield "The photo's key was removed. Leave the match and begin it again"
        if match is not None and match.projecting:
            yield PROJECTING


class IDTO3D_OT_match_leave(ExplainedPoll, bpy.types.Operator):
    """Take cameras and photos away again, and give back the view and the render size. The head keeps what pins did"""

    bl_idname = "idto3d.match_leave"
    bl_label = "Leave Match"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        if stage.KEY not in context.scene:  # the head itself may be gone
            yield "No head is matched to its photos"
        if context.mode.startswith("EDIT"):  # in which Blender takes no key away
            yield OBJECT_MODE

    def execute(self, context: Any) -> set[str]:
        if session.of(context.scene) is not None:
            session.stop()
        viewport.leave()
        outgrown = stage.outgrown(context.scene)
        stage.end(context.scene)
        if outgrown:
            again = "Remove Rig, then Add Rig, puts them right"
            self.report({"WARNING"}, f"Pins have moved the head, but not the bones of {outgrown}. {again}")
        return {"FINISHED"}


class IDTO3D_OT_match_photo(MatchOperator, bpy.types.Operator):
    """Look at the head as in this photo"""

    bl_idname = "idto3d.match_photo"
    bl_label = "Show Photo"
    bl_options = {"REGISTER", "UNDO"}

    photo: bpy.props.IntProperty(name="Photo", min=0)  # type: ignore[valid-type]

    def execute(self, context: Any) -> set[str]:
        obj, match = stage.matched(context.scene), session.of(context.scene)
        fit = match.fit if match is not None else _read_fit(self, obj)
        if fit is None:
            return {"CANCELLED"}
        camera = stage.show_photo(context.scene, obj, self.photo)
        if camera is None:
            self.report({"ERROR"}, "The camera of this photo was removed: leave the match and begin it again")
            return {"CANCELLED"}
        viewport.enter(context, camera, fit.photos[self.photo].landmarks)
        return {"FINISHED"}


class IDTO3D_OT_match_find_photo(MatchOperator, bpy.types.Operator):
    """Tell where a photo is that is no longer where it was"""

    bl_idname = "idto3d.match_find_photo"
    bl_label = "Find Photo..."
    bl_options = {"REGISTER", "UNDO"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})  # type: ignore[valid-type]
    filter_image: bpy.props.BoolProperty(default=True, options={"HIDDEN"})  # type: ignore[valid-type]

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        match = session.of(context.scene)
        if match is not None and match.projecting:  # what is asked meanwhile takes a projection's place
            yield PROJECTING

    def invoke(self, context: Any, event: Any) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> set[str]:
        obj, match = stage.matched(context.scene), session.of(context.scene)
        number = obj.idto3d_match.photo
        fit = match.fit if match is not None else _read_fit(self, obj)
        if fit is None:
            return {"CANCELLED"}
        path = Path(bpy.path.abspath(self.filepath))
        if not session.is_photo(fit.photos[number], path):
            self.report({"ERROR"}, f"{path.name} is not the photo that this head was made from")
            return {"CANCELLED"}
        for camera in stage.cameras(context.scene):
            if camera[stage.KEY] == number:
                stage.show_picture(camera, str(path))
        stage.show_look(obj)
        if match is not None:
            match.paths[number] = str(path)
            match.first = match.link.ask(session.request(match, obj))
        return {"FINISHED"}


class IDTO3D_OT_match_project(AnsweredOperator, bpy.types.Operator):
    """Lay the photos on the head anew, as it is now. What they do not show stays as the head was made. Maps that you
    painted on yourself stay in the file, each as a picture of its own"""

    bl_idname = "idto3d.match_project"
    bl_label = "Project Photos"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Wait", description="For scripts: return when it is done", options={"HIDDEN", "SKIP_SAVE"}
    )

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        match = session.of(context.scene)
        if match is not None and not any(match.paths):
            yield "None of the photos was found"

    def execute(self, context: Any) -> set[str]:
        obj, match = stage.matched(context.scene), session.of(context.scene)
        assert match is not None
        match.problem = None
        match.projecting = match.link.ask(session.request(match, obj, _free(match.bundle)))
        if self.wait:
            pump.take(match.link.wait(match.projecting))
            while match.laying is not None:
                time.sleep(_PAUSE)
                pump.pump()
            if match.problem is not None:
                self.report({"ERROR"}, match.problem.said)
                return {"CANCELLED"}
        return {"FINISHED"}


def _read_fit(operator: Any, obj: Any) -> FitFile | None:
    """What is known of a head's photos without a backend; None, and told, where that is gone."""
    try:
        return session.read(obj)[1]
    except BundleError as error:
        operator.report({"ERROR"}, f"{error.message} {error.fix} ({error.code})")
        return None


def _free(bundle: Path) -> Path:
    """A new folder beside a bundle."""
    stem = bundle.name.rsplit(" pinned", 1)[0]
    number = 1
    while os.path.lexists(path := bundle.with_name(f"{stem} pinned {number}")):
        number += 1
    return path


register, unregister = bpy.utils.register_classes_factory(
    (
        IDTO3D_OT_match,
        IDTO3D_OT_match_leave,
        IDTO3D_OT_match_photo,
        IDTO3D_OT_match_find_photo,
        IDTO3D_OT_match_project,
    )
)
