# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks of the running extension share: a session whose worker is the fake one, and waiting by ticks."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import applied, mesh_data
from idto3d_blender.head.import_head import PROPERTY
from idto3d_blender.jobs import driver, session, setup_backend
from idto3d_blender.jobs.backend_process import child_environment
from idto3d_blender.jobs.job import Launch
from idto3d_blender.jobs.records import Record
from idto3d_blender.properties import settings
from tests.blender import synthetic_bundle as synthetic

ROOT = Path(__file__).resolve().parents[2]


def refused(call: Callable[[], Any], why: str) -> str:
    """``call`` runs an operator that says ``why`` it cannot; all that it says."""
    try:
        call()
    except RuntimeError as error:
        assert why in str(error), f"{error!s} does not say {why!r}"
        return str(error)
    raise AssertionError(f"it was not refused: {why}")


def key_places(obj: Any, key: str | int = 0) -> np.ndarray:
    """(V,3) where a key puts an object's vertices."""
    flat = np.empty(3 * len(obj.data.vertices), np.float32)
    obj.data.shape_keys.key_blocks[key].points.foreach_get("co", flat)
    return flat.reshape(-1, 3)


def give_teeth(head: Any) -> Any:
    """The made-up head has nothing inside but its eyes, which do not say how it nods."""
    part, names = mesh_data.parts(head.data), mesh_data.part_names(head)
    middles = np.array([face.center for face in head.data.polygons])
    chin = (part == names.index("face")) & (middles[:, 1] < -0.04) & (middles[:, 2] < 0.08)
    assert chin.sum() > 3
    part[chin] = len(names)
    head.data.attributes["part"].data.foreach_set("value", part)
    head[PROPERTY]["parts"] = ",".join((*names, "teeth"))
    applied.note(head)
    return head


def select(active: Any, *others: Any) -> None:
    """Select these objects and no others."""
    for obj in bpy.context.selected_objects:
        obj.select_set(False)
    for obj in (active, *others):
        obj.select_set(True)
    bpy.context.view_layer.objects.active = active


def look_into_edit_mode() -> None:
    """Enter it with the active object, and leave it."""
    for mode in ("EDIT", "OBJECT"):
        assert bpy.ops.object.mode_set(mode=mode) == {"FINISHED"}


def waited() -> float:
    """Seconds that this thread has waited for a core that others had; 0.0 where the system does not tell."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


class Ticks:
    """Calls driver.tick, as the timer would, and keeps the longest it took, in seconds: without what it waited for a
    core, with what it waited for anything else."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.count = 0

    def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s; {session.get().ended}"
            begun = time.perf_counter() - waited()
            pause = driver.tick()
            self.longest = max(self.longest, time.perf_counter() - waited() - begun)
            self.count += 1
            time.sleep(min(0.02, pause or 0.02))


def start(work: Path, bundle: Path) -> session.Session:
    """Register the extension with the fake worker, which leaves copies of ``bundle``; the backend counts as ready."""
    idto3d_blender.register()
    folder = work / "user"
    script = str(Path(__file__).with_name("fake_worker.py"))

    def launch(record: Record) -> Launch:
        real = setup_backend.worker_launch(folder, record.id, record.request)
        return Launch(
            (sys.executable, script, str(bundle)), child_environment(folder, ROOT), real.log, real.request, real.stages
        )

    state = session.start(folder, launch)
    state.status = setup_backend.Status("ready", "Ready.", "cpu")
    return state


def leave(**line: Any) -> NoReturn:
    """Print the check's last line and end the process."""
    print(json.dumps({"result": "ok", "blender": bpy.app.version_string, **line}), flush=True)
    os._exit(0)


def _fail(*error: Any) -> NoReturn:
    """End without the static destructors of the bpy wheel, as `leave` does: now and then they wait for each other for
    ever (seen in 4.5.15, at exit, after all was done)."""
    sys.__excepthook__(*error)
    sys.stderr.flush()
    os._exit(1)


sys.excepthook = _fail


def photo(work: Path) -> Path:
    """A photo's file; nobody looks into it."""
    path = work / "photo of anna.png"
    if not path.exists():
        synthetic.write_png(path, np.zeros((8, 8, 3), dtype=np.uint8))
    return path


def request(work: Path, name: str, prompt: str = "") -> dict[str, Any]:
    """For a head that comes to lie in a folder of its name; prompt: what the fake worker does."""
    return {
        "photos": [str(photo(work))],
        "out": str(work / "heads" / name),
        "pack": None,
        "quality": "draft",
        "expressions": "all",
        "prompt": prompt,
        "seed": 1,
        "previews": None,
    }


def fill_panel(work: Path, prompt: str = "") -> None:
    """Settings of a head as a user makes them."""
    given = settings()
    given.photos.clear()
    assert bpy.ops.idto3d.add_photos(filepath=str(photo(work))) == {"FINISHED"}
    given.consent = True
    given.output = str(work / "heads")
    given.prompt = prompt
