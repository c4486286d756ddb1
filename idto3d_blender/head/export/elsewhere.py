# SPDX-License-Identifier: GPL-3.0-or-later
"""The same in another Blender, without a window: Blender's exporters work on the main thread only, and hold it for
seconds. It gets a copy of the head in a file of its own.
"""

import json
import os
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bpy

from ...jobs.backend_process import BackendProcess, last_lines
from ..stepwise import Steps
from . import checked, motion, stage
from .errors import ExportError
from .presets import BY_NAME, Textures

_ROOT = Path(__file__).resolve().parents[2]
_LOADED = 0.1  # of the work, when the other Blender has the head
_PAUSE = 0.01  # seconds between two looks


def write(context: Any, obj: Any, wanted: stage.Wanted, textures: Textures, folder: Path) -> Steps[Path]:
    """As `checked.write`; closed, the other Blender is ended."""
    # On Windows the log stays locked until the killed process is gone, which is no reason to fail.
    with tempfile.TemporaryDirectory(prefix="idto3d-export-", ignore_cleanup_errors=True) as scratch:
        blend, order, log = (Path(scratch) / name for name in ("head.blend", "order.json", "log.txt"))
        bpy.data.libraries.write(str(blend), {obj}, path_remap="ABSOLUTE")
        asked = {
            "blend": str(blend),
            "object": obj.name,
            "frame": context.scene.frame_current,
            "preset": wanted.preset.name,
            "mixes": {name: dict(mix) for name, mix in wanted.mixes.items()},
            "rig": wanted.rig,
            "name": wanted.name,
            "metre": wanted.metre,
            "frames": wanted.frames and asdict(wanted.frames),
            "textures": textures,
            "folder": str(folder),
        }
        order.write_text(json.dumps(asked), encoding="utf-8")
        process = BackendProcess(_command(order), os.environ, log, "idto3d-export")
        try:
            return (yield from _followed(process, log))
        finally:
            process.kill()


def _followed(process: BackendProcess, log: Path) -> Steps[Path]:
    share = 0.0
    while True:
        for kind, what in process.received():
            if kind == "event" and what["type"] == "done":
                return Path(what["file"])
            if kind == "event" and what["type"] == "error":
                raise ExportError(what["code"], what["message"], what["fix"])
            if kind == "event":
                share = what["share"]
            elif kind != "garbage":
                said = " ".join(last_lines(log, 2))
                raise ExportError("E_EXPORT", f"The Blender that writes it has ended ({what}). {said}".strip())
        time.sleep(_PAUSE)
        yield share


def _command(order: Path) -> list[str]:
    """This very Blender, or the Python that has it as a module, told to run `main`."""
    module = f"{_ROOT.name}.head.export.elsewhere"
    code = f"import sys, importlib; sys.path.append({str(_ROOT.parent)!r}); importlib.import_module({module!r}).main()"
    if not bpy.app.binary_path:
        return [sys.executable, "-c", f"import bpy; {code}", str(order)]
    return [bpy.app.binary_path, "--background", "--factory-startup", "--python-expr", code, "--", str(order)]


def main() -> None:
    """In the other Blender: carry out the order in the last argument; events go to standard output."""
    given = json.loads(Path(sys.argv[-1]).read_text(encoding="utf-8"))
    try:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        with bpy.data.libraries.load(given["blend"]) as (_, wanted):
            wanted.objects = [given["object"]]
        scene = bpy.context.scene
        for obj in bpy.data.objects:  # with those that it hangs on
            scene.collection.objects.link(obj)
        scene.frame_set(given["frame"])
        frames = given["frames"] and motion.Frames(**given["frames"])
        order = stage.Wanted(
            BY_NAME[given["preset"]], given["mixes"], given["rig"], given["name"], given["metre"], frames
        )
        work = checked.write(bpy.context, wanted.objects[0], order, given["textures"], Path(given["folder"]))
        try:
            while True:
                _tell(type="progress", share=_LOADED + (1 - _LOADED) * next(work))
        except StopIteration as end:
            _tell(type="done", file=str(end.value))
    except ExportError as error:
        _tell(type="error", code=error.code, message=error.message, fix=error.fix)
    except Exception as error:
        traceback.print_exc()
        _tell(type="error", code="E_EXPORT", message=str(error).strip() or type(error).__name__, fix="")
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written; what Blender does at its end may take long.
    os._exit(0)


def _tell(**event: Any) -> None:
    # Blender's own words may stand in the line before.
    print("\n" + json.dumps(event), flush=True)
