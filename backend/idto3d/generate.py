# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way: photos in, a bundle out. Each stage is a plain function; this file only joins them."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .bundle import Bundle, PhotoScore, to_blender_frame, to_uint8, write_bundle
from .distill.geometry_stage import Conditioning, GeometryStageConfig, GeometryVariables, Sculpture, run_geometry_stage
from .distill.texture_stage import TextureStageConfig, run_texture_stage
from .errors import FULL, UserError
from .expressions import STRENGTH, parse_expressions
from .generated import Head
from .head.finish import carry_fields, finish_mesh, make_atlas, mesh_report
from .head.geometry_net import GeometryNet
from .head.own_albedo import own_albedo
from .head.progress import between
from .head.texture_net import TextureNet
from .likeness.fit import FaceModel, fit_photos
from .likeness.overlay import Sitting
from .live import Live
from .photos.landmarks import LANDMARKS_FILE, read_landmarks
from .preview import preview_sheet
from .prior.clip_text import expression_vectors
from .prior.model import Domain, Prior
from .prior.pack import Pack, read_pack
from .start import bake_start, keep_expressions, settle_hair
from .subject import Subject, read_subject

STARTER_PACK = Path(__file__).resolve().parents[1] / "packs" / "starter"

Events = Callable[[dict[str, Any]], None]
"""Called with the protocol's events: progress, preview, warning. Raises Cancelled to stop."""


@dataclass(frozen=True)
class GenerateConfig:
    """What a user can choose."""

    pack: Path = STARTER_PACK
    seed: int = 0
    # "all" or names with commas
    expressions: str = "all"
    # words about the person, added to the text condition
    prompt: str = ""
    # side of the maps, a power of two
    texture_size: int = 1024
    # triangles of the mesh
    faces: int = 30_000
    geometry: GeometryStageConfig = field(default_factory=GeometryStageConfig)
    texture: TextureStageConfig = field(default_factory=TextureStageConfig)


@dataclass(frozen=True)
class Quality:
    """How much work a head gets: steps of both stages, side of the maps, triangles."""

    geometry_steps: int
    texture_steps: int
    texture_size: int
    faces: int


QUALITIES = {
    "draft": Quality(24, 16, 512, 12_000),
    "standard": Quality(100, 60, 1024, 30_000),  # the defaults of GenerateConfig and the stages
    "fine": Quality(300, 180, 2048, 40_000),
}


def with_quality(config: GenerateConfig, name: str) -> GenerateConfig:
    """`config` at one of QUALITIES."""
    chosen = QUALITIES[name]
    return replace(
        config,
        texture_size=chosen.texture_size,
        faces=chosen.faces,
        geometry=replace(config.geometry, steps=chosen.geometry_steps),
        texture=replace(config.texture, steps=chosen.texture_steps),
    )


class Clock:
    """Turns step counts into the protocol's progress events, with the time left in the stage, and keeps the timings."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self.timings: dict[str, float] = {}
        self._stage, self._began, self._first = "", time.monotonic(), 0

    def __call__(self, stage: str, step: int, steps: int) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self.close()
            self._stage, self._began, self._first = stage, now, step
        done = step - self._first
        eta = (now - self._began) / done * (steps - step) if done > 0 else None
        self.events({"type": "progress", "stage": stage, "step": step, "steps": steps, "eta_seconds": eta})

    def close(self) -> None:
        if self._stage:
            self.timings[self._stage] = self.timings.get(self._stage, 0.0) + time.monotonic() - self._began
        self._stage = ""


def make_head(
    subject: Subject, pack: Pack, config: GenerateConfig, work: Path, clock: Clock, live: Live | None = None
) -> Head:
    """Both stages for one subject. `work` holds the checkpoints; a run that was stopped goes on from them.

    live: shows the head in between; it does not change the result.
    """
    torch.manual_seed(config.seed)
    # Threads add up gradients of shared vertices in any order otherwise. On a GPU it is a wish: cuBLAS may refuse it.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # A help for finding bugs, which costs 4 % of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    names = tuple(parse_expressions(config.expressions, pack.expressions))
    every = list(pack.expressions)
    rows = torch.tensor([every.index(n) for n in names])
    y_exp = torch.from_numpy(np.stack(list(expression_vectors(pack).values())))[rows]
    who = Conditioning(subject.y_id, y_exp, names, tuple(pack.expressions[n] for n in names), config.prompt)
    net = GeometryNet.load(pack.file("geometry.safetensors"))
    keep_expressions(net, rows)
    sitting = sit(net, pack, subject)
    coefficients = sitting.fit.coefficients
    variables = GeometryVariables(net, coefficients)
    clock("preparing", 0, 1)
    texture_net = TextureNet.load(pack.file("texture.safetensors"))
    keep_expressions(texture_net, rows)
    look = settle_hair(subject.appearance, subject.faces, texture_net, net.long_hair(), sitting.masculine)
    sculpture = Sculpture(net, variables, sitting.fit.precision, look.style, config.geometry.smoothing)
    if live is not None:
        live.sculpt(sculpture, now=True)

    def sculpting(stage: str, step: int, steps: int) -> None:
        clock(stage, step, steps)
        if live is not None:
            live.sculpt(sculpture)

    normal_prior = load_prior(pack, "normal")
    moved = run_geometry_stage(
        sculpture, normal_prior, who, config.geometry, pack.image_size, config.seed, work / "geometry", sculpting
    )
    del normal_prior
    if live is not None:
        live.sculpt(sculpture, now=True)

    def finishing(share: float) -> None:
        clock("finishing the mesh", round(100 * share), 100)

    finishing(0)
    with torch.no_grad():
        others = torch.arange(1, len(names))
        strength = torch.tensor([STRENGTH.get(name, 1.0) for name in names[1:]])[:, None, None]
        motion, warps = sculpture.identity_motion(), strength * sculpture.expression_motion(others)
        mesh = finish_mesh(
            net,
            sculpture.control,
            sculpture.grid_vertices(),  # not yet on the skin: that folds thin walls, and `finish_mesh` does it better
            sculpture.extraction.faces,
            motion,
            warps,
            look.style,
            config.faces,
            between(finishing, 0.0, 0.33),
        )
        start_motion = net.identity_field(coefficients)
        start_warps = strength * net.expression_field(net.warp.codes[others], coefficients)
        start_mesh = carry_fields(net, mesh, start_motion, start_warps, between(finishing, 0.33, 0.35))
        skins = net.control + motion, net.control + start_motion
    atlas = make_atlas(mesh, config.texture_size, between(finishing, 0.35, 0.6))
    baking = between(finishing, 0.6, 0.97)
    first = bake_start(texture_net, net, mesh, atlas, look, skins[0], sitting, baking)
    albedo_prior = load_prior(pack, "albedo")
    finishing(1)
    painting = run_texture_stage(
        mesh,
        atlas,
        first,
        texture_net,
        net,
        coefficients,
        albedo_prior,
        who,
        config.texture,
        pack.image_size,
        config.seed,
        work / "texture",
        clock,
        None if live is None else partial(live.paint, mesh, atlas),
    )
    clock("checking", 0, 1)
    albedo = painting.maps[..., :3]
    own = {
        name: own_albedo(atlas, mesh.faces, albedo, change[:, :3])
        for name, change in zip(names[1:], painting.changes, strict=True)
    }
    seen = {name: image for name, image in own.items() if image is not None}
    report = {
        "fitted": {"landmarks_missed": round(sitting.fit.missed, 4)},
        "moved": moved,
        "painted": painting.report,
        "mesh": mesh_report(mesh, list(names[1:])),
    }
    clock.close()
    return Head(mesh, atlas, painting.maps, seen, *skins, *start_mesh, first, names, report)


def sit(net: GeometryNet, pack: Pack, subject: Subject) -> Sitting:
    """The feed-forward guess that y_id gives, fitted to what the photographs show."""
    model = FaceModel.load(pack.file("landmarks.safetensors"), len(net.control))
    landmarks = read_landmarks(pack.file(LANDMARKS_FILE), subject.faces)
    with torch.no_grad():
        guess = net.shape(subject.y_id[None])[0]
    fit = fit_photos(net, model, guess, subject.appearance.masculine, subject.faces, landmarks)
    return Sitting(subject.faces, landmarks, model, fit)


def load_prior(pack: Pack, domain: Domain) -> Prior:
    """The prior on the GPU, in half precision, where torch has one. All else computes on the CPU."""
    if torch.cuda.is_available():
        return Prior.load(pack.path, domain, "cuda", torch.float16, verify=False)
    return Prior.load(pack.path, domain, verify=False)


def generate(
    photos: Sequence[str | Path],
    out: str | Path,
    config: GenerateConfig,
    events: Events,
    previews: str | Path | None = None,
) -> Path:
    """Photos to a bundle at `out`, with preview files in the folder `previews` on the way.

    Raises UserError; Cancelled leaves checkpoints in `out`.work and no new bundle.
    """
    out = Path(out)
    clock = Clock(events)
    clock("reading photos", 0, len(photos))
    check_place(out)
    pack = read_pack(config.pack)
    subject = read_subject(photos, pack)
    for notice in subject.notices:
        events({"type": "warning", "code": notice.code, "message": notice.message})
    work = checkpoint_folder(out, photos, config)
    head = make_head(subject, pack, config, work, clock, Live(Path(previews), events) if previews else None)
    clock("saving", 0, 1)
    mesh, size = head.mesh, config.texture_size
    albedo, roughness, specular = head.maps[..., :3], head.maps[..., 3], head.maps[..., 4]
    bundle = Bundle(
        to_blender_frame(mesh.neutral.numpy()),
        mesh.faces.numpy().astype(np.int32),
        head.atlas.uv.astype(np.float32),
        head.atlas.uv_faces.astype(np.int32),
        to_blender_frame(mesh.offsets.numpy()),
        head.names[1:],
        to_uint8(albedo.numpy()),
        to_uint8(roughness.numpy()),
        to_uint8(specular.numpy()),
        preview_sheet(subject.faces, head),
        head.own_albedo,
        pack=f"{pack.name} ({pack.licence})",
        seed=config.seed,
        settings=settings_of(config, subject, head, size),
        photos=tuple(
            PhotoScore(f.name, s if len(subject.faces) > 1 else None)
            for f, s in zip(subject.faces, subject.scores, strict=True)
        ),
        timings={k: round(v, 2) for k, v in clock.timings.items()},
        licence="The head is yours; the likeness is the person's.",
        consent="Only use photos of people who agreed.",
    )
    path = write_bundle(bundle, out)
    shutil.rmtree(work.parent, ignore_errors=True)
    return path


def check_place(out: Path) -> None:
    """Refuse before minutes of work what `write_bundle` would refuse after them. Raises E_OUT_NOT_WRITABLE."""
    elsewhere = "Choose another place for the head."
    try:
        taken = out.exists() and not (out.is_dir() and ((out / "head.json").is_file() or not any(out.iterdir())))
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent):
            pass
    except OSError as error:
        if error.errno in FULL:
            raise
        message = f"Nothing can be saved as {out.name}: {error.strerror or error}."
        raise UserError("E_OUT_NOT_WRITABLE", message, elsewhere) from error
    if taken:
        raise UserError("E_OUT_NOT_WRITABLE", f"{out.name} exists and is not a head bundle.", elsewhere)


def settings_of(config: GenerateConfig, subject: Subject, head: Head, size: int) -> dict[str, Any]:
    look = subject.appearance
    return {
        "prompt": config.prompt,
        "texture_size": size,
        "geometry": asdict(config.geometry),
        "texture": asdict(config.texture),
        "estimates": {
            "masculine": round(look.masculine, 3),
            "age": round(look.age, 1),
            "hair_style": [round(float(s), 3) for s in look.style],
        },
        "report": head.report,
    }


def checkpoint_folder(out: Path, photos: Sequence[str | Path], config: GenerateConfig) -> Path:
    """`out`.work/KEY, where KEY stands for photos and settings: another job never resumes from this one's state."""
    digest = hashlib.sha256()
    for photo in photos:
        try:
            digest.update(Path(photo).read_bytes())
        except OSError:  # it was left out with a warning
            digest.update(b"unreadable")
    settings = asdict(config)
    settings["pack"] = (Path(config.pack) / "pack.json").read_text()
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return out.with_name(out.name + ".work") / digest.hexdigest()[:16]
