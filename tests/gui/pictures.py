# SPDX-License-Identifier: GPL-3.0-or-later
"""The user guide's pictures, cut out of what the GUI stories have seen.

``python -m tests.gui.pictures out/gui/head [out/gui/set-up]``; without the second the set-up's picture stays as it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import PIL.Image
from PIL.Image import Image

ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 1200  # pixels


def main(head: Path, set_up: Path | None, target: Path) -> None:
    """Write the pictures as JPEG. head, set_up: where the two stories were played."""
    seen = {
        shot["name"]: (folder, shot)
        for folder in ((set_up, head) if set_up else (head,))
        for shot in json.loads((folder / "result.json").read_text(encoding="utf-8"))["shots"]
    }
    shots = {name: shot for name, (_, shot) in seen.items()}

    def shot(name: str) -> Image:
        return PIL.Image.open(seen[name][0] / f"{name}.png").convert("RGB")

    def sidebar(name: str, low: float = 1.0) -> Image:
        x, y, width, height = shots[name]["sidebar"]
        return shot(name).crop((x, y, x + width, y + int(low * height)))

    def whole(name: str) -> Image:
        """The viewport with its sidebar."""
        x, y, width, height = shots[name]["viewport"]
        return shot(name).crop((x, y, x + width, y + height))

    pictures = {
        "photo": sidebar("03-photo", 0.28),
        "growing": whole("05-sketch"),
        "head": whole("42-pose"),
        "pinned": whole("44-pinned"),
        "take": whole("48-film-baked"),
        "rendered": PIL.Image.open(head / "rendered.png").convert("RGB"),
        "error": sidebar("06-error", 0.645),
    }
    if set_up:
        pictures["set-up"] = sidebar("30-online", 0.5)
    target.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        picture.thumbnail((_LONGEST, _LONGEST))
        picture.save(target / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else None, ROOT / "docs" / "pictures")
