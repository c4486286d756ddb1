# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the worker's jobs.

The packages that do the work are imported inside the functions, so that a worker answers before torch is loaded.
"""

from pathlib import Path

from .clock import Events
from .errors import Cancelled, UserError
from .places import has_checkpoint
from .protocol import Capture, Generate, Refit, Task


def run_task(request: Task, events: Events) -> Path:
    """Run a job of any kind. Raises ImportError where the environment lacks something."""
    try:
        from . import pipeline  # noqa: F401
    except OSError as error:  # a library that the system cannot load
        raise ImportError(str(error)) from error
    if isinstance(request, Capture):
        return run_capture(request, events)
    return run_refit(request, events) if isinstance(request, Refit) else run_generate(request, events)


def run_refit(request: Refit, events: Events) -> Path:
    """Answer one set of pins; pack and bundle stay loaded for the next."""
    from .pipeline import pack_of
    from .refit import lay, refit
    from .reproject import reproject

    bundle = Path(request.bundle)
    pack = Path(request.pack) if request.pack else pack_of(bundle)
    head = lay(bundle, pack)
    events(refit(head, request, Path(request.folder)))
    return bundle if request.out is None else reproject(head, request, pack, events)


def run_capture(request: Capture, events: Events) -> Path:
    """Make a take from a video."""
    from .capture import capture
    from .pipeline import pack_of

    head = Path(request.head) if request.head else None
    pack = Path(request.pack) if request.pack else pack_of(head)
    return capture(request.video, request.out, pack, head, events, request.previews)


def run_generate(request: Generate, events: Events) -> Path:
    """Make a bundle from photos; on a stop, Cancelled says whether there is a checkpoint."""
    from .pipeline import STARTER_PACK, GenerateConfig, generate, job_folder

    pack = Path(request.pack or STARTER_PACK)
    config = GenerateConfig(pack, request.seed, request.expressions, request.prompt, request.quality)
    try:
        return generate(request.photos, request.out, config, events, request.previews)
    except Cancelled as stop:
        try:
            left = has_checkpoint(job_folder(request.out, request.photos, config))
        except UserError:  # nothing was made: there is no such pack
            left = False
        raise Cancelled(left) from stop
