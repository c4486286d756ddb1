# SPDX-License-Identifier: GPL-3.0-or-later
"""One command for everything: `python3 build.py demo` makes a head from a photo, `build.py test` checks the code.

Standard library only, Python 3.11 or newer. Environments lie in the user's cache folder, keyed by their pins, so that a
second clone does not install again, and what mypy knows of their packages; everything else stays in this folder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "backend"))

import install  # noqa: E402
from child_process import Watch, hung_up  # noqa: E402
from environments import (  # noqa: E402
    FULL,
    PYTHON_VERSION,
    Environment,
    backend_environment,
    bpy_environment,
    cache_folder,
    locked,
    missing_system_packages,
)
from extension_package import contents, fill_repository, stage_extension  # noqa: E402
from preflight import InstallError, as_offered, find_python  # noqa: E402
from printed import printed  # noqa: E402
from progress_bar import Progress, clock  # noqa: E402
from terminal_child import child, run  # noqa: E402

BPY_VERSIONS = ("4.2.23", "4.5.15", "5.0.1")
DEMO_BPY = "5.0.1"
SAFE = {"PYTHONSAFEPATH": "1"}  # nothing is imported from the folder that a command is given in
FORWARDED = {
    "fit": "show how photos are understood, and no more",
    "capture": "read a face's motion off a video, into a Live Link Face CSV",
    "train": "train the weights of a pack",
    "evaluate": "measure a pack on people it has not seen",
    "bench": "print time by stage, memory, and each stage's share of bare U-Net time",
}


class BuildError(Exception):
    """An expected failure; the message says what happened and what to do."""


@contextlib.contextmanager
def using_cache() -> Iterator[None]:
    """What the system refuses in the block, it refuses in the cache folder. Raises BuildError."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL or isinstance(error, BrokenPipeError):
            raise
        what = f"The cache folder {cache_folder()} cannot be used: {error.strerror or error}."
        raise BuildError(f"{what} Make it one that you may write; on Linux, XDG_CACHE_HOME names another.") from error


def new_log(name: str) -> Path:
    path = cache_folder() / "logs" / f"{name}.log"
    with using_cache():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    return path


def append(log: Path, line: str) -> None:
    with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:  # no log is worth a head
        file.write(line + "\n")


def fail_with_log(message: str, log: Path) -> NoReturn:
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
    raise BuildError("\n".join([message, *(f"  | {line}" for line in tail), f"The whole log: {log}"]))


def run_reporting(name: str, command: Sequence[str | Path], env: dict[str, str], progress: Progress) -> None:
    """Run a child that prints the protocol's JSON lines and show them; anything else it prints goes into its log.

    Blender's half prints a `tile` for each picture instead of `progress`: its time left is reckoned here.
    """
    log, errors, began = new_log(name), list[str](), time.monotonic()

    def on_line(line: str) -> None:
        try:
            event = json.loads(line)
            kind = event["type"]
        except (ValueError, TypeError, KeyError):
            append(log, line)
            return
        if kind == "progress":
            progress.update(event["stage"], event["step"], event["steps"], event.get("eta_seconds"))
        elif kind == "tile":
            left = (time.monotonic() - began) * (event["steps"] - event["step"]) / event["step"]
            progress.update("pictures in Blender", event["step"], event["steps"], left)
        elif kind == "warning":
            progress.say(f"warning {event.get('code', '')}: {event['message']}")
        elif kind == "error":
            errors.append(f"{event['code']}: {event['message']} {event.get('fix', '')}".strip())

    status = run(command, env, log, on_line)
    progress.say()
    if errors:
        raise BuildError("\n".join(errors))
    if status:
        fail_with_log(f"{name} ended with status {status}.", log)


def install_system_packages(python: str) -> None:
    """Install what is missing where that needs no password, after saying so; otherwise say what to type."""
    missing = missing_system_packages(python)
    if not missing:
        return
    root = sys.platform != "win32" and os.geteuid() == 0
    install = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing]
    commands = [command if root else ["sudo", *command] for command in (["apt-get", "-qq", "update"], install)]
    by_hand = "Type this, then run build.py again:\n  " + " && ".join(map(shlex.join, commands))
    print("Missing system packages: " + " ".join(missing), flush=True)
    if not shutil.which("apt-get"):
        raise BuildError("Install what your system calls these (the names are Debian's), then run build.py again.")
    if not root:
        may_ask = sys.stdin and sys.stdin.isatty() and shutil.which("sudo") and run(["sudo", "-n", "true"]) == 0
        answer = ""
        with contextlib.suppress(EOFError):  # Ctrl-D
            answer = input("Install them now with sudo? [y/N] ") if may_ask else ""
        if answer.lower() not in ("y", "yes"):
            raise BuildError(by_hand)
    for command in commands:
        print("$ " + shlex.join(command), flush=True)
        if run(command, {"DEBIAN_FRONTEND": "noninteractive"}):
            raise BuildError(f"That failed. {by_hand}")


_FIXES = {  # where Blender's users would do otherwise
    "E_NETWORK": "Check the connection, or set HTTPS_PROXY and PIP_CERT; then run build.py again, which goes on.",
    "E_PACKAGE_MISSING": "Its makers offer none for this kind of system, or for one as old.",
}


def ensure(*environments: Environment) -> None:
    """Make the environments that are not there yet, after saying which and how large."""
    python = find_python()
    if python is None:
        raise BuildError(f"Blender's wheels need Python {PYTHON_VERSION}. Install it, then run build.py again.")
    install_system_packages(python)
    into = cache_folder() / "envs"
    with using_cache():
        absent = [environment for environment in environments if not environment.ready()]
        if absent:
            into.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=into):
                pass
    if absent:
        print(f"To be installed once into {into}:")
        for environment, note in (as_offered(environment, python) for environment in absent):
            print(
                f"  {environment.name:<12} {environment.size}", *([f"    {note}"] if note else []), sep="\n", flush=True
            )
    for environment in absent:
        lock = Path(f"{environment.folder()}.lock")
        with contextlib.ExitStack() as stack:
            with using_cache():  # some disks of others know no locks
                try:
                    stack.enter_context(locked(lock, wait=False))
                except BlockingIOError:
                    print(f"{environment.name}: waiting for another build.py, which installs it", flush=True)
                    stack.enter_context(locked(lock))
            if not environment.ready():  # another run may have made it while this one waited
                make(environment, python)


def make(environment: Environment, python: str) -> None:
    """By the code that also makes Blender's: whole or not at all, and a stopped download is not lost."""
    folder, progress, began = environment.folder(), Progress(), time.monotonic()
    if folder.exists():
        print(f"{environment.name}: an earlier installation was interrupted, starting it again", flush=True)
    log = new_log(f"install-{environment.name}")
    watch = Watch(
        report=lambda stage, step, steps: progress.update(f"{environment.name}: {stage}", step, steps),
        log=lambda line: append(log, line),
        warn=lambda code, message: progress.say(f"warning {code}: {message}"),
    )
    try:
        install.make(environment, folder, python, watch)
    except InstallError as error:
        fix = _FIXES.get(error.code) or re.sub("[Ss]et up again", "run build.py again", error.fix)
        what = f"{error.code}: {error.message} {fix}".rstrip()
        raise BuildError(f"Setting up {environment.name} failed. {what}\nThe whole log: {log}") from error
    finally:
        progress.say()
    print(f"{environment.name} is ready ({clock(time.monotonic() - began)})", flush=True)


def idto3d(*arguments: str | Path) -> tuple[list[str | Path], dict[str, str]]:
    """Command and environment variables that run the backend's own command line."""
    return [backend_environment().python(), "-m", "idto3d", *arguments], {**SAFE, "PYTHONPATH": str(ROOT / "backend")}


def generate(photos: Sequence[Path], out: Path, options: Sequence[str] = (), blend: bool = True) -> None:
    """Photos -> bundle -> head.blend and the labelled sheet preview.png, all in `out`."""
    # Whole paths: where the bundle takes the place of the folder that we are in, others lead nowhere.
    out, photos = Path(os.path.abspath(out)), [Path(os.path.abspath(photo)) for photo in photos]
    began, progress, blender = time.monotonic(), Progress(), bpy_environment(DEMO_BPY)
    if lost := [str(photo) for photo in photos if not os.path.isfile(photo)]:
        raise BuildError(f"No such photo: {', '.join(lost)}.")
    ensure(backend_environment(), *([blender] if blend else []))
    run_reporting("generate", *idto3d("generate", *photos, "--out", out, *options, "--json"), progress)
    if blend:
        with tempfile.TemporaryDirectory(prefix="idto3d-") as tiles:
            arguments: list[str | Path] = [out, "--blend", out / "head.blend", "--tiles", tiles]
            headless = [blender.python(), "-m", "idto3d_blender.head.headless", *arguments]
            run_reporting("blender", headless, {**SAFE, "PYTHONPATH": str(ROOT)}, progress)
            run_reporting("sheet", *idto3d("sheet", out, "--tiles", tiles, "--photos", *photos, "--json"), progress)
    print(f"\nDone in {clock(time.monotonic() - began)}. Look at\n  {out / 'preview.png'}   what it looks like")
    if blend:
        print(f"  {out / 'head.blend'}    open it in Blender: the expressions are shape keys")
    print(f"  {out}    the bundle: mesh, maps, head.json")


def out_folder() -> Path:
    """Where demo and package put what they make. Raises BuildError where nothing can be written, before the work."""
    out = ROOT / "out"
    try:
        out.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        if error.errno in FULL:
            raise
        raise BuildError(f"Nothing can be written into {out}: {error.strerror or error}. Make it writable.") from error
    return out


def demo() -> None:
    """The main job on the public-domain portrait of Eileen Collins that scikit-image carries."""
    out = out_folder()
    print("From one photo to an expressive head in Blender. On two CPU cores this takes up to ten minutes.")
    ensure(backend_environment(), bpy_environment(DEMO_BPY))
    photo = out / "photos" / "astronaut.png"
    photo.parent.mkdir(parents=True, exist_ok=True)
    save = "import sys, skimage.data, PIL.Image; PIL.Image.fromarray(skimage.data.astronaut()).save(sys.argv[1])"
    if run([backend_environment().python(), "-c", save, photo]):
        raise BuildError(f"The demo photo could not be written to {photo}.")
    generate([photo], out / "astronaut")


def test_gui(blender: str) -> int:
    """The tests in a Blender with a window; the mouse is theirs meanwhile. Without one they skip and say why."""
    ensure(backend_environment())
    package()
    found = shutil.which(blender)
    env = {"PYTHONPATH": str(ROOT / "backend"), "IDTO3D_GUI_BLENDER": str(Path(found).absolute()) if found else "none"}
    os.chdir(ROOT)
    print(f"\nBlender: {found or 'not found'}. Screenshots go to {ROOT / 'out' / 'gui'}", flush=True)
    return min(run([backend_environment().python(), "-m", "pytest", "-s", "tests/gui"], env), 1)


def test() -> int:
    """Linter, formatter, type checker and all tests; each runs even where the one before found something. Blender's
    tests and a half of the others run beside the rest, and are told of at the end."""
    backend, blenders = backend_environment(), [bpy_environment(version) for version in BPY_VERSIONS]
    ensure(backend, *blenders)
    others = "pytest --ignore=tests/blender --ignore-glob=*/test_"
    beside = ("pytest tests/blender", f"{others}[g-z]*")
    rest = ("ruff check .", "ruff format --check .", "mypy", f"{others}[a-f]*")
    pythons = os.pathsep.join(str(blender.python()) for blender in blenders)
    threads = max(1, (os.cpu_count() or 1) // (len(beside) + 1))  # more than there are cores wait for each other
    env = {"PYTHONPATH": str(ROOT / "backend"), "IDTO3D_BPY_PYTHONS": pythons, "OMP_NUM_THREADS": str(threads)}
    env["MYPY_CACHE_DIR"] = str(cache_folder() / "mypy")  # it reads all of torch, for a minute, once
    os.chdir(ROOT)
    commands = {line: [str(backend.python()), "-m", *line.split()] for line in (*beside, *rest)}
    began, ends = time.monotonic(), dict[str, int]()
    with tempfile.TemporaryDirectory(prefix="idto3d-") as folder, contextlib.ExitStack() as stack:
        logs = {line: Path(folder) / str(number) for number, line in enumerate(beside)}
        asides = {line: stack.enter_context(child(commands[line], env, log)) for line, log in logs.items()}
        for line in rest:
            print(f"\n== {line}", flush=True)
            ends[line] = run(commands[line], env)
        ends |= {line: aside.wait() for line, aside in asides.items()}
        for line, log in logs.items():
            print(f"\n== {line}", log.read_text(encoding="utf-8", errors="replace"), sep="\n")
    for line, status in ends.items():
        print(f"{'FAILED' if status else 'passed'}  {line}")
    print(f"{clock(time.monotonic() - began)} in all")
    return int(any(ends.values()))


def package() -> None:
    """The extension as a zip that Blender installs, and a static repository that Blender updates from.

    out/repository can be put on any web server as it is.
    """
    blender, target = bpy_environment(DEMO_BPY), out_folder()
    ensure(blender)
    tool = next(blender.packages().glob("bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))

    def blender_ext(*arguments: str) -> None:
        if run([blender.python(), "-I", tool, *arguments]):
            raise BuildError("Blender's extension tool refused the package; its reason stands above.")

    with tempfile.TemporaryDirectory(prefix="idto3d-") as folder:
        stage, repository = Path(folder) / "idto3d", Path(folder) / "repository"
        stage_extension(stage)
        archive = fill_repository(stage, repository, blender_ext)
        shutil.copy2(archive, target)
        shutil.rmtree(target / "repository", ignore_errors=True)
        shutil.copytree(repository, target / "repository")
    print(contents(target / archive.name))
    print(f"{target / archive.name}\n    in Blender: Preferences > Get Extensions > Install from Disk")
    print(f"{target / 'repository'}\n    goes on any web server; drag the link in its index.html into Blender")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="build.py", description="Expressive 3D heads from photos, for Blender.")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="set up everything and make out/astronaut from a public-domain photo")
    checks = commands.add_parser("test", help="set up everything and run the linter, the type checker and all tests")
    checks.add_argument("--gui", action="store_true", help="only the tests in a Blender with a window")
    checks.add_argument("--blender", default="blender", metavar="PATH", help="which Blender that is (the one on PATH)")
    head = commands.add_parser("generate", help="make a head from photos of one person")
    head.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    head.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the bundle goes")
    head.add_argument("--no-blend", action="store_true", help="leave Blender out: only the bundle")
    options = head.add_argument_group("handed to `python -m idto3d generate`")
    options.add_argument("--pack", metavar="DIR", help="weights to use (the starter pack)")
    options.add_argument("--seed", type=int, metavar="N", help="same seed, same machine: same head")
    options.add_argument("--expressions", metavar="A,B,..|all", help="which expressions to make (all)")
    options.add_argument("--quality", choices=("draft", "standard", "fine"), help="work spent on it (standard)")
    options.add_argument("--prompt", metavar="TEXT", help="words about the person, added to the text condition")
    commands.add_parser("package", help="make the zip that Blender installs")
    for name, text in FORWARDED.items():
        commands.add_parser(name, help=f"{text} (arguments go to `python -m idto3d {name}`)")
    return top


def main(argv: Sequence[str]) -> int:
    # Forwarded first: argparse cannot hand on options that it does not know when they stand before any positional.
    if argv and argv[0] in FORWARDED:
        if {"-h", "--help"} & set(argv) and not backend_environment().ready():
            print(f"{argv[0]}: {FORWARDED[argv[0]]}. `build.py demo` installs what knows its options.")
            return 0
        ensure(backend_environment())
        return run(*idto3d(*argv))
    given = parser().parse_args(argv)
    if given.command == "test":
        return test_gui(given.blender) if given.gui else test()
    if given.command == "generate":
        handed = {f"--{name}": getattr(given, name) for name in ("pack", "seed", "expressions", "quality", "prompt")}
        options = [part for name, value in handed.items() if value is not None for part in (name, str(value))]
        generate(given.photos, given.out, options, blend=not given.no_blend)
    else:
        {"demo": demo, "package": package}[given.command]()
    return 0


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def command_line(argv: Sequence[str]) -> int:
    """Run a command; what was to be expected is said in words, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no name of a photo ends a job
    try:
        try:
            cache_folder()
        except RuntimeError as error:
            raise BuildError(f"There is no home folder ({error}). Let XDG_CACHE_HOME name a folder.") from error
        return printed(lambda: main(argv))
    except BuildError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped. To go on from there: python3 build.py {shlex.join(argv)}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    for number in (signal.SIGTERM, *hung_up()):
        signal.signal(number, _interrupt)
    sys.exit(command_line(sys.argv[1:]))
