# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend for checks of matches."""

import sys
from pathlib import Path

from idto3d_blender.jobs.backend_process import BackendProcess, child_environment
from idto3d_blender.jobs.job import Launch, Warm
from tests.blender import blender_session


def backend(fake: str, work: Path) -> Warm:
    """A worker that waits for work."""
    launch = Launch((sys.executable, fake), child_environment(work / "user", blender_session.ROOT), work / "log")
    return Warm(BackendProcess(launch.command, launch.env, launch.log, "idto3d-test"), launch, None)
