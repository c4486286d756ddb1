# SPDX-License-Identifier: GPL-3.0-or-later
"""The true set-up, as a new user makes it. Played by drive.py."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import bpy

if TYPE_CHECKING:
    from tests.gui.common import GIVEN, HANDS, MODULE, enter, ext, install, note, until
    from tests.gui.hands import Steps
else:
    from common import GIVEN, HANDS, MODULE, enter, ext, install, note, until
    from hands import Steps


def set_up_for_real() -> Steps:
    """The true set-up, by its button: gigabytes and minutes."""
    enter("set-up")
    bpy.context.preferences.system.use_online_access = True
    bpy.context.preferences.addons[MODULE].preferences.python = GIVEN["python"]
    HANDS.area().tag_redraw()
    yield 1.0
    yield from until(lambda: ext.session.plan() is not None, 60, "the plan")
    yield 1.0
    yield from HANDS.shot("30-online")
    yield from HANDS.click_on("idto3d.install")
    yield 1.0
    yield from HANDS.shot("31-dialog")
    yield from HANDS.key("Return")
    yield from until(lambda: ext.session.get().setup, 10, "the set-up after its dialog")
    yield from until(lambda: ext.session.get().setup.snapshot.stage == "download", 120, "the download")
    yield 20.0
    yield from HANDS.away()
    yield from HANDS.shot("32-download")
    yield from HANDS.click_on("idto3d.cancel_install", at=0.25)
    began = time.monotonic()
    yield from until(lambda: ext.session.get().setup is None, 60, "the cancelled set-up")
    note(setup_cancel_seconds=round(time.monotonic() - began, 1))
    yield 1.5
    yield from HANDS.away()
    yield from HANDS.shot("33-cancelled")
    yield from HANDS.click_on("idto3d.install")
    yield 0.6
    yield from HANDS.key("Return")
    enter("set-up goes on")
    yield from until(lambda: ext.session.get().setup, 10, "the set-up after its dialog")
    last = ""
    while ext.session.get().setup is not None:
        stage = ext.session.get().setup.snapshot.stage
        if stage != last:
            last = stage
            yield 4.0
            yield from HANDS.shot(f"34-{stage.replace(' ', '-')}")
        yield 0.5
    yield 1.5
    yield from HANDS.shot("35-ready")
    ended = ext.session.get().setup_ended
    note(setup_ended=ended.state, setup_error=str(ended.error), setup_after=ext.session.get().status.state)


PARTS = (install, set_up_for_real)
