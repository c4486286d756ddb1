# SPDX-License-Identifier: GPL-3.0-or-later
"""The starter pack's head model and priors. Each stage is resumed after a kill and skipped when done:
a folder (--work) keeps to the people, kits, mirroring and seed that it was begun with, and others are refused.

head     the head model
places   where the landmark net's points lie on it, by renders of known geometry
complexion  how the kit's skins usually vary over a head
errors   the landmark net's errors, and what its features tell of the identity and of them, by more renders
distance  what landmarks tell of how far away the camera is, by more renders
shading  what skins add to the shading of a fitted head, by the same renders
motion   the map from landmarks and scores to ARKit's shapes, for videos
render   pictures of synthetic people
vae      autoencoder
priors   shared U-Net, text encoder, LoRA sets and branches of phi_g and phi_a
reference_albedo, reference_normal   each domain's reference network for a picture of the person; only when asked for,
         as the starter pack gains nothing by it
pack     the folder that ships
"""

import argparse
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import UserError
from .export import write_pack
from .run import Run
from .settings import TrainConfig

STAGES: dict[str, Callable[[Run], object]] = {
    "head": Run.head,
    "places": Run.places,
    "complexion": Run.complexion,
    "errors": Run.errors,
    "distance": Run.distance,
    "shading": Run.shading,
    "motion": Run.motion,
    "render": Run.render,
    "vae": Run.vae,
    "priors": Run.priors,
    "reference_albedo": partial(Run.reference, domain="albedo"),
    "reference_normal": partial(Run.reference, domain="normal"),
    "pack": write_pack,
}

USUAL = [stage for stage in STAGES if not stage.startswith("reference_")]


def main(arguments: list[str]) -> int:
    """Does the stages asked for, in their order. Status 1 if an input is missing, or is another one than before."""
    parser = argparse.ArgumentParser(
        prog="python -m idto3d train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "stages", nargs="*", metavar="stage", help=f"any of {', '.join(STAGES)}; none: {', '.join(USUAL)}"
    )
    for field in dataclasses.fields(TrainConfig):
        kind: Any = field.type  # str or int
        required = field.default is dataclasses.MISSING
        usual = "" if required or field.default in (0, "") else f" ({field.default})"
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            required=required,
            default=None if required else field.default,
            metavar="N" if kind is int else field.name.upper(),
            help=field.metadata["help"] + usual,
        )
    given = parser.parse_args(arguments)
    stages = given.stages or USUAL
    if unknown := set(stages) - set(STAGES):
        parser.error(f"unknown stage: {', '.join(sorted(unknown))}")
    try:
        run = Run(TrainConfig(**{f.name: getattr(given, f.name) for f in dataclasses.fields(TrainConfig)}))
        for stage, do in STAGES.items():
            if stage in stages:
                print(f"== {stage}", flush=True)
                do(run)
    except UserError as error:
        parser.exit(1, f"{error}\n")
    return 0
