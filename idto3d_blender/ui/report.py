# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of *Copy Report*: versions, settings and the end of the log, without a word on who the user is. No bpy."""

import getpass
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..jobs.backend_process import last_lines
from ..jobs.snapshot import Snapshot

LOG_LINES = 60
_PHOTO = re.compile(r"[^\s\"'/\\]+\.(?:jpe?g?|jfif|mpo|png|webp|tiff?|bmp|hei[cf]|hif|avif)\b", re.IGNORECASE)


def report(
    versions: Mapping[str, str], snapshot: Snapshot | None, request: Mapping[str, Any] | None, private: Iterable[str]
) -> str:
    """Markdown for a bug report.

    versions: what runs, by name; snapshot: of the job or set-up it is about; request: the head's settings;
    private: further texts to be taken out, such as folders that the user has chosen.
    """
    lines = ["### Versions", *(f"- {name}: {value}" for name, value in versions.items())]
    if snapshot is not None:
        hello = snapshot.hello or {}
        lines += [
            "",
            "### Job",
            f"- state: {snapshot.state}, stage: {snapshot.stage or '-'} {snapshot.step}/{snapshot.steps}",
        ]
        lines += [
            f"- {name}: {hello[name]}"
            for name in ("version", "python", "torch", "device", "device_name", "memory_gb", "cores")
            if name in hello
        ]
        lines += [
            f"- photo {number}: {fit.verdict}, {fit.residual_mm:.2f} mm" for number, fit in enumerate(snapshot.fits, 1)
        ]
        problems = (*snapshot.warnings, *((snapshot.error,) if snapshot.error else ()))
        lines += [f"- {problem.code}: {problem.message} {problem.fix}".rstrip() for problem in problems]
        lines += [f"- lines that were not of the protocol: {snapshot.garbage}"] if snapshot.garbage else []
    if request:
        lines += ["", "### Settings", f"- photos: {len(request.get('photos') or [])}"]
        lines += [f"- {name}: {request.get(name)}" for name in ("quality", "expressions", "prompt", "seed")]
        lines += [f"- pack: {'own' if request.get('pack') else 'starter'}"]
    if snapshot is not None:
        lines += ["", "### End of the log", "```", *last_lines(snapshot.log, LOG_LINES), "```"]
    names = [name for name in private if name]
    if request:
        # A head's folder is called after its first photo; a pack's often by a word that stands in reports.
        for path in [str(path) for path in (request.get("out"), *(request.get("photos") or [])) if path]:
            names += [path, Path(path).name, Path(path).stem, *_folder(path)]
        if pack := request.get("pack"):
            names += [str(pack), *_folder(str(pack))]
    return redact("\n".join(lines), Path.home(), _user(), names) + "\n"


def _folder(path: str) -> list[str]:
    folder = Path(path).parent
    return [] if folder in (Path.home(), *Path.home().parents) else [str(folder)]  # of these what follows tells more


def redact(text: str, home: Path, user: str, private: Iterable[str] = ()) -> str:
    """``text`` without home folders, user names, names of photos, and ``private`` texts.

    Home folders of others, as /home/NAME and C:\\Users\\NAME, go too: paths from another machine stand in some logs.
    """
    # Long ones first: a name may be part of a path.
    # Python's own messages double what Windows parts folders by.
    forms = {form for name in private for form in (name, name.replace("\\", "/"), name.replace("\\", "\\\\"))}
    for secret in sorted(forms, key=len, reverse=True):
        if len(secret) > 2:
            text = text.replace(secret, "<private>")
    for spelled in {str(home), home.as_posix(), str(home).replace("\\", "\\\\")}:
        if len(spelled) > 1:
            text = re.sub(re.escape(spelled) + r"(?![\w.-])", "~", text)
    text = re.sub(r"(?i)\b([a-z]:[\\/]+users[\\/]+)[^\\/\s\"']+", r"\1<user>", text)
    text = re.sub(r"(/home/|/Users/)[^/\s\"']+", r"\1<user>", text)
    if len(user) > 2:
        text = re.sub(rf"(?i)(?<![\w]){re.escape(user)}(?![\w])", "<user>", text)
    return _PHOTO.sub("<photo>", text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
