# SPDX-License-Identifier: GPL-3.0-or-later
"""Generate a head, and what can be done with a job: cancel, resume, take out of the queue, import, dismiss."""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from .. import photo_list
from ..head import folders, import_head
from ..polls import ExplainedPoll
from ..studio import live
from . import driver, generate, session

_POLL_SECONDS = 0.05


class IDTO3D_OT_generate_from_list(ExplainedPoll, bpy.types.Operator):
    """Make a head from the photos in the list. It takes minutes; you can go on working"""

    bl_idname = "idto3d.generate_from_list"
    bl_label = "Generate from Photos"
    bl_options = {"INTERNAL"}

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from session.why_not_ready()
        if reason := generate.missing():
            yield reason

    def execute(self, context: Any) -> set[str]:
        lost = [Path(path).name for path in photo_list.used() if not os.path.isfile(path)]
        if lost:
            self.report({"ERROR"}, f"{lost[0]} is not there any more. Remove it from the list (E_PHOTO_MISSING)")
            return {"CANCELLED"}
        return _submit(self, generate.request_from_settings(), frame=True)


class IDTO3D_OT_generate(ExplainedPoll, bpy.types.Operator):
    """Make a head from photos, from a script. Waits for the end in background mode, and where wait is set"""

    bl_idname = "idto3d.generate"
    bl_label = "Generate Head"

    photos: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Photos", description="Paths, with ; or a new line between them"
    )
    output: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Output", description="New folder for the finished head", subtype="DIR_PATH"
    )
    consent: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Consent", description="The people in these photos agreed"
    )
    quality: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Quality",
        items=(("draft", "Draft", ""), ("standard", "Standard", ""), ("fine", "Fine", "")),
        default="standard",
    )
    expressions: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Expressions", description="all, or names with commas between them", default="all"
    )
    prompt: bpy.props.StringProperty(name="Text")  # type: ignore[valid-type]
    seed: bpy.props.IntProperty(name="Seed", min=0)  # type: ignore[valid-type]
    pack: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Pack", description="Folder of the pack; empty: the starter pack", subtype="DIR_PATH"
    )
    wait: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Wait", description="Do not return before the head is there. Always so in background mode"
    )

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        return session.why_not_ready()

    def execute(self, context: Any) -> set[str]:
        # Not Path.is_file, which raises where many photos make a text that is too long for a path.
        whole = bpy.path.abspath(self.photos)
        photos = [Path(whole).absolute()] if os.path.isfile(whole) else self._split()
        if not photos:
            self.report({"ERROR"}, "Name at least one photo (E_PHOTO_MISSING)")
            return {"CANCELLED"}
        if not self.consent:
            self.report({"ERROR"}, "Set consent=True if the people in these photos agreed (E_CONSENT)")
            return {"CANCELLED"}
        if not self.output:
            self.report({"ERROR"}, "Name the output folder (E_OUTPUT)")
            return {"CANCELLED"}
        if self.output.startswith("//") and not bpy.data.filepath:
            self.report({"ERROR"}, "Save the file before you name its folder by // (E_OUTPUT)")
            return {"CANCELLED"}
        request = {
            "photos": [str(photo) for photo in photos],
            "out": str(Path(bpy.path.abspath(self.output)).absolute()),
            "pack": bpy.path.abspath(self.pack) or None,
            "quality": self.quality,
            "expressions": self.expressions,
            "prompt": self.prompt,
            "seed": self.seed,
            "previews": None,
        }
        return _submit(self, request, frame=False, wait=self.wait)

    def _split(self) -> list[Path]:
        parts = (part.strip() for part in self.photos.replace(";", "\n").splitlines())
        return [Path(bpy.path.abspath(part)).absolute() for part in parts if part]


class IDTO3D_OT_cancel_job(ExplainedPoll, bpy.types.Operator):
    """Stop at the next step. What is done so far is kept, and Resume goes on from it"""

    bl_idname = "idto3d.cancel_job"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    job: bpy.props.StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        running = session.get().running()
        if running is not None and running.state == "cancelling" and not session.get().jobs.waiting:
            yield "It is being cancelled"

    def execute(self, context: Any) -> set[str]:
        state = session.get()
        running = state.running()
        job = self.job or (running.id if running else "")
        state.here.discard(job)  # one that is being saved ends all the same: it can then be imported, and is not
        state.jobs.cancel(job)
        _look_up()
        driver.redraw()
        return {"FINISHED"}


class IDTO3D_OT_use_sketch(ExplainedPoll, bpy.types.Operator):
    """Take the head as it stands, fitted to the photos but not finished. Stops its job; Resume finishes it all the
    same"""

    bl_idname = "idto3d.use_sketch"
    bl_label = "Use Head as It Is"
    bl_options = {"INTERNAL"}

    job: bpy.props.StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        if not _sketches(context):
            yield "There is no head to be used yet"

    def execute(self, context: Any) -> set[str]:
        state, sketches = session.get(), _sketches(context)
        job = self.job or next(iter(sketches))
        if job not in sketches:
            return {"CANCELLED"}
        state.here.discard(job)
        state.jobs.cancel(job)
        try:
            folder = _kept(job, sketches[job])
        except OSError as error:
            folder = sketches[job]
            self.report({"WARNING"}, f"Forget will delete this head's folder: no other could be made ({error})")
        driver.use_sketch(job, folder)
        _look_up()
        driver.redraw()
        if bpy.app.background:
            driver.run_until_idle(job, _POLL_SECONDS)
        return {"FINISHED"}


def _sketches(context: Any) -> dict[str, Path]:
    """Job -> bundle of the heads that are whole, but not finished: of the running job, of the one that was stopped
    last, unless it was taken already, and of the selected head."""
    state, selected = session.get(), context.object
    running, ended, found = state.running(), state.ended, {}
    if running is not None and running.state == "running" and running.sketch is not None:
        found[running.id] = running.sketch
    if ended is not None and ended.state == "cancelled" and ended.sketch is not None and live.find(ended.id):
        found[ended.id] = ended.sketch
    if import_head.is_head(selected) and import_head.JOB in selected and not driver.alive(selected[import_head.JOB]):
        found.setdefault(selected[import_head.JOB], Path(folders.folder_of(selected)))
    return found


def _kept(job: str, sketch: Path) -> Path:
    """A copy of a sketch's bundle, beside where the finished head may still come: the sketch itself goes with its job.
    Raises OSError."""
    record = session.get().jobs.records.read(job)
    if record is None or not sketch.is_dir():
        return sketch
    out = Path(str(record.request["out"]))
    number, kept = 1, out.with_name(f"{out.name} unfinished")
    while kept.exists():
        number += 1
        kept = out.with_name(f"{out.name} unfinished {number}")
    return Path(shutil.copytree(sketch, kept))


class IDTO3D_OT_resume_job(ExplainedPoll, bpy.types.Operator):
    """Go on from where this head was stopped"""

    bl_idname = "idto3d.resume_job"
    bl_label = "Resume"
    bl_options = {"INTERNAL"}

    job: bpy.props.StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        return session.why_not_ready()

    def execute(self, context: Any) -> set[str]:
        state = session.get()
        if reason := next(session.why_not_now(), ""):
            self.report({"ERROR"}, reason)
            return {"CANCELLED"}
        try:
            job = state.jobs.resume(self.job)
        except OSError as error:
            return _not_written(self, error)
        except KeyError:
            _look_up()
            why = "its photos or its record are gone, or another Blender is making it"
            self.report({"ERROR"}, f"This head cannot be resumed: {why} (E_RESUME)")
            return {"CANCELLED"}
        if state.ended is not None and state.ended.id == job:
            state.ended = None
        _look_up()
        generate.belongs_here(job, frame=True)
        return _wait(self, job) if bpy.app.background else {"FINISHED"}


class IDTO3D_OT_forget_job(bpy.types.Operator):
    """Delete what is done of this unfinished head, and its preview: it cannot be resumed any more. A head in the scene
    that is whole already stays"""

    bl_idname = "idto3d.forget_job"
    bl_label = "Forget"
    bl_options = {"INTERNAL"}

    job: bpy.props.StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: Any) -> set[str]:
        state, head = session.get(), live.find(self.job)
        folder = Path(folders.folder_of(head)) if import_head.is_head(head) else None

        def keep() -> None:
            nonlocal folder
            if folder is not None:
                folder = _kept(self.job, folder)

        try:
            state.jobs.forget(self.job, keep)
        except KeyError:
            _look_up()
            self.report({"ERROR"}, "Another Blender is making this head. Cancel it there first (E_JOB_ELSEWHERE)")
            return {"CANCELLED"}
        except (ValueError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if folder is not None:
            driver.use_sketch(self.job, folder)
        live.remove(self.job)
        if state.ended is not None and state.ended.id == self.job:
            state.ended = None
        _look_up()
        driver.redraw()
        return {"FINISHED"}


class IDTO3D_OT_import_ready(bpy.types.Operator):
    """Put the finished head into this file"""

    bl_idname = "idto3d.import_ready"
    bl_label = "Import"
    bl_options = {"INTERNAL"}

    job: bpy.props.StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: Any) -> set[str]:
        state = session.get()
        ended = state.ended.bundle if state.ended is not None and state.ended.id == self.job else None
        folder = state.ready.pop(self.job, ended)
        if folder is None:
            return {"CANCELLED"}
        driver.import_bundle(self.job, folder)
        if bpy.app.background:
            driver.run_until_idle(self.job, _POLL_SECONDS)
        return {"FINISHED"}


class IDTO3D_OT_dismiss(bpy.types.Operator):
    """Close this message"""

    bl_idname = "idto3d.dismiss"
    bl_label = "Close"
    bl_options = {"INTERNAL"}

    of_setup: bpy.props.BoolProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def execute(self, context: Any) -> set[str]:
        state = session.get()
        if self.of_setup:
            state.setup_ended = None
        else:
            state.ended = None
        driver.redraw()
        return {"FINISHED"}


def _look_up() -> None:
    """Find out which jobs can be resumed; the timer shows it when it is known."""
    session.get().look_up_jobs()
    driver.ensure()


def _submit(operator: Any, request: dict[str, Any], frame: bool, wait: bool = False) -> set[str]:
    if reason := next(session.why_not_now(), ""):
        operator.report({"ERROR"}, reason)
        return {"CANCELLED"}
    try:
        job = generate.ask(request, frame)
    except OSError as error:
        return _not_written(operator, error)
    session.get().ended = None
    return _wait(operator, job) if wait or bpy.app.background else {"FINISHED"}


def _not_written(operator: Any, error: OSError) -> set[str]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "Free some disk space (E_DISK_FULL)"
    else:
        remedy = f"Blender has to be able to write into {session.get().jobs.records.folder} (E_QUEUE)"
    operator.report({"ERROR"}, f"The queue cannot be written: {error.strerror or error}. {remedy}")
    return {"CANCELLED"}


def _wait(operator: Any, job: str) -> set[str]:
    """Poll to the end of a job and its import; one line on standard output for each tenth of a stage."""
    state = session.get()
    last: tuple[str, int] | None = None
    while driver.alive(job):
        driver.tick()
        running = state.running()
        if running is not None and running.id == job and running.stage and running.steps > 0:
            now = (running.stage, 10 * running.step // running.steps)
            if now != last:
                last = now
                print(f"ID-to-3D: {running.stage} {running.step}/{running.steps}, {running.fraction:.0%}", flush=True)
        time.sleep(_POLL_SECONDS)
    ended = state.ended
    if ended is None or ended.id != job or ended.state == "cancelled":
        operator.report({"WARNING"}, "The head was cancelled; it can be resumed")
        return {"CANCELLED"}
    if ended.error is not None:
        operator.report({"ERROR"}, ended.error.said)
        return {"CANCELLED"}
    operator.report({"INFO"}, f"The head is in {ended.bundle}")
    return {"FINISHED"}


_CLASSES = (
    IDTO3D_OT_generate_from_list,
    IDTO3D_OT_generate,
    IDTO3D_OT_cancel_job,
    IDTO3D_OT_use_sketch,
    IDTO3D_OT_resume_job,
    IDTO3D_OT_forget_job,
    IDTO3D_OT_import_ready,
    IDTO3D_OT_dismiss,
)
register, unregister = bpy.utils.register_classes_factory(_CLASSES)
