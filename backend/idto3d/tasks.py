# SPDX-License-Identifier: GPL-3.0-or-later
"""A job of the worker, from its request to what it made.

The rooms that do the work are imported here and not above: a worker says hello before torch is loaded.
"""

from __future__ import annotations

from pathlib import Path

from .clock import Events
from .errors import Cancelled
from .places import has_checkpoint
from .protocol import Capture, Generate, Refit, Task


def run_task(request: Task, events: Events) -> Path:
    """A job of any kind. Raises ImportError where the environment lacks something."""
    try:
        from . import pipeline  # noqa: F401
    except OSError as error:  # a library that the system cannot load
        raise ImportError(str(error)) from error
    if isinstance(request, Capture):
        return run_capture(request, events)
    return run_refit(request, events) if isinstance(request, Refit) else run_generate(request, events)


def run_refit(request: Refit, events: Events) -> Path:
    """One answer to one set of pins; pack and bundle are kept for the next."""
    from .pipeline import STARTER_PACK
    from .refit import lay, refit
    from .reproject import reproject

    bundle, pack = Path(request.bundle), Path(request.pack or STARTER_PACK)
    head = lay(bundle, pack)
    events(refit(head, request, Path(request.folder)))
    return bundle if request.out is None else reproject(head, request, pack, events)


def run_capture(request: Capture, events: Events) -> Path:
    """A video to its take."""
    from .capture import capture
    from .pipeline import STARTER_PACK

    pack, head = Path(request.pack or STARTER_PACK), Path(request.head) if request.head else None
    return capture(request.video, request.out, pack, head, events, request.previews)


def run_generate(request: Generate, events: Events) -> Path:
    """Photos to a bundle; where that is stopped, Cancelled tells whether there is a checkpoint."""
    from .pipeline import STARTER_PACK, GenerateConfig, generate, job_folder

    pack = Path(request.pack or STARTER_PACK)
    config = GenerateConfig(pack, request.seed, request.expressions, request.prompt, request.quality)
    try:
        return generate(request.photos, request.out, config, events, request.previews)
    except Cancelled as stop:
        raise Cancelled(has_checkpoint(job_folder(request.out, request.photos, config))) from stop
