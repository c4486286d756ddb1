# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins on a finished head: bundle and pins in, the head's motion out.

The answer depends on bundle and pins only, so a client has to keep nothing but the pins. Pack and bundle, which are
slow to read, stay loaded between requests.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from idto3d_shared.bundle_reader import HeadFiles, read_bundle_files
from idto3d_shared.fit_file import FitFile, FitPhoto

from .arrays import Array
from .bundle import to_blender_frame, to_head_frame
from .bundle.format import FORMAT_VERSION
from .errors import UserError
from .finish.head import BEARD, shipped_vertices
from .fit.landmarks import LandmarkModel
from .fit.pins import Pin, Pinning, Posed, Pulled
from .fit.projection import BROWS, EYES, OVAL
from .fit.record import coefficients, from_file, to_file
from .headmodel import HeadModel, load_head_model
from .headmodel.model import SKIN_PARTS
from .photos.landmarks import LIPS
from .photos.load import read_photo
from .prior.pack import read_pack
from .protocol import PinRequest, Refit
from .volume.hair_mesh import attach_hair
from .whole_file import whole

NOSE = (168, 6, 197, 195, 5, 4, 1, 2)
OUTLINES: tuple[tuple[tuple[int, ...], bool], ...] = (
    *((eye[::2], True) for eye in EYES),
    *((brow, True) for brow in BROWS),
    (LIPS[::2], True),
    (OVAL[::2], True),
    (NOSE, False),
)
"""Landmarks offered as handles: lines of them, and whether each line is closed."""
EXIF_ORIENTATION = 0x0112
_AGAIN = "Generate the head again from its photos."


class LaidHead:
    """A bundle on its photographs. files: the bundle; fit: its fit.json; used (U,): the head model's vertices, which
    are the bundle's first; the others are hair, attached to the scalp, or a beard, attached to the face."""

    def __init__(self, files: HeadFiles, model: HeadModel) -> None:
        """Raises UserError E_REFIT_BUNDLE."""
        bundle, fit = files.folder, files.fit
        if fit is None or not fit.photos:
            what = f"{bundle.name} does not know where its photos were taken from: an earlier version made it."
            raise UserError("E_REFIT_BUNDLE", what, _AGAIN)
        self.files, self.fit, self.model = files, fit, model
        self.used: Array = shipped_vertices(self.model)
        if len(self.used) > len(files.vertices) or len(fit.identity) != len(self.model.identity):
            raise UserError("E_REFIT_BUNDLE", f"{bundle.name} was made with another pack.", "Choose the pack it says.")
        shipped = to_head_frame(files.vertices).astype(np.float64)
        resting = coefficients(self.model, fit.resting)
        neutral = self.model.shape(fit.identity) + self.model.motion(resting)
        neutral[self.used] = shipped[: len(self.used)]
        self.pinning = Pinning(self.model, fit.identity, neutral, _posed(self.model, fit, neutral, resting))
        hanging = shipped[len(self.used) :]
        self._pictures: dict[str, str | None] = {}
        names, bearded = [m.name for m in files.materials], np.zeros(len(shipped), bool)
        faces = files.faces[files.material == names.index(BEARD)] if BEARD in names else files.faces[:0]
        bearded[faces[faces >= 0]] = True
        attached = attach_hair(self.model, neutral, hanging, bearded[len(self.used) :])
        self._hanging = attached.reader(len(neutral))

    def pull(self, pins: Sequence[PinRequest]) -> Pulled:
        """Raises UserError E_FIT_PINS."""
        place = self.used
        wanted = []
        for pin in pins:
            if max(pin.corners) >= len(place) or min(pin.corners) < 0 or not 0 <= pin.photo < len(self.fit.photos):
                raise UserError("E_FIT_PINS", "A pin is not on the skin.", "Remove it.")
            pixel = np.array(pin.pixel, np.float64)
            wanted.append(Pin(pin.photo, place[list(pin.corners)], np.array(pin.weights, np.float64), pixel))
        return self.pinning.pull(wanted)

    def shipped(self, field: Array) -> Array:
        """(V,3) motion of the bundle's vertices, in its frame, for a motion (P,3) of the head model."""
        return to_blender_frame(np.concatenate([field[self.used], self._hanging @ field]))

    def answer(self, pulled: Pulled) -> dict[str, Array]:
        """What Blender needs: moved (V,3) metres, the neutral head's motion from the bundle's; posed (N,V,3) what each
        photo adds to it; skin (F,3) triangles that pins can be put on; handles' corners (H,3) and weights (H,3).
        """
        now = self.pinning.neutral + pulled.motion
        back = np.full(len(self.model.neutral), -1)
        back[self.used] = np.arange(len(self.used))
        rows = [k for line, _ in OUTLINES for k in line if self._offered(k)]
        return {
            "moved": self.shipped(pulled.motion),
            "posed": np.stack([self.shipped(photo.pose - now) for photo in pulled.photos]),
            "skin": back[self.model.triangles_of(*SKIN_PARTS)].astype(np.int32),
            "corners": back[self.model.landmark_triangle[rows]].astype(np.int32),
            "weights": self.model.landmark_barycentric[rows].astype(np.float32),
        }

    def outlines(self) -> list[dict[str, Any]]:
        """Lines through the handles of `answer`: their numbers, and whether the line closes."""
        out, first = [], 0
        for line, closed in OUTLINES:
            count = sum(self._offered(k) for k in line)
            out.append({"handles": list(range(first, first + count)), "closed": closed})
            first += count
        return out

    def picture(self, path: str, expected: FitPhoto, folder: Path) -> str | None:
        """The path of a PNG copy of a photo that Blender would show rotated, or cannot read; None for others."""
        if path not in self._pictures:
            self._pictures[path] = None if not path or _plain(path, expected) else _upright(path, folder)
        return self._pictures[path]

    def _offered(self, landmark: int) -> bool:
        """Whether a landmark has a place on the skin."""
        if self.model.landmark_trust[landmark] <= 0:
            return False
        return bool(self.pinning.on_skin[self.model.landmark_triangle[landmark]].all())


def photo_rows(head: LaidHead, pulled: Pulled) -> list[dict[str, Any]]:
    """The photos of an answer, as JSON: each one's name and camera, as fit.json has it."""
    rows = []
    for given, photo in zip(head.fit.photos, pulled.photos, strict=True):
        camera = to_file(photo.camera)
        rows.append(
            {
                "name": given.name,
                "focal_length_px": camera.focal,
                "principal_point_px": camera.principal.tolist(),
                "rotation": camera.rotation.tolist(),
                "translation_m": camera.translation.tolist(),
                "picture": None,
            }
        )
    return rows


_numbers = itertools.count()
_kept: dict[tuple[str, str, int], LaidHead] = {}


def lay(bundle: Path, pack: Path) -> LaidHead:
    """The bundle, read again only if it has changed; the last one is kept.

    Raises UserError E_BUNDLE_..., E_PACK_..., E_REFIT_BUNDLE.
    """
    key = str(bundle), str(pack), _stamp(bundle)
    if key not in _kept:
        _kept.clear()
        files = read_bundle_files(bundle, (FORMAT_VERSION,))
        _kept[key] = LaidHead(files, load_head_model(read_pack(pack).file("head.safetensors")))
    return _kept[key]


def _stamp(bundle: Path) -> int:
    try:
        return (bundle / "head.npz").stat().st_mtime_ns
    except OSError:
        return 0


def refit(head: LaidHead, request: Refit, folder: Path) -> dict[str, Any]:
    """Write the answer's file into `folder` and return its event. Raises what `LaidHead.pull` raises."""
    pulled = head.pull(request.pins)
    answer: dict[str, Any] = head.answer(pulled)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"refit-{next(_numbers)}.npz"
    with whole(path) as partial, partial.open("wb") as file:
        np.savez(file, **answer)
    rows = photo_rows(head, pulled)
    for row, given, expected in zip(rows, request.photos, head.fit.photos, strict=False):
        row["picture"] = head.picture(given, expected, folder)
    return {"type": "refit", "path": str(path), "photos": rows, "outlines": head.outlines()}


def _posed(model: HeadModel, fit: FitFile, neutral: Array, resting: Array) -> list[Posed]:
    """The head in each photograph, with its expression. Not drawn to fit.json's landmarks: how the net errs in them is
    some five times `PhotoFit.correction`, which is left out."""
    centre, poses = LandmarkModel.of(model).centre, []
    for photo in fit.photos:
        expression = coefficients(model, photo.expression)
        pose = neutral + model.motion(expression - resting)
        poses.append(Posed(from_file(photo.camera, centre), expression, pose))
    return poses


def _plain(path: str, expected: FitPhoto) -> bool:
    """Whether a picture is stored upright and in a format that any program reads."""
    try:
        with Image.open(path, formats=("JPEG", "PNG", "TIFF", "WEBP", "BMP")) as image:
            turned = image.getexif().get(EXIF_ORIENTATION, 1) not in (0, 1)
            return not turned and image.size == (expected.width, expected.height)
    except Exception:  # decoders raise almost anything
        return False


def _upright(path: str, folder: Path) -> str | None:
    """Write a photo upright as PNG; None where it cannot be read."""
    try:
        photo = read_photo(path)
    except UserError:
        return None
    out = folder / f"photo-{next(_numbers)}.png"
    Image.fromarray(photo.image).save(out, compress_level=1)
    return str(out)
