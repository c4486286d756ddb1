# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's hands and eyes inside a running Blender: the mouse, what lies under it, and screenshots.

Imported by drive.py, which lies beside it. Everything that takes time is a generator that yields the seconds to wait,
because Blender must go on drawing meanwhile.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy
import numpy as np

Steps = Generator[float, None, Any]
_SETTLE = 0.12  # seconds from a moved mouse to a highlighted button, with software OpenGL
# Turns of the wheel before each look at the sidebar: as it stands, from the top, then further down.
_WHEEL = (0, -80, 10, 10, 10, 10, 10, 10)
_LOCK = 5  # pixels that a button held down is moved before Blender takes it for a drag; it asks for 3 to 4
_ROW = 14  # pixels between two looks, less than a button's height


class NotFound(Exception):
    """No such button on the screen."""


class Hands:
    """simulate: events made by Blender itself (--enable-event-simulate) and not by xdotool; folder: for screenshots."""

    def __init__(self, folder: Path, simulate: bool) -> None:
        self.folder = folder
        self.simulate = simulate
        self.shots: list[dict[str, Any]] = []
        self._window_id = ""
        self._last = 1e6  # height at which a button was found last
        self.pressed = 0.0  # when the mouse's button was pressed last, seconds of the monotonic clock

    # --- where things are

    def window(self) -> Any:
        return bpy.context.window_manager.windows[0]

    def area(self) -> Any:
        return next(area for area in self.window().screen.areas if area.type == "VIEW_3D")

    def region(self, kind: str = "UI") -> Any:
        return next(region for region in self.area().regions if region.type == kind)

    def override(self, kind: str = "UI") -> Any:
        return bpy.context.temp_override(window=self.window(), area=self.area(), region=self.region(kind))

    def open_tab(self, category: str) -> Steps:
        """Show the sidebar with one of its tabs."""
        self.area().spaces.active.show_region_ui = True
        yield 1.0
        self.region().active_panel_category = category
        self.area().tag_redraw()
        yield 1.0

    # --- mouse

    def move(self, x: float, y: float) -> None:
        """To a place in Blender's coordinates: pixels of the window from its lower left corner."""
        if self.simulate:
            self.window().event_simulate(type="MOUSEMOVE", value="NOTHING", x=int(x), y=int(y))
        else:
            self._xdotool("mousemove", *self._of_window("--window"), str(int(x)), str(int(self.window().height - y)))

    def press(self, x: float, y: float, down: bool) -> None:
        if down:
            self.pressed = time.monotonic()
        if self.simulate:
            value = "PRESS" if down else "RELEASE"
            self.window().event_simulate(type="LEFTMOUSE", value=value, x=int(x), y=int(y))
        else:
            self._xdotool("mousedown" if down else "mouseup", "1")

    def click(self, x: float, y: float) -> Steps:
        yield from self.drag(x, y, x, y)

    def drag(self, x: float, y: float, to_x: float, to_y: float) -> Steps:
        self.move(x, y)
        yield 0.3
        self.press(x, y, True)
        yield 0.15
        # A number's field counts from the first place beyond its lock of some pixels at which it sees the mouse. A busy
        # window takes several moves as one, and would count from far: so a little way at first, until that is seen.
        far = math.hypot(to_x - x, to_y - y)
        lock = min(_LOCK / far, 1.0) if far else 1.0
        for part in np.linspace(lock, 1.0, 9) if far else ():
            self.move(x + (to_x - x) * part, y + (to_y - y) * part)
            yield 0.3 if part == lock else 0.06
            yield 0.01  # however late that came, the window has then taken in this move once
        self.press(to_x, to_y, False)
        yield 0.4

    def scroll(self, x: float, y: float, turns: int) -> Steps:
        """Turn the wheel there: positive is down."""
        self.move(x, y)
        yield 0.2
        for _ in range(abs(turns)):
            if self.simulate:
                kind = "WHEELDOWNMOUSE" if turns > 0 else "WHEELUPMOUSE"
                self.window().event_simulate(type=kind, value="PRESS", x=int(x), y=int(y))
            else:
                self._xdotool("click", "5" if turns > 0 else "4")
            yield 0.02
        yield 0.5 if turns else 0.0

    def key(self, name: str) -> Steps:
        """Press Return or Escape."""
        if self.simulate:
            kind = {"Return": "RET", "Escape": "ESC"}[name]
            for value in ("PRESS", "RELEASE"):
                self.window().event_simulate(type=kind, value=value)
        else:
            self._xdotool("key", name)
        yield 0.4

    def write(self, words: str) -> Steps:
        """Into the text field that was clicked on, and Return."""
        if self.simulate:
            for letter in words:
                kind = "SPACE" if letter == " " else letter.upper()
                self.window().event_simulate(type=kind, value="PRESS", unicode=letter)
                self.window().event_simulate(type=kind, value="RELEASE")
        else:
            self._xdotool("type", "--delay", "40", words)
        yield 0.4
        yield from self.key("Return")

    def browser(self) -> Any:
        """The file browser that has opened over the whole screen, or None."""
        return next((area for area in self.window().screen.areas if area.type == "FILE_BROWSER"), None)

    def choose_file(self, path: Path) -> Steps:
        """A file, or a folder, in the file browser that has opened over the whole screen; then its button."""
        yield 1.0
        browser = self.browser()
        params = browser.spaces.active.params
        params.directory = str(path if path.is_dir() else path.parent).encode()
        if not path.is_dir():
            params.filename = path.name
        yield 1.0
        yield from self.shot(f"browser-{path.stem}")
        region = next(region for region in browser.regions if region.type == "WINDOW")
        with bpy.context.temp_override(window=self.window(), area=browser, region=region):
            bpy.ops.file.execute()
        yield 1.0

    def away(self) -> Steps:
        """Into a corner of the viewport, where nothing is highlighted and no tooltip stands in the way."""
        region = self.region("WINDOW")
        self.move(region.x + 120, region.y + 60)
        yield 0.5

    def _xdotool(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], check=True, capture_output=True, timeout=20)

    # --- what lies under the mouse

    def hovered(self) -> str:
        """The Python of the sidebar's button under the mouse: a call of an operator, or a property's path."""
        manager = bpy.context.window_manager
        manager.clipboard = ""
        with self.override():
            for operator in (bpy.ops.ui.copy_python_command_button, bpy.ops.ui.copy_data_path_button):
                try:
                    if operator.poll():
                        operator()
                except RuntimeError:
                    continue
                if manager.clipboard:
                    return str(manager.clipboard)
        return ""

    def find(self, text: str, at: float = 0.4) -> Generator[float, None, tuple[float, float]]:
        """Go over the sidebar with the mouse until a button whose Python contains ``text`` is under it, beginning where
        the last one was found; where it is not in sight, turn the wheel.

        at: where across, 0 left to 1 right. Raises NotFound with what was there.
        """
        seen: list[str] = []
        for wheel in _WHEEL:
            region = self.region()
            yield from self.scroll(region.x + region.width / 2, region.y + region.height / 2, wheel)
            x = region.x + at * region.width
            rows = np.arange(region.y + region.height - 12.0, region.y + 8, -_ROW)
            for y in (float(row) for row in rows[np.argsort(np.abs(rows - self._last))]):
                self.move(x, y)
                yield _SETTLE
                here = self.hovered()
                # What is hovered may be told late, and belong to a look before: towards the button's middle first.
                for row in (y - _ROW / 2, y, y + _ROW / 2, y + _ROW, y - _ROW) if text in here else ():
                    self.move(x, row)
                    yield 4 * _SETTLE
                    if text in self.hovered():
                        self._last = row
                        return x, row
                if here and here not in seen:
                    seen.append(here)
            # A sidebar that has just changed may highlight nothing until the mouse has been elsewhere.
            yield from self.away()
        raise NotFound(f"{text} is not among {seen}")

    def click_on(self, text: str, at: float = 0.4) -> Steps:
        """Find a button by its Python and press it."""
        x, y = yield from self.find(text, at)
        yield from self.click(x, y)

    # --- eyes

    def shot(self, name: str, **facts: Any) -> Steps:
        """Screenshot NAME.png, by a process beside Blender where there is one, so that Blender is not held up."""
        path = self.folder / f"{name}.png"
        command = self._screenshot_command(path)
        # A file browser over the whole screen leaves no viewport.
        there = any(area.type == "VIEW_3D" for area in self.window().screen.areas)
        box, side = [self._place(self.region(kind)) if there else [] for kind in ("WINDOW", "UI")]
        if command:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            end = time.monotonic() + 30
            while process.poll() is None and time.monotonic() < end:
                yield 0.05
        else:
            with bpy.context.temp_override(window=self.window()):
                bpy.ops.screen.screenshot(filepath=str(path))
        self.shots.append({"name": name, "viewport": box, "sidebar": side, **facts})

    def _screenshot_command(self, path: Path) -> list[str]:
        """IDTO3D_GUI_SHOT names a command that takes the picture's path."""
        if own := os.environ.get("IDTO3D_GUI_SHOT"):
            return [own, str(path)]
        if os.environ.get("DISPLAY") and shutil.which("import"):
            # Preferences open in a window of their own.
            alone = len(bpy.context.window_manager.windows) == 1
            return ["import", *(alone and self._of_window("-window") or ("-window", "root")), str(path)]
        return []

    def _of_window(self, option: str) -> tuple[str, ...]:
        """An option that names Blender's window to another program, wherever it stands on the screen; there is none yet
        when Blender runs the script."""
        if not self._window_id and not self.simulate:
            self._window_id = _x_window()
        return (option, self._window_id) if self._window_id else ()

    def _place(self, region: Any) -> list[int]:
        """Left, top, width and height in the screenshot."""
        return [region.x, self.window().height - region.y - region.height, region.width, region.height]


def _x_window() -> str:
    """Blender's window as X counts it; empty where that cannot be told, and the screen is taken for it."""
    found = subprocess.run(
        ["xdotool", "search", "--onlyvisible", "--class", "blender"], capture_output=True, text=True, timeout=20
    )
    return (found.stdout.split() or [""])[-1]
