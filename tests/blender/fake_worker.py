# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that speaks the protocol and computes nothing: ``python fake_worker.py BUNDLE`` makes copies of BUNDLE.

What happens is steered by the request's text: "hold" waits, before the end, until the file OUT.go is there; "fail"
ends in an error; "sketch" is "hold" with a sketch, a copy of BUNDLE, whose vertices the last previews move; "saving"
has one, too, and saves until it is cancelled, and to the end all the same; any other goes to its end. Previews are of
two topologies, triangles and then quads with colours.
"""

import json
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.blender import synthetic_bundle as synthetic

STEPS = 6
SKETCHED = ("sketch", "saving")
requests: list[dict[str, Any]] = []
lock = threading.Lock()


def say(**event: Any) -> None:
    with lock:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def listen() -> None:
    for line in sys.stdin:
        requests.append(json.loads(line))
    requests.append({"type": "closed"})


def asked(*kinds: str) -> dict[str, Any] | None:
    return next((request for request in requests if request["type"] in kinds), None)


def beat() -> None:
    while True:
        say(type="heartbeat")
        time.sleep(1.0)


def preview(request: dict[str, Any], job: str, step: int) -> None:
    folder = Path(request["previews"])
    folder.mkdir(parents=True, exist_ok=True)
    second = step >= STEPS // 2
    topology = 2**32 - 1 if second or request["prompt"] in SKETCHED else 2**31
    if request["prompt"] in SKETCHED:
        with np.load(Path(sys.argv[1]) / "head.npz") as stored:
            shape = {name: stored[name] for name in ("vertices", "faces")}
    else:
        shape = synthetic.ellipsoid(16, 30, quads=True) if second else synthetic.ellipsoid()
    arrays: dict[str, Any] = {"vertices": shape["vertices"] * (0.9 + 0.02 * step), "faces": shape["faces"]}
    if second:
        arrays["colours"] = np.tile(np.array([40 * step, 150, 120], np.uint8), (len(arrays["vertices"]), 1))
    file = folder / f"mesh-{step}.npz"
    with file.with_suffix(".part").open("wb") as stream:
        np.savez(stream, **arrays)
    file.with_suffix(".part").rename(file)
    say(type="preview", job=job, kind="mesh", path=str(file), topology=topology)
    picture = folder / f"picture-{step}.png"
    synthetic.write_png(picture, np.full((32, 32, 3), 20 * step, dtype=np.uint8))
    say(type="preview", job=job, kind="picture", path=str(picture))


def understand(request: dict[str, Any], job: str) -> None:
    """What comes of the photos before anything is sculpted."""
    for number, photo in enumerate(request["photos"]):
        seen = {"verdict": ("good", "fair", "poor")[number % 3], "residual_mm": 0.8, "yaw": -23.4, "pitch": 2.0}
        words = {"reason": "", "expression": "jawOpen", "another_day": "ignored"}
        say(type="fit", job=job, photo=Path(photo).name, **seen, **words, overlay=None)
    if request["prompt"] in SKETCHED:
        sketch = Path(request["out"]).with_suffix(".work") / "sketch"
        shutil.copytree(sys.argv[1], sketch, dirs_exist_ok=True)
        say(type="sketch", job=job, bundle=str(sketch))


def wait(condition: Any) -> bool:
    """False when the job was cancelled, or Blender went, before ``condition`` came true."""
    while not condition():
        if asked("cancel", "shutdown", "closed"):
            return False
        time.sleep(0.01)
    return True


def main() -> None:
    threading.Thread(target=listen, daemon=True).start()
    threading.Thread(target=beat, daemon=True).start()
    say(type="hello", protocol=1, version="0", python="3", torch="0", device="cpu", device_name="test", memory_gb=1)
    wait(lambda: asked("generate"))
    request = asked("generate")
    if request is None:
        return
    job, out = request["job"], Path(request["out"])
    if request["prompt"] == "fail":
        say(type="error", job=job, code="E_NO_FACE", message="There is no face in a.png.", fix="Choose another photo.")
        return
    understand(request, job)
    for step in range(STEPS):
        pause = time.monotonic() + 0.08
        if not wait(lambda until=pause: time.monotonic() > until):
            say(type="cancelled", job=job, resumable=True)
            return
        stage = "geometry" if step < STEPS // 2 else "texture"
        say(type="progress", job=job, stage=stage, step=step % 3 + 1, steps=STEPS // 2, eta_seconds=2.0)
        preview(request, job, step)
    if request["prompt"] in ("hold", "sketch") and not wait(lambda: out.with_suffix(".go").exists()):
        say(type="cancelled", job=job, resumable=True)
        return
    if request["prompt"] == "saving":
        say(type="progress", job=job, stage="saving", step=0, steps=1, eta_seconds=None)
        wait(lambda: False)
        time.sleep(0.5)
    shutil.copytree(sys.argv[1], out)
    say(type="done", job=job, bundle=str(out))


main()
