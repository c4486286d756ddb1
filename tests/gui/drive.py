# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Blender with a window, as its --python: plays a story, and writes what it saw.

In the folder in which this lies: the other modules of the stories, given.json (see blender_window.py), the extension's
zip, a photo; it leaves result.json and screenshots there. Any error ends Blender, with its traceback in result.json.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))

if TYPE_CHECKING:
    from tests.gui import after_head, common, first_head, first_set_up
    from tests.gui.common import BEGUN, GIVEN, HANDS, RESULT, WORK
    from tests.gui.hands import Steps
else:
    import after_head
    import common
    import first_head
    import first_set_up
    from common import BEGUN, GIVEN, HANDS, RESULT, WORK
    from hands import Steps

STORIES = {"head": (*first_head.PARTS, *after_head.PARTS, first_head.look_around), "set-up": first_set_up.PARTS}


def story() -> Steps:
    for part in STORIES[GIVEN["story"]]:
        yield from part()


def leave() -> None:
    RESULT["shots"] = HANDS.shots
    (WORK / "result.json").write_text(json.dumps(RESULT, indent=1, default=str), encoding="utf-8")
    bpy.ops.wm.quit_blender()


def turn(steps: Generator[float, None, Any]) -> Callable[[], float | None]:
    def go_on() -> float | None:
        try:
            if time.monotonic() - BEGUN > GIVEN["seconds"]:
                raise TimeoutError(f"The story took more than {GIVEN['seconds']} s; it was at {common.phase!r}.")
            return next(steps)
        except StopIteration:
            RESULT["finished"] = True
        except BaseException:
            RESULT["error"] = traceback.format_exc()
            print(RESULT["error"], flush=True)
            for _ in HANDS.shot("99-error"):
                time.sleep(0.05)
        leave()
        return None

    return go_on


bpy.context.preferences.view.show_splash = False
bpy.app.timers.register(common.watch, persistent=True)
bpy.app.timers.register(turn(story()), first_interval=2.0, persistent=True)
