# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects the photographs again onto a head that pins have moved; where they show nothing, maps stay as they were."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from idto3d_shared.fit_file import FitFile, FitPhoto
from idto3d_shared.png import size_of

from .arrays import Array
from .bundle import SKIN, Bundle, BundleMaterial, read_bundle, to_uint8, write_bundle
from .clock import Clock, Events
from .errors import UserError
from .evidence.blend import lay_over
from .evidence.close_up import enlarged
from .evidence.gather import EYES_MATERIAL, Evidence, HairOver, gather_evidence
from .evidence.hair_colour import hair_colour
from .finish.head import PLAIN_SIZE
from .finish.poses import pose_pictures
from .finish.to_bundle import gloss_maps, head_of_bundle, with_gloss, with_relief, wrinkles_of
from .fit.check import weights_of
from .fit.gaze import turn_eyes
from .fit.pins import Posed
from .fit.projection import linear_to_srgb, project_photo, srgb_to_linear, with_common_tone
from .fit.record import coefficients, in_photo, to_file
from .fit.result import HeadFit, PhotoFit
from .photos import Face, Photo, find_face, load_face_nets, read_photo
from .places import claimed
from .preview import preview_sheet
from .prior.pack import read_pack
from .protocol import Refit
from .refit import LaidHead
from .volume.hair_mask import hair_mask

WELL = 0.6  # `seen` from which on only the photos count
LEVELS = 4  # of the pyramid, which limits the width of seams, so that the painted rest keeps its tone


def reproject(head: LaidHead, request: Refit, pack: Path, events: Events) -> Path:
    """Write the head as `request` pulls it to `request.out`, with the maps that its photos then show, and the relief
    and wrinkles that go with them.

    Raises UserError: what `LaidHead.pull`, finding faces and `write_bundle` raise, E_REFIT_PHOTOS where no photo is
    there any more, or one has changed.
    """
    assert request.out is not None
    out = Path(request.out)
    # Nobody is asked for the place.
    elsewhere = f"Make {out.parent} writable, or move the head's folder to where it may be written, and match it there."
    with claimed(out, elsewhere):
        return write_bundle(_projected(head, request, pack, Clock(events)), out)


def _projected(head: LaidHead, request: Refit, pack: Path, clock: Clock) -> Bundle:
    pulled = head.pull(request.pins)
    clock("reading photos", 0, 3)
    nets = load_face_nets(read_pack(pack).path / "photos")
    kept, faces = [], []
    for k, (path, given) in enumerate(zip(request.photos, head.fit.photos, strict=False)):
        if path:
            faces.append(find_face(_photo(path, given), nets))
            kept.append(k)
    if not faces:
        what = "None of the photos that the head was made from is there."
        raise UserError("E_REFIT_PHOTOS", what, "Find them again, then project them.")
    clock("reading the photos' colours", 1, 3)
    evidence, shown = _evidence(head, [pulled.photos[k] for k in kept], kept, faces, _side(head) // 2)
    clock("saving", 2, 3)
    old, few = read_bundle(Path(request.bundle)), len(kept) < len(head.fit.photos)
    seen, seen_map = old.seen.copy(), old.seen_map
    seen[: len(head.used)] = _seen(old.seen[: len(head.used)], evidence.vertex_seen[head.used])
    if SKIN in evidence.seen:
        new = evidence.seen[SKIN]
        before = np.zeros_like(new) if seen_map is None else _resized(seen_map, len(new)) / np.float32(255)
        seen_map = to_uint8(_seen(before, new))
    bundle = replace(
        old,
        vertices=old.vertices + head.shipped(pulled.motion),
        seen=seen.astype(np.float32),
        materials=tuple(
            material if few and material.name == EYES_MATERIAL else _material(material, evidence)
            for material in old.materials
        ),
        seen_map=seen_map,
        expression_albedo={},
        fit=_fit_file(head, pulled.identity, pulled.photos),
    )
    moved = head_of_bundle(bundle)
    return replace(
        bundle,
        materials=tuple(with_relief(material, moved) for material in bundle.materials),
        wrinkles=old.wrinkles if few else wrinkles_of(moved, evidence.folds),
        preview=preview_sheet(*shown, moved),
        poses=pose_pictures(moved),
    )


def _photo(path: str, given: FitPhoto) -> Photo:
    """A photo of the fit, whose cameras know nothing of what somebody has made of it since. Raises UserError
    E_REFIT_PHOTOS where it is not what it was."""
    again = "Put it back, or leave the match and begin it again, which then goes without it."
    try:
        photo = read_photo(path)
    except UserError as error:
        raise UserError("E_REFIT_PHOTOS", error.message, again) from error
    if given.sha256 and photo.file is not None and photo.file.sha256 != given.sha256:
        raise UserError("E_REFIT_PHOTOS", f"{given.name} was changed since the head was made from it.", again)
    return photo


def _side(head: LaidHead) -> int:
    """Of the skin's map, in texels."""
    with_skin = next((m for m in head.files.materials if m.name == SKIN), None)
    if with_skin is None:
        raise UserError("E_REFIT_BUNDLE", "The head has no skin to project on.", "Generate the head again.")
    return int(size_of(head.files.images[with_skin.maps["albedo"]])[0])


def _evidence(
    head: LaidHead, poses: Sequence[Posed], kept: Sequence[int], faces: Sequence[Face], size: int
) -> tuple[Evidence, tuple[Face, PhotoFit]]:
    """The photos' evidence for the moved head, with the skin's map at twice the size, and the best photo."""
    model = head.model
    cameras = [in_photo(p.camera, face.to_picture) for p, face in zip(poses, faces, strict=True)]
    poses = [
        replace(p, pose=p.pose + turn_eyes(model, p.pose, c, f)) for f, c, p in zip(faces, cameras, poses, strict=True)
    ]
    seen = [project_photo(model, f, c, p.pose) for f, c, p in zip(faces, cameras, poses, strict=True)]
    laid = with_common_tone(faces, seen)
    residuals = [head.fit.photos[k].residual for k in kept]
    nothing = np.zeros_like(head.pinning.neutral)
    photos = tuple(
        PhotoFit(face.name, camera, pose.expression, nothing, one.light, residual, float(weight))
        for face, camera, pose, one, residual, weight in zip(
            faces, cameras, poses, laid, residuals, weights_of(faces, cameras, residuals), strict=True
        )
    )
    fit = HeadFit(head.fit.identity, nothing, coefficients(model, head.fit.resting), photos)
    masks = [hair_mask(f, model, p.pose, c) for f, c, p in zip(faces, cameras, poses, strict=True)]
    colour = hair_colour(list(zip(laid, masks, strict=True)), [face.grey for face in faces])
    over = HairOver(masks, colour) if len(head.used) < len(head.files.vertices) else None
    evidence = gather_evidence(model, faces, fit, laid, size, over)
    best = int(np.argmax([photo.weight for photo in photos]))
    skin = next(m for m in model.materials if m.name == SKIN)
    maps = {**evidence.maps, SKIN: enlarged(evidence.maps[SKIN], skin, model, evidence, (faces[best], laid[best]))}
    return replace(evidence, maps=maps), (faces[best], photos[best])


def _material(material: BundleMaterial, evidence: Evidence) -> BundleMaterial:
    """The material with the new evidence blended over its maps."""
    maps = evidence.maps.get(material.name)
    side = len(material.albedo)
    if maps is None or side <= PLAIN_SIZE or material.alpha != "opaque":
        return material
    maps = _resized(maps, side)
    if material.name == EYES_MATERIAL:  # evidence paints eyes whole
        return replace(material, albedo=to_uint8(maps[..., :3]))
    weight = _believed(_resized(evidence.seen[material.name], side))
    old, new = srgb_to_linear(material.albedo), _linear(maps[..., :3])
    albedo = lay_over(old, new * _gain(old, new, weight), weight, LEVELS)
    gloss = (was + weight * (maps[..., 3 + k] - was) for k, was in enumerate(gloss_maps(material)))
    return replace(with_gloss(material, *gloss), albedo=to_uint8(linear_to_srgb(albedo)))


def _believed(seen: Array) -> Array:
    """The weight of what the photos show now: where they show a place well, nothing of the old map shows through."""
    return np.clip(seen / np.float32(WELL), 0, 1)


def _seen(old: Array, new: Array) -> Array:
    """How well a place was seen whose old colour is kept as far as the photos do not show it now."""
    return np.maximum(new, old * (1 - _believed(new)))


def _resized(image: Array, side: int) -> Array:
    return image if len(image) == side else cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)


def _gain(old: Array, new: Array, weight: Array) -> Array:
    """(3,) factors that give the photos' colours the head's old tone: each projection estimates the light slightly
    differently, and the new part must match the rest."""
    seen = weight > 0.99
    if not seen.any():
        return np.ones(3, np.float32)
    ratio = np.log(np.maximum(old[seen], 1e-3)) - np.log(np.maximum(new[seen], 1e-3))
    return np.exp(np.clip(np.median(ratio, 0), -0.7, 0.7)).astype(np.float32)


def _linear(srgb: Array) -> Array:
    return srgb_to_linear(to_uint8(srgb))


def _fit_file(head: LaidHead, identity: Array, photos: Sequence[Posed]) -> FitFile:
    names = head.model.expression_names
    rows = tuple(
        replace(
            given,
            camera=to_file(photo.camera),
            expression=dict(zip(names, map(float, photo.expression), strict=True)),
        )
        for given, photo in zip(head.fit.photos, photos, strict=True)
    )
    return replace(head.fit, identity=identity, photos=rows)
