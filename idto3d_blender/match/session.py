# SPDX-License-Identifier: GPL-3.0-or-later
"""The running match: the backend that answers, and what it said that is no part of the file."""

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..head import applied, folders
from ..head.bundle import FIT, BundleError, FitFile, FitPhoto, read_fit
from ..jobs import packs, session
from ..jobs.snapshot import Problem
from . import scene as stage
from .link import Answer, Link


@dataclass
class Match:
    """bundle: the head's folder; fit: what fit.json says; paths: of the photos, "" where one is not to be found; link:
    the backend; pack: see `packs.pack_of`; scene: session_uid of the scene that it is in; let_go: of the backend, which
    other Blenders leave where it is meanwhile; skin, corners, weights, outlines: see the protocol's `refit`, None
    before the first answer; problem: the last that was wrong; first: ticket of a question that no drag waits for; drag:
    number of a pin that is on its way, and the pin; projecting: ticket of a projection, 0 while there is none; laying:
    the steps that give the head its pictures, None while there are none."""

    bundle: Path
    fit: FitFile
    paths: list[str]
    link: Link
    pack: str | None
    scene: int
    let_go: Callable[[], None]
    skin: NDArray[np.int32] | None = None
    corners: NDArray[np.int32] | None = None
    weights: NDArray[np.float32] | None = None
    outlines: Sequence[Mapping[str, Any]] = ()
    problem: Problem | None = None
    first: int = 0
    drag: tuple[int, dict[str, Any]] | None = None
    projecting: int = 0
    laying: Iterator[None] | None = None


_match: Match | None = None


def get() -> Match | None:
    """The running match, if any."""
    return _match


def of(scene: Any) -> Match | None:
    """The running match, if it is this scene's."""
    return _match if _match is not None and _match.scene == scene.session_uid else None


def shown(match: Match) -> tuple[Any, Any]:
    """The scene of the running match, whichever is shown now, and its head; None for what is gone."""
    scene = next((one for one in bpy.data.scenes if one.session_uid == match.scene), None)
    return scene, stage.matched(scene) if scene is not None else None


def read(obj: Any, chosen: str = "") -> tuple[Path, FitFile]:
    """The folder of a head, its own or the chosen one, and its fit.json. Raises BundleError."""
    given = chosen or folders.folder_of(obj)
    folder = Path(given)
    if not given or not (folder / "head.json").is_file():
        what = f"The folder of {obj.name} is not where it was."
        raise BundleError("E_BUNDLE_MISSING", what, "Choose it: it holds head.json.")
    try:
        fit = read_fit(folder / FIT)
    except OSError as error:
        what = f"{folder.name} has no {FIT}: it was deleted, or an earlier version made the head."
        raise BundleError("E_BUNDLE_MISSING", what, "Generate the head again from its photos.") from error
    return folder, fit


def find_photo(photo: FitPhoto, *beside: Path) -> str:
    """The path of a photo: as it was given, or one of its name in one of the folders; "" where it is not the same."""
    for path in (Path(photo.path), *(folder / photo.name for folder in beside)):
        if photo.path and is_photo(photo, path):
            return str(path)
    return ""


def is_photo(photo: FitPhoto, path: Path) -> bool:
    """Whether a file is the very photo that the head was made from."""
    try:
        with path.open("rb") as file:
            return not photo.sha256 or hashlib.file_digest(file, "sha256").hexdigest() == photo.sha256
    except OSError:
        return False


def start(scene: Any, folder: Path, fit: FitFile, paths: list[str], link: Link | None = None) -> Match:
    """Begin with the head that is matched in a scene; link: another backend than the extension's own, for tests. Raises
    BundleError where the head's pack is gone, or there is no room for answers."""
    global _match
    stop()
    obj = stage.matched(scene)
    pack = packs.pack_of(obj)
    if link is None:
        # The one that waits for photos, where there is one: it is ready at once.
        link = Link(session.get().jobs.lend(session.get().launch))
    let_go = session.get().jobs.records.hold(f"match-{uuid.uuid4().hex[:8]}")
    _match = Match(folder, fit, paths, link, pack, scene.session_uid, let_go)
    _match.first = link.ask(request(_match, obj))
    return _match


def stop() -> None:
    """Let the backend go."""
    global _match
    if _match is not None:
        _match.link.close()
        _match.let_go()
    _match = None


def request(match: Match, obj: Any, out: Path | None = None, pins: Sequence[Mapping[str, Any]] | None = None) -> Any:
    """What to ask for a head with its pins, or with others."""
    wanted = [as_pin(pin) for pin in obj.idto3d_match.pins] if pins is None else list(pins)
    asked = {"bundle": str(match.bundle), "pack": match.pack, "pins": wanted, "photos": match.paths}
    return {**asked, "out": str(out)} if out is not None else asked


def as_pin(pin: Any) -> dict[str, Any]:
    """A pin as the protocol has it."""
    place = {"corners": list(pin.corners), "weights": list(pin.weights), "pixel": list(pin.pixel)}
    return {"photo": pin.photo, **place}


def take(scene: Any, obj: Any, match: Match, answer: Answer) -> None:
    """An answer moves the head, shows it as in its photos, and tells where pins can go."""
    arrays = answer.arrays
    match.skin, match.corners, match.weights = arrays["skin"], arrays["corners"], arrays["weights"]
    match.outlines = answer.event["outlines"]
    match.problem = None
    stage.settle(obj, arrays)
    stage.place_all(scene, obj, answer.event["photos"])
    for camera in stage.cameras(scene):
        picture = answer.event["photos"][camera[stage.KEY]].get("picture")
        if picture and stage.picture_of(camera) != picture:
            stage.show_picture(camera, picture)
            # The file goes with the backend.
            camera.data.background_images[0].image.pack()


def unfit(obj: Any, answer: Answer) -> Problem | None:
    """Why an answer is not about this mesh; None where it is."""
    what, fix = "Vertices of this head were added or removed.", "Import it again."
    if len(answer.arrays["moved"]) == len(obj.data.vertices):
        if applied.matrix_of(obj) is None:
            return None
        what, fix = "Place, rotation or scale was applied to this head's mesh.", "Leave the match and begin it again."
    return Problem("E_MATCH_MESH", what, fix)
