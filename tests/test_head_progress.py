# SPDX-License-Identifier: GPL-3.0-or-later
"""Long functions tell how far they are, often, and stop at once when the callback raises."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from idto3d.errors import Cancelled
from idto3d.head import charts
from idto3d.head.decimate import decimate
from idto3d.head.progress import between, communicated, threaded
from idto3d.mesh.attach import AT_ONCE, Surface


def wavy(n: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n), indexing="xy")
    points = np.stack([x.ravel(), y.ravel(), 0.05 * np.sin(9 * x.ravel()) * np.cos(7 * y.ravel())], 1)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).reshape(-1)
    lower, upper = np.stack([corner, corner + 1, corner + n], 1), np.stack([corner + 1, corner + n + 1, corner + n], 1)
    return points, np.concatenate([lower, upper])


def test_a_part_of_the_way() -> None:
    seen: list[float] = []
    inner = between(between(seen.append, 0.5, 1.0), 0.0, 0.5)
    for share in (0.0, 0.5, 1.0):
        inner(share)
    assert seen == [0.5, 0.625, 0.75]


def test_a_thread_is_stopped_and_awaited() -> None:
    stop = threading.Event()
    ended = []

    def work() -> None:
        stop.wait(30)
        ended.append(True)

    def cancel(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        threaded(work, lambda: 0.0, stop.set, cancel)
    assert ended == [True]


def test_what_a_thread_raises_is_raised() -> None:
    def work() -> None:
        raise ValueError("no manifold")

    with pytest.raises(ValueError, match="no manifold"):
        threaded(work, lambda: 0.0, lambda: None, lambda _: None)


def test_a_process_is_ended() -> None:
    sleeper = "import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", sleeper], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    shares: list[float] = []

    def cancel(share: float) -> None:
        shares.append(share)
        if len(shares) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        communicated(process, 1.0, cancel)
    assert process.returncode not in (None, 0)
    assert shares == sorted(shares) and 0 <= shares[0] <= shares[-1] < 1


def test_a_large_request_reaches_the_packer_and_cancel_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a pipe holds: the request must not depend on being read while the answer is waited for."""
    points, faces = wavy(120)
    uv = points[:, :2].astype(np.float32)
    assert uv.nbytes > 1 << 16
    shares: list[float] = []
    packed = charts.pack(uv, faces.astype(np.uint32), 256, 2, shares.append)
    assert packed["faces_uv"].shape == faces.shape
    assert len(shares) >= 2
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def remembered(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remembered)

    def cancel(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        charts.pack(uv, faces.astype(np.uint32), 256, 2, cancel)
    assert started[0].poll() is not None


def test_decimation_stops_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    points, faces = wavy(400)
    decimate(*wavy(12), 100)  # compiled, where it was not yet
    shares: list[float] = []
    began = time.monotonic()
    decimate(points, faces, 2000, progress=shares.append)
    whole = time.monotonic() - began
    assert shares == sorted(shares) and 0 <= shares[0] and shares[-1] <= 1
    assert len(shares) > whole / 0.5  # more often than every half second

    came_to: list[float] = []

    def watched(work: Callable[[], Any], share: Callable[[], float], *rest: Any) -> Any:
        try:
            return threaded(work, share, *rest)
        finally:
            came_to.append(share())

    def cancel(share: float) -> None:
        if share > 0:
            raise Cancelled

    monkeypatch.setattr("idto3d.head.decimate.threaded", watched)
    with pytest.raises(Cancelled):
        decimate(points, faces, 2000, progress=cancel)
    assert came_to[0] < 0.9  # it is awaited: were it not stopped, it would come to its end


def test_attaching_in_parts_changes_nothing() -> None:
    points, faces = wavy(8)
    surface = Surface(points, faces)
    queries = np.random.default_rng(0).random((AT_ONCE + 100, 3))
    shares: list[float] = []
    at_once, rest = surface.attach(queries[:AT_ONCE]), surface.attach(queries[AT_ONCE:])
    both = surface.attach(queries, progress=shares.append)
    assert len(shares) == 2
    assert np.array_equal(both.face.numpy(), np.r_[at_once.face.numpy(), rest.face.numpy()])
    assert np.array_equal(both.gap.numpy(), np.r_[at_once.gap.numpy(), rest.gap.numpy()])
