# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the time goes from photo to sketch and to bundle, memory, and how much of it is bare U-Net."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..bundle import read_bundle
from ..clock import Event
from ..distill.config import DistillationConfig
from ..distill.device import best_device
from ..errors import UserError
from ..pipeline import STARTER_PACK, GenerateConfig, generate
from ..prior.adapters import Condition
from ..prior.manifest import Pack
from ..prior.model import Prior, cfg_pair
from ..prior.pack import read_expressions, read_pack
from ..protocol import QUALITY_NAMES
from .table import Row, print_table

EVERY = 0.05  # seconds between two looks at the memory
REPEATS = 5


class Memory:
    """The most memory (GB) that this process had resident while it was watched, by `stage`."""

    def __init__(self) -> None:
        import psutil

        self._process, self._done = psutil.Process(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.stage = ""
        self.most: dict[str, float] = {}

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            used = self._process.memory_info().rss / 1e9
            self.most[self.stage] = max(self.most.get(self.stage, 0.0), used)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._done.set()
        self._thread.join()


def unet_seconds(pack: Pack, views: int) -> float:
    """Median seconds of one guided evaluation of `views` latents, what a distillation step cannot do without."""
    device = best_device()
    prior = Prior.load(pack, "normal", device, torch.float16 if device == "cuda" else torch.float32)
    z = prior.encode(torch.zeros(views, pack.image_size, pack.image_size, 3, device=device))
    exp_dim = len(next(iter(read_expressions(pack).values())))
    one = torch.ones(views, device=device)
    zeros = torch.zeros(views, 512, device=device), torch.zeros(views, exp_dim, device=device)
    condition = Condition(prior.encode_text([""] * views), *zeros, one, one)
    t = torch.full((views,), 300, device=device)
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        cfg_pair(prior, z, t, condition)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def cold_seconds(photo: Path, config: GenerateConfig, folder: Path) -> float:
    """From the start of a program to the first preview: what is waited for by whoever has just opened Blender."""
    places = ["--out", folder / "cold", "--previews", folder / "cold-previews"]
    chosen = ["--pack", config.pack, "--quality", config.quality, "--json"]
    command = [sys.executable, "-m", "idto3d", "generate", photo, *places, *chosen]
    began = time.monotonic()
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout or ():
                event = json.loads(line)
                if event["type"] == "error":
                    raise UserError(event["code"], event["message"], event["fix"])
                if event["type"] == "preview":
                    return time.monotonic() - began
        finally:
            process.kill()  # or who stops this would wait for its head
    raise RuntimeError("the program ended without a preview")


def bench(photo: Path, config: GenerateConfig) -> tuple[list[str], list[Row]]:
    """Lines by stage, and the rows of what was promised. The first of two runs in this process warms up."""
    pack = read_pack(config.pack)
    wanted = DistillationConfig.from_pack(pack.distillation)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold = cold_seconds(photo, config, folder)
        for seed in range(2):  # one of its own, so that the second run resumes nothing of the first
            began, shown, memory = time.monotonic(), list[float](), Memory()

            def note(event: Event, began: float = began, shown: list[float] = shown, memory: Memory = memory) -> None:
                if event["type"] == "preview":
                    shown.append(time.monotonic() - began)
                elif event["type"] == "progress":
                    memory.stage = event["stage"]

            with memory:
                out = generate([photo], folder / f"{seed}", replace(config, seed=seed), note, folder / "previews")
            total = time.monotonic() - began
        timings = dict(read_bundle(out).timings)
        # A bundle cannot tell how long its own maps and files took: all that is left.
        timings["saving"] = total - sum(timings.values())
    lines = []
    for stage, seconds in timings.items():
        share = ""
        if stage in ("geometry", "texture"):
            part = getattr(wanted, stage)
            bare = unet_seconds(pack, part.views) * part.steps.of(config.quality)
            share = f", {bare / seconds:.0%} of it bare U-Net"
        used = memory.most.get(stage, 0.0)
        lines.append(f"{stage:28s} {seconds:7.2f} s  {seconds / total:6.1%}  {used:5.2f} GB{share}")
    lines.append(f"{'all':28s} {total:7.2f} s, {torch.get_num_threads()} threads")
    rows = [
        Row("photo to head in sight, cold", cold, 10, None, "s"),
        Row("photo to head in sight, warm", shown[0], 5, 3, "s"),
        Row("photo to bundle, warm", total, 45, 20, "s"),
        Row("peak memory", max(memory.most.values()), 2, None, "GB"),
    ]
    return lines, rows


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m idto3d bench", description=__doc__)
    parser.add_argument("photo", type=Path, nargs="?", help="a photo of a face (scikit-image's astronaut)")
    parser.add_argument("--pack", type=Path, default=STARTER_PACK, help="weights to use (the starter pack)")
    parser.add_argument("--quality", choices=QUALITY_NAMES, default="standard", help="work spent on a head (standard)")
    given = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            photo = given.photo or _astronaut(Path(folder))
            lines, rows = bench(photo, GenerateConfig(pack=given.pack, quality=given.quality))
    except UserError as error:
        parser.exit(1, f"{error}\n")
    print("\n".join(lines), print_table(rows), sep="\n\n")
    return 0


def _astronaut(folder: Path) -> Path:
    from skimage import data

    path = folder / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path
