# SPDX-License-Identifier: GPL-3.0-or-later
"""A head as a bundle, with its metadata: the photos, how well they were understood, what the stages did."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from .bundle import SKIN, Bundle, PhotoScore, to_uint8
from .finish import Head
from .finish.poses import pose_pictures
from .finish.to_bundle import head_arrays, wrinkles_of
from .fit.record import record_fit
from .preview import preview_sheet
from .prior.manifest import Pack
from .start import Start
from .subject import Subject
from .verdict import verdict_of


@dataclass(frozen=True, eq=False)
class Origin:
    """What a head was made from; own_pack: the pack's folder, "" for the starter pack."""

    subject: Subject
    start: Start
    pack: Pack
    seed: int
    settings: Mapping[str, Any]
    own_pack: str


def to_bundle(head: Head, origin: Origin, timings: Mapping[str, float], report: Mapping[str, Any]) -> Bundle:
    """The bundle of a head."""
    start, subject = origin.start, origin.subject
    fitted = start.fitted
    scores = {face.name: score for face, score in zip(subject.faces, subject.scores, strict=True)}
    several = len(subject.faces) > 1
    photos = tuple(
        PhotoScore(p.name, scores[p.name] if several else None, verdict_of(start.model, p)) for p in fitted.fit.photos
    )
    best = max(range(len(fitted.faces)), key=lambda k: fitted.fit.photos[k].weight)
    with ThreadPoolExecutor(1) as aside:  # maps and pictures release the interpreter's lock
        preview = aside.submit(preview_sheet, fitted.faces[best], fitted.fit.photos[best], head)
        poses = aside.submit(pose_pictures, head)
        arrays = head_arrays(head)
        wrinkles = wrinkles_of(head, start.evidence.folds)  # after the maps, not in parallel: memory would add up
    return Bundle(
        **arrays,
        preview=preview.result(),
        poses=poses.result(),
        wrinkles=wrinkles,
        seen_map=to_uint8(start.evidence.seen[SKIN]) if SKIN in start.evidence.seen else None,
        pack=f"{origin.pack.name} ({origin.pack.licence})",
        seed=origin.seed,
        settings={**origin.settings, "report": dict(report)},
        photos=photos,
        timings={k: round(v, 2) for k, v in timings.items()},
        licence="The head is yours; the likeness is the person's.",
        consent="Only use photos of people who agreed.",
        fit=replace(record_fit(start.model, fitted.fit, fitted.faces), pack=origin.own_pack),
    )
