# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m idto3d`: generate, fit, capture, worker, sheet, evaluate, bench, train."""

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from printed import UNREAD, hush, printed

from .clock import Event, Events
from .errors import Cancelled, as_user_error
from .memory import share_heaps
from .protocol import QUALITY_NAMES

USAGE = """usage: python -m idto3d COMMAND ...

  generate   photos to a bundle
  fit        how photos are understood: fit.json and overlay.png
  capture    a video of a face to a Live Link Face CSV
  worker     the process that Blender starts: requests on stdin, events on stdout (protocol.py)
  sheet      rendered tiles to one labelled picture
  evaluate   what was promised, measured: on synthetic people, on photographs
  bench      time by stage, memory, share of bare U-Net time
  train      train the starter pack
"""


def print_json(event: Event) -> None:
    print(json.dumps(event), flush=True)


def print_plain(event: Event) -> None:
    if event["type"] == "progress":
        eta = event.get("eta_seconds")
        left = f", {eta:.0f} s left in this stage" if eta is not None else ""
        print(f"{event['stage']}: {event['step']}/{event['steps']}{left}", flush=True)
    elif event["type"] == "warning":
        print(f"warning {event['code']}: {event['message']}", flush=True)
    elif event["type"] == "error":
        print(f"{event['code']}: {event['message']} {event['fix']}", file=sys.stderr, flush=True)
    elif event["type"] == "done":
        print(f"done: {event.get('bundle') or event['take']}", flush=True)


def generate_command(arguments: list[str]) -> int:
    from .pipeline import STARTER_PACK, GenerateConfig, generate

    parser = argparse.ArgumentParser(prog="python -m idto3d generate", description="A head from photos of one person.")
    parser.add_argument("photos", nargs="+", type=Path, help="of one person")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--pack", type=Path, default=STARTER_PACK, help="weights to use (the starter pack)")
    parser.add_argument("--seed", type=_seed, default=0, help="same seed, same machine: same head (0)")
    parser.add_argument("--expressions", default="all", help="names with commas, or all")
    parser.add_argument("--prompt", default="", help="words about the person")
    parser.add_argument("--quality", choices=QUALITY_NAMES, default="standard", help="work spent on it (standard)")
    sizes = (256, 512, 1024, 2048, 4096)
    parser.add_argument("--texture-size", type=int, choices=sizes, default=0, help="instead of quality's")
    parser.add_argument("--previews", type=Path, help="folder for preview files on the way")
    parser.add_argument("--json", action="store_true", help="print the protocol's JSON lines")
    given = parser.parse_args(arguments)
    config = GenerateConfig(given.pack, given.seed, given.expressions, given.prompt, given.quality, given.texture_size)

    def work(events: Events) -> None:
        path = generate(given.photos, given.out, config, events, given.previews)
        events({"type": "done", "bundle": str(path)})

    return reporting(work, given.json)


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError("a seed is 0 to 4294967295")
    return number


def fit_command(arguments: list[str]) -> int:
    from .fit_only import fit_photos
    from .pipeline import STARTER_PACK

    parser = argparse.ArgumentParser(
        prog="python -m idto3d fit", description="How photographs are understood, and no more."
    )
    parser.add_argument("photos", nargs="+", type=Path, help="of one person")
    parser.add_argument("--out", type=Path, required=True, help="folder for fit.json and overlay.png")
    parser.add_argument("--pack", type=Path, default=STARTER_PACK, help="weights to use (the starter pack)")
    parser.add_argument("--json", action="store_true", help="print the protocol's JSON lines")
    given = parser.parse_args(arguments)
    return reporting(lambda events: fit_photos(given.photos, given.out, given.pack, events), given.json)


def capture_command(arguments: list[str]) -> int:
    from .capture import capture
    from .pipeline import pack_of

    parser = argparse.ArgumentParser(
        prog="python -m idto3d capture", description="A video of a face to a Live Link Face CSV."
    )
    parser.add_argument("video", help="a file, or camera:0:20 for twenty seconds of the first camera")
    parser.add_argument("--out", type=Path, required=True, help="the CSV")
    parser.add_argument("--head", type=Path, help="the person's bundle; without it, the video has to tell")
    parser.add_argument("--pack", type=Path, help="weights to use (those of the head, else the starter pack)")
    parser.add_argument("--previews", type=Path, help="folder for preview files on the way")
    parser.add_argument("--json", action="store_true", help="print the protocol's JSON lines")
    given = parser.parse_args(arguments)

    def work(events: Events) -> None:
        pack = given.pack or pack_of(given.head)
        path = capture(given.video, given.out, pack, given.head, events, given.previews)
        events({"type": "done", "take": str(path)})

    return reporting(work, given.json)


def sheet_command(arguments: list[str]) -> int:
    from idto3d_shared.fit_file import FIT, close_up, read_fit

    from .sheet import compose_sheet

    parser = argparse.ArgumentParser(prog="python -m idto3d sheet", description="A preview sheet of a bundle.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--tiles", type=Path, required=True)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)

    def work(events: Events) -> None:
        header = json.loads((given.bundle / "head.json").read_text(encoding="utf-8"))
        subtitle = f"{header['pack']}, seed {header['seed']}"
        fit = given.bundle / FIT
        windows = {photo.name: close_up(photo.landmarks) for photo in read_fit(fit).photos} if fit.is_file() else None
        compose_sheet(given.tiles, given.photos, given.bundle / "preview.png", windows, subtitle)
        events({"type": "done", "bundle": str(given.bundle)})

    return reporting(work, given.json)


def train_command(arguments: list[str]) -> int:
    from .training.command import main

    return main(arguments)


def evaluate_command(arguments: list[str]) -> int:
    from .evaluate.command import main

    return main(arguments)


def bench_command(arguments: list[str]) -> int:
    from .evaluate.bench import main

    return main(arguments)


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "generate": generate_command,
    "fit": fit_command,
    "capture": capture_command,
    "sheet": sheet_command,
    "train": train_command,
    "evaluate": evaluate_command,
    "bench": bench_command,
}
_RESUMED = ("generate", "train")


def reporting(work: Callable[[Events], None], as_json: bool) -> int:
    """Run with events printed; expected failures become an error event and status 1. Raises Cancelled where nobody
    reads them any more."""
    shown = print_json if as_json else print_plain

    def events(event: Event) -> None:
        if event["type"] == "poll":
            return
        try:
            shown(event)
        except BrokenPipeError as error:  # whoever writes a file meanwhile must not take it for a mistake of the disk
            raise Cancelled from error

    try:
        work(events)
    except Exception as error:
        known = as_user_error(error)
        if known is None:
            raise
        failure = {"type": "error", "code": known.code, "message": known.message, "fix": known.fix}
        try:
            events(failure)
        except OSError:  # what they are printed to is full
            hush()
            print_plain(failure)
        return 1
    return 0


def stoppable(command: Callable[[list[str]], int], arguments: list[str], said: str = "Stopped.") -> int:
    """Run a command that a signal stops, also while its programs are loaded: then `said` is printed, and the status is
    130; also where nobody reads what it prints any more, with UNREAD."""

    def stop(number: int, frame: object) -> None:
        raise Cancelled

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # the last one is build.py's, on Windows
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stop)
    try:
        return command(arguments)
    except Cancelled as stopped:
        print(said, file=sys.stderr)
        return UNREAD if isinstance(stopped.__cause__, BrokenPipeError) else 130


def share_cores() -> None:
    """Let threads that wait for each other soon go to sleep, before torch is imported and its OpenMP (GNU's; Intel's
    and LLVM's) reads this. By default they spin for long: where another program uses one of the cores, they keep the
    last thread of their own from its work, and a step of 0.2 s took over 7 beside a training run on two cores."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    # The fit solves many small systems, which threads only make slower; torch has its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main(arguments: list[str]) -> int:
    share_cores()
    share_heaps()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names from old archives are no UTF-8
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    command, rest = arguments[0], arguments[1:]
    if command == "worker":
        from .worker import main as worker

        return worker()
    if command in _COMMANDS:
        again = "; the same command goes on from the last checkpoint" if command in _RESUMED else ""
        return stoppable(_COMMANDS[command], rest, f"Stopped{again}.")
    print(f"unknown command: {command}\n\n{USAGE}", file=sys.stderr, end="")
    return 2


if __name__ == "__main__":
    sys.exit(printed(lambda: main(sys.argv[1:])))
