# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: the panel, its list of photos, and why its buttons are disabled.

``python check_polls.py WORK`` as check_import.py. Panels are drawn into a layout that records what they ask for.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender import properties
from idto3d_blender.jobs import driver, session, setup_backend
from idto3d_blender.jobs.snapshot import Problem, Snapshot
from idto3d_blender.ui import (
    operators_remedy,
    panel_blend,
    panel_capture,
    panel_generate,
    panel_head,
    panel_jobs,
    panel_match,
    panel_mesh,
    panel_rig,
    panel_setup,
)
from tests.blender import blender_session
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import refused

PANELS: tuple[Any, ...] = (
    panel_setup.IDTO3D_PT_setup,
    panel_setup.IDTO3D_PT_setup_ready,
    panel_generate.IDTO3D_PT_generate,
    panel_jobs.IDTO3D_PT_jobs,
    panel_head.IDTO3D_PT_head,
    panel_head.IDTO3D_PT_expressions,
    panel_head.IDTO3D_PT_scene,
    panel_match.IDTO3D_PT_match,
    panel_rig.IDTO3D_PT_rig,
    panel_blend.IDTO3D_PT_blend,
    panel_mesh.IDTO3D_PT_mesh,
    panel_capture.IDTO3D_PT_capture,
    panel_head.IDTO3D_PT_use,
)


class Layout:
    """Takes what bpy.types.UILayout takes, checks what can be checked, keeps the operators and the texts."""

    def __init__(self) -> None:
        self.operators: list[str] = []
        self.texts: list[str] = []

    def operator(self, name: str, **options: Any) -> SimpleNamespace:
        group, _, verb = name.partition(".")
        assert verb in dir(getattr(bpy.ops, group)), f"there is no operator {name}"
        self._check_icon(options)
        self.operators.append(name)
        return SimpleNamespace()

    def prop(self, data: Any, name: str, **options: Any) -> None:
        own = name[2:-2] if name.startswith("[") else ""
        assert (own in data) if own else name in data.bl_rna.properties, f"{data} has no {name}"

    def label(self, text: str = "", **options: Any) -> None:
        self._check_icon(options)
        self.texts.append(text)

    def template_list(self, kind: str, _: str, data: Any, items: str, active: Any, index: str, **__: Any) -> None:
        assert kind in dir(bpy.types)
        photos: Any = panel_generate.IDTO3D_UL_photos
        for number, item in enumerate(getattr(data, items)):
            photos.draw_item(None, None, self, data, item, 0, active, index, number)

    def menu(self, name: str, **options: Any) -> None:
        self._check_icon(options)
        getattr(bpy.types, name).draw(SimpleNamespace(layout=self), bpy.context)

    def panel(self, _: str, **__: Any) -> tuple[Layout, Layout]:
        return self, self

    def progress(self, factor: float, **_: Any) -> None:
        assert 0 <= factor <= 1

    def _check_icon(self, options: dict[str, Any]) -> None:
        icons = bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items
        assert options.get("icon", "NONE") in icons, options

    def __getattr__(self, name: str) -> Any:
        if name in ("row", "column", "box", "grid_flow", "split"):
            return lambda *_, **__: self
        if name in ("template_icon", "separator"):
            return lambda *_, **__: None
        raise AttributeError(name)


def draw_all_panels() -> list[str]:
    """Draw each panel whose poll lets it; the operators that they show."""
    return drawn().operators


def drawn() -> Layout:
    """What all panels show whose poll lets them."""
    layout = Layout()
    for panel in PANELS:
        if not hasattr(panel, "poll") or panel.poll(bpy.context):
            panel.draw(SimpleNamespace(layout=layout), bpy.context)
    return layout


def check_setup(state: session.Session) -> None:
    state.status = setup_backend.Status("missing", "The backend is not set up yet.")
    refused(bpy.ops.idto3d.generate_from_list, "not set up yet")
    assert not bpy.app.online_access
    refused(bpy.ops.idto3d.install, "online access is off")
    assert {"idto3d.install", "idto3d.online_preferences"} <= set(draw_all_panels())
    assert "idto3d.check_backend" not in draw_all_panels()
    asked, full = session.plan, Problem("E_DISK_SPACE", "The disk is too small.", "Free some space.")
    session.plan = lambda: setup_backend.Plan(("All.",), full)
    assert "idto3d.check_backend" in draw_all_panels(), "what stands in the way cannot be looked at again"
    session.plan = asked
    state.status = setup_backend.Status("ready", "Ready.", "cpu")
    assert "idto3d.remove_backend" in draw_all_panels()


def check_names_of_other_letters(photos: Path) -> None:
    """A disk of old has names that are no UTF-8, which panels cannot draw: all of them stayed empty."""
    if sys.platform != "linux":  # others have no such names
        return
    given, strange = properties.settings(), Path(os.fsdecode(bytes(photos / "M") + b"\xfcller"))
    strange.mkdir()
    shutil.copy(photos / "0.png", strange / "0.png")
    shutil.copy(photos / "0.png", f"{strange}.png")
    before = len(given.photos)
    given.consent = True
    for folder in (photos, strange):  # the first has one, too, that is in the list no more
        said = bpy.ops.idto3d.add_folder(directory=str(folder))
        assert said == ({"FINISHED"} if folder == photos else {"CANCELLED"})
    assert len(given.photos) == before + 1 and given.photos[-1].path == str(photos / "0.png")
    given.consent, given.output = True, str(strange)
    draw_all_panels()
    refused(bpy.ops.idto3d.generate_from_list, "cannot show")
    given.output = ""
    shutil.copytree(synthetic.write(photos / "head"), strange / "head")
    refused(lambda: bpy.ops.idto3d.import_head(filepath=str(strange / "head")), "Blender cannot show")


def check_photos(work: Path) -> None:
    given = properties.settings()
    refused(bpy.ops.idto3d.generate_from_list, "Add a photo first")
    refused(bpy.ops.idto3d.clear_photos, "The list is empty")
    photos = work / "many"
    photos.mkdir()
    for number in range(6):
        synthetic.write_png(photos / f"{number}.png", np.zeros((4, 4, 3), dtype=np.uint8))
    (photos / "notes.txt").touch()
    names = [{"name": f"{number}.png"} for number in (0, 1)]
    assert bpy.ops.idto3d.add_photos(directory=str(photos), files=names) == {"FINISHED"}
    assert [Path(photo.path).name for photo in given.photos] == ["0.png", "1.png"]
    refused(bpy.ops.idto3d.generate_from_list, "agreed")
    given.consent = True
    assert bpy.ops.idto3d.generate_from_list.poll()
    assert bpy.ops.idto3d.add_folder(directory=str(photos)) == {"FINISHED"}
    assert len(given.photos) == 6 and not given.consent, "new photos need a new tick"
    assert bpy.ops.idto3d.add_folder(directory=str(photos)) == {"CANCELLED"}
    text = f'"{photos / "0.png"}"\n{(photos / "1.png").as_uri()}; {photos / "notes.txt"}\n/nowhere.png'
    assert idto3d_blender.photo_list.in_text(text) == [photos / "0.png", photos / "1.png"]
    assert len(idto3d_blender.photo_list.used()) == 5
    given.photo_index = 2
    chosen = given.photos[2].path
    assert bpy.ops.idto3d.remove_photo(index=0) == {"FINISHED"} and len(given.photos) == 5
    assert given.photos[given.photo_index].path == chosen, "another photo is shown"
    assert bpy.ops.idto3d.remove_photo(index=4) == {"FINISHED"} and given.photos[given.photo_index].path == chosen
    given.photos.add().path = str(photos / "5.png")
    in_list, in_menu = "idto3d.remove_photo", "idto3d.clear_photos"
    assert {in_list, in_menu} <= set(draw_all_panels())
    (photos / "1.png").unlink()
    given.consent = True
    refused(bpy.ops.idto3d.generate_from_list, "1.png is not there any more")
    given.pack = "FOLDER"
    refused(bpy.ops.idto3d.generate_from_list, "folder of the pack")
    given.pack = "STARTER"
    for output in ("//heads", "heads"):
        given.output = output
        refused(bpy.ops.idto3d.generate_from_list, "no whole path")
    given.output = ""
    script = {"photos": str(photos / "0.png"), "output": "//heads/x", "consent": True}
    refused(lambda: bpy.ops.idto3d.generate(**script), "Save the file before")
    check_names_of_other_letters(photos)
    given.all_expressions = False
    assert properties.chosen_expressions(given).count(",") == 11
    assert bpy.ops.idto3d.fewer_expressions() == {"FINISHED"}
    assert properties.chosen_expressions(given) == "smile,mouth_stretch,brow_raiser,eye_closed"
    given.expressions = (False,) * 12
    assert properties.chosen_expressions(given) == "neutral"
    assert bpy.ops.idto3d.lower_quality() == {"FINISHED"} and given.quality == "draft"
    refused(bpy.ops.idto3d.lower_quality, "lowest")
    draw_all_panels()
    assert bpy.ops.idto3d.clear_photos() == {"FINISHED"} and not given.photos


def check_saved_file_is_silent(work: Path) -> None:
    """A saved file does not tell whose photos were in the list; the list stays."""
    blender_session.fill_panel(work, "a text that nobody else needs")
    file = work / "silent.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), compress=False, copy=True)
    saved = file.read_bytes()
    assert b"photo of anna" not in saved and b"nobody else needs" not in saved
    given = properties.settings()
    assert len(given.photos) == 1 and given.consent and given.prompt
    bpy.ops.idto3d.clear_photos()


def check_errors(state: session.Session, work: Path) -> None:
    log = work / "job.log"
    log.write_text(f"Traceback\n  File {Path.home()}/secret/me.jpg\n", encoding="utf-8")
    for code, button in (
        ("E_OUT_OF_MEMORY", "idto3d.lower_quality"),
        ("E_OUT_OF_MEMORY", "idto3d.free_gpu_memory"),
        ("E_FACE_TOO_SMALL", "idto3d.other_photos"),
        ("E_BACKEND_START", "idto3d.install"),
    ):
        state.ended = Snapshot("x", "failed", log, error=Problem(code, "It did not work.", "Do this."))
        assert {button, "idto3d.copy_report"} <= set(draw_all_panels())
    text = operators_remedy.report_text(of_setup=False)
    assert "E_BACKEND_START: It did not work. Do this." in text and bpy.app.version_string in text
    assert str(Path.home()) not in text and "me.jpg" not in text
    # A repair that failed: what was to be repaired is there again, and the error is told nevertheless.
    state.setup_ended = Snapshot("setup-x", "failed", log, error=Problem("E_NETWORK", "No answer.", "Try again."))
    assert state.status.state == "ready" and not operators_remedy.report_text(of_setup=False).count("E_NETWORK")
    assert "E_NETWORK" in drawn().texts and "E_NETWORK: No answer." in operators_remedy.report_text(of_setup=True)
    assert bpy.ops.idto3d.copy_report() == {"FINISHED"}
    assert bpy.ops.idto3d.dismiss() == {"FINISHED"} and state.ended is None
    assert "E_NETWORK" in drawn().texts, "a head's message was closed, not this one"
    assert bpy.ops.idto3d.dismiss(of_setup=True) == {"FINISHED"} and state.setup_ended is None
    assert "E_NETWORK" not in drawn().texts


def main() -> None:
    work = Path(sys.argv[-1])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    for _ in range(2):
        state = blender_session.start(work, work)
        draw_all_panels()
        assert "IDTO3D_PT_generate" in dir(bpy.types)
        idto3d_blender.unregister()
        assert not [name for name in dir(bpy.types) if name.startswith("IDTO3D_")]
        assert not [h for h in bpy.app.handlers.load_post if h.__module__.startswith("idto3d_blender")]
        assert not hasattr(bpy.types.WindowManager, "idto3d") and driver._work is None
    state = blender_session.start(work, work)
    check_setup(state)
    check_photos(work)
    check_saved_file_is_silent(work)
    check_errors(state, work)
    idto3d_blender.unregister()
    blender_session.leave()


if __name__ == "__main__":
    main()
