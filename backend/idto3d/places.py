# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders of a head and of its checkpoints."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from environments import locked

from .errors import FULL, UserError

CHECKPOINT_NAMES = 80  # characters, of folders and files of one in `work_folder`, as they are written


def absolute(path: str | Path) -> Path:
    """A whole path, so that its last part is a name, which "." and "heads/.." have none of."""
    return Path(os.path.abspath(path))


def check_file(out: Path) -> None:
    """Check before the work that the file `out` can be written after it. Raises E_OUT_NOT_WRITABLE."""
    if out.is_dir():
        raise UserError("E_OUT_NOT_WRITABLE", f"{out.name} is a folder.", "Choose another name.")
    if out.exists() and not out.is_file():  # a device, in whose place the file would come
        raise UserError("E_OUT_NOT_WRITABLE", f"{out.name} is no file.", "Choose another name.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise not_writable(out, error) from error


def not_writable(out: Path, error: OSError) -> Exception:
    """What was wrong with writing a file, as the user's error; a full disk stays what it is."""
    if error.errno in FULL:
        return error
    message = f"{out.name} cannot be written: {error.strerror or error}."
    return UserError("E_OUT_NOT_WRITABLE", message, "Choose another place.")


@contextlib.contextmanager
def claimed(out: Path, elsewhere: str = "Choose another place for the head.") -> Iterator[None]:
    """Check before the work that `write_bundle` will be able to write `out`, and keep others from it meanwhile, who
    would clear away what is half written. Raises E_OUT_NOT_WRITABLE with the remedy `elsewhere`, and E_OUT_BUSY where
    another makes a head there."""
    real = Path(os.path.realpath(out))
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(real.with_name(f".{real.name}.lock"), wait=False))
        except BlockingIOError as error:
            message = f"Another program is making a head in {out.name}."
            raise UserError("E_OUT_BUSY", message, "Wait until it is done, then try again.") from error
        except (OSError, ValueError):
            pass  # nothing can be written there, which is said below, or the disk knows no locks
        _check_place(out, elsewhere)
        yield


def _check_place(out: Path, elsewhere: str) -> None:
    if not out.name or os.path.ismount(os.path.realpath(out)):  # nothing can take the place of it
        raise UserError("E_OUT_NOT_WRITABLE", f"{out} is a whole disk.", "Choose a folder on it for the head.")
    try:
        taken = out.exists() and not (out.is_dir() and ((out / "head.json").is_file() or not any(out.iterdir())))
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent):
            pass
        work = work_folder(out)
        kept = work.exists()  # with checkpoints, or empty: it keeps its place for a job of Blender's
        work.mkdir(exist_ok=True)
        # As long as the names of checkpoints: Windows has a limit.
        with tempfile.TemporaryDirectory(prefix=CHECKPOINT_NAMES * "_", dir=work):
            pass
        if not kept:
            work.rmdir()
    except OSError as error:
        if error.errno in FULL:
            raise
        message = f"Nothing can be saved as {out.name}: {error.strerror or error}."
        raise UserError("E_OUT_NOT_WRITABLE", message, elsewhere) from error
    if taken:
        raise UserError("E_OUT_NOT_WRITABLE", f"{out.name} exists and is not a head bundle.", elsewhere)


def checkpoint_folder(out: Path, photos: Sequence[str | Path], settings: Mapping[str, Any]) -> Path:
    """`out`.work/KEY, where KEY stands for photos and settings: another job never resumes from this one's state."""
    digest = hashlib.sha256()
    for photo in photos:
        try:
            digest.update(Path(photo).read_bytes())
        except OSError:  # such a photo was left out with a warning
            digest.update(b"unreadable")
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return work_folder(out) / digest.hexdigest()[:16]


def work_folder(out: Path) -> Path:
    """`out`.work: the checkpoints of all jobs that make `out`."""
    return out.with_name(out.name + ".work")


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a checkpoint anywhere in a folder."""
    with contextlib.suppress(OSError):
        return any(folder.rglob("checkpoint.safetensors"))
    return False
