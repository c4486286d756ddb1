# SPDX-License-Identifier: GPL-3.0-or-later
"""xatlas in a process of its own: it holds Python's lock for many seconds, in which no heartbeat, cancel or exit of the
worker could run. This file is also that process (``python -m idto3d.head.charts``); it must not import torch.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idto3d.head.progress import Progress, communicated, ignored

Array = NDArray[Any]
PACKAGES = Path(__file__).resolve().parents[2]
TYPICAL = 4.0  # seconds


def pack(uv: Array, faces: Array, resolution: int, padding: int, progress: Progress = ignored) -> dict[str, Array]:
    """Moves charts, uv (T,2) float32 and faces (F,3) uint32, apart into one square: vertex (T',) index into uv,
    faces_uv (F,3), uv (T',2) in 0..1 of each side, texels (2,) width and height of the packing, charts (),
    utilization ().

    Raises MemoryError where the process was ended from outside, RuntimeError where it failed otherwise. When `progress`
    raises, the process is ended.
    """
    paths = [str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryFile() as request:  # a pipe would have to be filled while its other end is waited for
        np.savez(request, uv=uv, faces=faces, resolution=resolution, padding=padding)
        request.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "idto3d.head.charts"],
            stdin=request,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        answer, log = communicated(process, TYPICAL, progress)
    if process.returncode == -9:  # what a system does that has run out of memory
        raise MemoryError("packing was ended from outside")
    if process.returncode:
        raise RuntimeError(f"packing failed: {log.decode(errors='replace').strip()[-2000:]}")
    with np.load(io.BytesIO(answer), allow_pickle=False) as stored:
        return dict(stored)


def main() -> None:
    import xatlas

    # Before anything can print: only the answer may stand on stdout.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as request:
        atlas = xatlas.Atlas()
        atlas.add_uv_mesh(request["uv"], request["faces"])
        options = xatlas.PackOptions()
        options.resolution = int(request["resolution"])
        options.padding = int(request["padding"])
    options.bruteForce = True  # tighter, and fast for a hundred charts
    options.rotate_charts = False  # its quarter turns swap u and v, which mirrors half of the charts
    atlas.generate(pack_options=options)
    vertex, faces_uv, uv = atlas[0]
    texels = np.array([atlas.width, atlas.height], dtype=np.float32)
    with answer:
        np.savez(
            answer,
            vertex=vertex,
            faces_uv=faces_uv,
            uv=uv,
            texels=texels,
            charts=atlas.chart_count,
            utilization=atlas.utilization,
        )


if __name__ == "__main__":
    main()
