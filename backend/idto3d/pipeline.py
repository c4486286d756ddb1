# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way: photos in, a bundle out. Each step is a plain function of another package, joined here."""

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from idto3d_shared.errors import BundleError
from idto3d_shared.fit_file import FIT, read_fit

from .arrays import Array
from .bundle import Bundle, write_bundle
from .clock import Clock, Events
from .deliver import Origin, to_bundle
from .distill.config import DistillationConfig, Quality
from .distill.device import best_device, to_device
from .distill.loop import Callbacks, RunConfig
from .distill.report import Report
from .distill.scene import Scene
from .errors import Cancelled, UserError
from .expressions import parse_expressions
from .finish import Head
from .fit.check import look_back
from .fit.overlay import overlay
from .headmodel import HeadModel, load_head_model
from .live import Live
from .memory import give_back
from .notices import Notice, warn
from .photos import Photo, align, find_face
from .photos.nets import FaceNets, load_face_nets
from .places import absolute, checkpoint_folder, claimed
from .preview import photo_portrait, plain_portrait
from .prior.manifest import Pack
from .prior.pack import check_expressions, read_manifest, read_pack
from .start import Found, Start, as_shipped, coloured, find, head_from, head_of, keys_from, recarved, scene_of
from .subject import Subject, read_subject
from .verdict import fit_event

STARTER_PACK = Path(__file__).resolve().parents[1] / "packs" / "starter"
STAGES = "idto3d.distill.texture"
"""The module that brings diffusers, whose import takes seconds."""
FIRST_SIZE = 512
"""Of the maps of the head that is looked back at and shown first: a third of the time of twice the side."""
TEXTURE_SIZES: dict[Quality, int] = {"draft": 1024, "standard": 2048, "fine": 4096}


@dataclass(frozen=True, eq=False)
class Sketch:
    """The head that the photographs alone show; offsets: (P,3) of each expression but neutral."""

    subject: Subject
    start: Start
    offsets: dict[str, Array]


@dataclass(frozen=True)
class GenerateConfig:
    """What a user can choose."""

    pack: Path = STARTER_PACK
    seed: int = 0
    # "all" or names with commas
    expressions: str = "all"
    # words about the person, added to the text condition
    prompt: str = ""
    quality: Quality = "standard"
    # side of the face's maps, a power of two; 0: the quality's
    texture_size: int = 0

    @property
    def size(self) -> int:
        return self.texture_size or TEXTURE_SIZES[self.quality]

    @property
    def working_size(self) -> int:
        """Of the maps until the head ships: half."""
        return self.size // 2


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
    out, photos, clock = absolute(out), [absolute(photo) for photo in photos], Clock(events)
    clock("reading photos")
    with claimed(out):
        pack = read_pack(config.pack)
        DistillationConfig.from_pack(pack.distillation)  # refused before the photos are read
        nets = load_face_nets(pack.path / "photos")
        subject = read_subject(photos, pack, nets)
        warn(events, subject.notices)
        live = Live(Path(previews), events) if previews else None
        if live is None:
            _import_stages_aside()
        sketch = understand(subject, pack, nets, config, clock, live)
        give_back()
        origin = Origin(sketch.subject, sketch.start, pack, config.seed, settings(config), own_pack(config))
        work = job_folder(out, photos, config)
        with ThreadPoolExecutor(1) as beside:
            kept = beside.submit(keep_sketch, origin, sketch.offsets, clock, live) if live is not None else None
            clock("loading the priors")
            head, report = distill(sketch, pack, config, work, clock, live)
            if kept is not None:
                _only_warn(kept, events)
        give_back()
        clock("saving")
        clock.close()
        path = write_bundle(to_bundle(as_shipped(head, sketch.start), origin, clock.timings, report), out)
        shutil.rmtree(work, ignore_errors=True)
        with suppress(OSError):  # other settings' checkpoints, or the user's own files
            work.parent.rmdir()
        return path


def _only_warn(kept: Future[None], events: Events) -> None:
    """Wait for the preview's bundle; the head is made without it, too."""
    try:
        kept.result()
    except Cancelled:
        raise
    except Exception as error:
        warn(events, [Notice("W_PREVIEW", f"What the photos alone show was not kept: {type(error).__name__} {error}")])


def keep_sketch(origin: Origin, offsets: Mapping[str, Array], clock: Clock, live: Live) -> None:
    """Write the head that the photos alone show as a bundle with all keys, beside what the stages do meanwhile."""

    def whole() -> Bundle:
        head = as_shipped(head_of(origin.start, offsets, whole=True), origin.start)
        clock.poll()
        return to_bundle(head, origin, dict(clock.timings), {})

    if folder := live.show_bundle("sketch", whole):
        clock.events({"type": "sketch", "bundle": str(folder)})


def _import_stages_aside() -> None:
    """Import the stages in a thread. An error there is raised again when the stages are imported for use."""

    def work() -> None:
        with suppress(Exception):
            import_module(STAGES)

    threading.Thread(target=work, daemon=True).start()


def understand(
    subject: Subject, pack: Pack, nets: FaceNets, config: GenerateConfig, clock: Clock, live: Live | None
) -> Sketch:
    """The fitted head with its evidence and hair; one with small maps is looked back at first, so that a wrong head is
    refused before anybody sees it, and a right one is seen soon."""
    model = load_head_model(pack.file("head.safetensors"))
    check_expressions(pack, model)
    names = parse_expressions(config.expressions, pack.expressions)
    found = find(model, subject.faces, clock)
    warn(clock.events, [*found.fitted.notices, *found.hair.notices])
    tell_fit(model, found, clock.events, live)
    clock("reading the photos' colours")
    start = coloured(model, found, min(FIRST_SIZE, config.working_size))
    clock("looking back")
    check_face(start, nets)
    _show(start, live)
    if config.working_size > FIRST_SIZE:
        del start  # frees its maps before the larger ones are made, where memory is at its peak
        give_back()
        clock("reading their detail")
        start = coloured(model, found, config.working_size)
        _show(start, live)
    weights = {name: model.expression_vector(pack.expressions[name].weights) for name in names[1:]}
    offsets = {name: start.fitted.fit.offset(model, w) for name, w in weights.items()}
    return Sketch(subject.only(start.fitted.faces), start, offsets)


def _show(start: Start, live: Live | None) -> None:
    if live is not None:
        live.show(lambda: head_of(start, {}), now=True)


def check_face(start: Start, nets: FaceNets) -> None:
    """Find the face in pictures of the head, from the front and by the camera of the photo with the largest residual.

    Raises UserError E_FIT_LOOK_BACK.
    """
    head, fitted = head_of(start, {}), start.fitted
    worst = max(range(len(fitted.faces)), key=lambda k: fitted.fit.photos[k].residual)
    for camera, picture in (
        plain_portrait(head),
        photo_portrait(head, fitted.faces[worst], fitted.fit.photos[worst]),
    ):
        look_back(start.model, start.neutral, camera, picture, partial(landmarks_in, nets))


def landmarks_in(nets: FaceNets, picture: NDArray[np.uint8]) -> Array | None:
    """(478,2) landmarks of the face in a picture (H,W,3), None where there is none."""
    try:
        face = find_face(Photo(picture, "the head"), nets)
    except UserError:
        return None
    return align.apply(align.invert(face.to_picture), face.landmarks)


def tell_fit(model: HeadModel, found: Found, events: Events, live: Live | None) -> None:
    """One `fit` event a photo, with the head laid over it where there is a folder for previews."""
    fit = found.fitted.fit
    for face, photo in zip(found.fitted.faces, fit.photos, strict=True):
        path = None
        if live is not None:
            picture = overlay(model, face, photo.camera, fit.posed(model, photo))
            with suppress(OSError):  # the first preview warns of a folder that cannot be written
                path = str(live.keep_picture("fit", picture))
        events(fit_event(model, photo, path))


def distill(
    sketch: Sketch, pack: Pack, config: GenerateConfig, work: Path, clock: Clock, live: Live | None
) -> tuple[Head, dict[str, Report]]:
    """Both stages. `work` holds the checkpoints; a run that was stopped goes on from them."""
    from .distill.geometry import run_geometry
    from .distill.guidance import check_prompts, condition_on
    from .distill.texture import run_texture
    from .prior.model import Prior

    settle_torch(config.seed)
    device = best_device()
    wanted = DistillationConfig.from_pack(pack.distillation)
    prior = Prior.load(pack, "normal", device, torch.float16 if device == "cuda" else torch.float32)
    start, names = sketch.start, (next(iter(pack.expressions)), *sketch.offsets)
    who = condition_on(pack, sketch.subject.y_id, names, config.prompt)
    warn(clock.events, check_prompts(prior, who, wanted))
    run = RunConfig(config.quality, config.seed, work)

    def callbacks(stage: str, start: Start) -> Callbacks:
        def step(number: int, steps: int, current: Callable[[], Scene]) -> None:
            clock(stage, number, steps)
            if live is not None:
                live.show(lambda: head_from(start, to_device(current(), "cpu")))

        return Callbacks(step, clock.poll)

    scene = to_device(scene_of(start, sketch.offsets), device)
    scene, moved = run_geometry(scene, prior, who, wanted, run, callbacks("geometry", start))
    start, scene = recarved(start, to_device(scene, "cpu"))
    give_back()
    beside = ThreadPoolExecutor(1)  # the shape is done: its keys do not wait for the paint
    try:
        keys = beside.submit(keys_from, start, names, scene)
        scene, painted = run_texture(to_device(scene, device), prior, who, wanted, run, callbacks("texture", start))
        give_back()
        clock("making the keys")
        head = head_from(start, to_device(scene, "cpu"), keys.result())
    finally:
        beside.shutdown(wait=False)  # whoever stops the job does not wait for them
    return head, {"moved": moved, "painted": painted}


def settle_torch(seed: int) -> None:
    """Make results depend on the seed only."""
    torch.manual_seed(seed)
    # Otherwise threads sum gradients of shared vertices in any order. On a GPU only a warning: cuBLAS may refuse it.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # TF32 has half precision's ten bits, from which the autoencoder is kept.
    torch.backends.cudnn.allow_tf32 = False
    # It fills new tensors to expose bugs, which costs 4 % of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def settings(config: GenerateConfig) -> dict[str, Any]:
    """The settings that head.json records."""
    return {"prompt": config.prompt, "quality": config.quality, "texture_size": config.size}


def own_pack(config: GenerateConfig) -> str:
    """The folder of a pack that did not come with the program; "" for the one that did."""
    folder = Path(config.pack).resolve()
    return "" if folder == STARTER_PACK else str(folder)


def pack_of(head: Path | None) -> Path:
    """The pack that a head was made with, a bundle's folder or its head.npz: what is reckoned from its mesh needs that
    pack's head model. The starter pack where nothing says which."""
    recorded = ""
    if head is not None:
        with suppress(OSError, BundleError):
            recorded = read_fit((head if head.is_dir() else head.parent) / FIT).pack
    return Path(recorded) if recorded else STARTER_PACK


def job_folder(out: str | Path, photos: Sequence[str | Path], config: GenerateConfig) -> Path:
    """Where the checkpoints of a run lie. Raises what `read_manifest` does."""
    manifest = read_manifest(config.pack)
    key = {**settings(config), "seed": config.seed, "expressions": config.expressions, "pack": manifest}
    return checkpoint_folder(Path(out), photos, key)
