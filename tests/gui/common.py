# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stories of drive.py share: the extension, the hands, the notes, waiting, installing."""

from __future__ import annotations

import importlib
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

WORK = Path(__file__).resolve().parent

if TYPE_CHECKING:
    from tests.gui.hands import Hands, Steps
else:
    from hands import Hands, Steps

MODULE = "bl_ext.user_default.idto3d"
GIVEN: dict[str, Any] = json.loads((WORK / "given.json").read_text(encoding="utf-8"))
RESULT: dict[str, Any] = {
    "blender": bpy.app.version_string,
    "steps": [],
    "longest_gap": {},
    "longest_tick": {},
    "longest_tick_cpu": {},
    "longest_pieces": {},
    "turns": {},
    "clicks_let_go_by": [],
}
HANDS = Hands(WORK, GIVEN["simulate"])
BEGUN = time.monotonic()


class Extension:
    """The modules of the installed extension, by name: those beside the rooms, and of each room; of the names that
    several have, the first one's."""

    PACKAGES = (MODULE, *(f"{MODULE}.{room}" for room in ("ui", "jobs", "head", "studio", "capture", "match")))

    def __getattr__(self, name: str) -> Any:
        package = next(p for p in self.PACKAGES if importlib.util.find_spec(f"{p}.{name}"))
        return importlib.import_module(f"{package}.{name}")

    def of(self, room: str, name: str) -> Any:
        return importlib.import_module(f"{MODULE}.{room}.{name}")


ext: Any = Extension()
phase = "start"
_last_turn = 0.0


def note(**facts: Any) -> None:
    """Keep facts for the test and the log."""
    RESULT.update(facts)
    print(f"DRIVE {time.monotonic() - BEGUN:6.1f}", facts, flush=True)


def enter(name: str) -> None:
    """A new part of the story begins."""
    global phase, _last_turn
    phase, _last_turn = name, 0.0
    RESULT["steps"].append([name, round(time.monotonic() - BEGUN, 1)])
    print(f"DRIVE {time.monotonic() - BEGUN:6.1f} == {name}", flush=True)


def until(condition: Callable[[], Any], seconds: float, what: str) -> Steps:
    """Wait for a condition. Raises TimeoutError naming ``what``."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s; ended: {ext.session.get().ended}")
        yield 0.05
    return value


def click_until(done: Callable[[], Any], text: str, at: float = 0.4) -> Steps:
    """Press a button until it has had its effect: on a busy machine Blender now and then lets a click go by. Returns
    what ``done`` says."""
    for left in (2, 1, 0):
        yield from HANDS.click_on(text, at)
        try:
            return (yield from until(done, 15, f"the effect of {text}"))
        except TimeoutError:
            RESULT["clicks_let_go_by"].append(text)
            if not left:
                raise


def choose_file(text: str, path: Path, at: float = 0.4) -> Steps:
    """Press a button that opens the file browser, and choose a file or a folder there."""
    yield from click_until(HANDS.browser, text, at)
    yield from HANDS.choose_file(path)


def watch() -> float:
    """Beats as often as Blender lets it; keeps the longest pause of each part of the story, in seconds."""
    global _last_turn
    now = time.monotonic()
    if _last_turn:
        RESULT["longest_gap"][phase] = round(max(RESULT["longest_gap"].get(phase, 0.0), now - _last_turn), 3)
    _last_turn = now
    return 0.01


def measure_ticks() -> None:
    """Keep the longest turn of the extension's own timers, in seconds of the clock and of the processor, as others may
    use the machine; how many there were; and the longest pieces of work that they did, in seconds of the processor."""

    def measured(real: Callable[..., Any], done: Callable[[float, float], None]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            begun, used = time.monotonic(), time.thread_time()
            try:
                return real(*given)
            finally:
                done(time.monotonic() - begun, time.thread_time() - used)

        return call

    def turned(seconds: float, of_processor: float) -> None:
        RESULT["turns"][phase] = RESULT["turns"].get(phase, 0) + 1
        for kind, took in (("longest_tick", seconds), ("longest_tick_cpu", of_processor)):
            RESULT[kind][phase] = round(max(RESULT[kind].get(phase, 0.0), took), 3)

    def piece(module: Any, name: str) -> None:
        longest = RESULT["longest_pieces"]

        def done(_: float, of_processor: float) -> None:
            longest[name] = max(longest.get(name, (0.0, "")), (round(of_processor, 3), phase))

        setattr(module, name, measured(getattr(module, name), done))

    for module, name in ((ext.driver, "tick"), (ext.takes, "poll"), (ext.pump, "pump")):
        setattr(module, name, measured(getattr(module, name), turned))
    for name in ("_take_note_of_end", "_redraw_if_new"):
        piece(ext.driver, name)
    for name in ("read_picture", "look_at_running", "next_slice"):
        piece(ext.building, name)
    piece(ext.of("jobs", "jobs").Jobs, "poll")


def running() -> Any:
    return ext.session.get().running()


def unfold() -> None:
    """Blender tells no script where a box's header is: the boxes that are folded at first are opened before they are
    drawn for the first time."""
    panels = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("IDTO3D_PT_")]
    for panel in panels:
        if "DEFAULT_CLOSED" in getattr(panel, "bl_options", ()) and panel.__name__ != "IDTO3D_PT_setup_ready":
            bpy.utils.unregister_class(panel)
            panel.bl_options = set()
            bpy.utils.register_class(panel)


def install() -> Steps:
    enter("install")
    yield 1.0
    bpy.ops.extensions.package_install_files(
        filepath=str(WORK / GIVEN["zip"]), repo="user_default", enable_on_install=True, overwrite=True
    )
    yield 0.5
    note(enabled=MODULE in bpy.context.preferences.addons)
    measure_ticks()
    unfold()
    # In the window itself: without a window manager, nobody would raise another one.
    bpy.context.preferences.view.filebrowser_display_type = "SCREEN"
    if GIVEN["look"]:
        bpy.context.preferences.view.show_tooltips = False
    yield from HANDS.open_tab("ID-to-3D")
    note(category=HANDS.region().active_panel_category, setup_before=ext.session.get().status.state)
    # The size of a set-up is asked from a process of its own.
    yield from until(lambda: ext.session.plan() is not None, 60, "the set-up's plan")
    yield 1.0
    yield from HANDS.away()
    yield from HANDS.shot("01-set-up")
