# SPDX-License-Identifier: GPL-3.0-or-later
"""What `build.py train` is told, and what a device can afford."""

from dataclasses import dataclass, field
from typing import Any


def _option(text: str, **default: Any) -> Any:
    return field(metadata={"help": text}, **default)


@dataclass(frozen=True)
class TrainConfig:
    """Where things are, and the budgets of all stages. 0 takes the device's own (`BUDGETS`)."""

    ictkit: str = _option("folder of the head model as its authors give it")
    headkit: str = _option("folder of skins, hair and people")
    facenets: str = _option("folder of the nets that read photographs")
    work: str = _option("folder of all that is made, and of the checkpoints to go on from")
    recogniser: str = _option("ONNX file of the recogniser behind y_id, which is trained elsewhere")
    device: str = _option("cpu or cuda", default="cpu")
    workers: int = _option("processes that draw; 0: one a core", default=0)
    people: int = _option("synthetic people to draw; 0: the device's own number", default=0)
    families: int = _option(
        "people that errors and shading are learnt from; 0: the device's own number, of those to draw at most",
        default=0,
    )
    vae_steps: int = _option("of the autoencoder; 0: the device's own number", default=0)
    prior_steps: int = _option("of the U-Net with both domains; 0: the device's own number", default=0)
    reference_steps: int = _option("of each reference network; 0: the device's own number", default=0)
    mirror: int = _option("1: mirror images are learnt from, too", default=1)
    init: str = _option("a pack whose nets are trained further instead of new ones", default="")
    checkpoint_every: int = _option("seconds between checkpoints, each with a sheet of samples", default=600)
    seed: int = _option("of the nets, and of what they see when; people and pictures are the same", default=0)


@dataclass(frozen=True)
class Budget:
    """People to draw, and those that the stages errors and shading take 16 and 2 photographs of; steps and batch of
    each other stage."""

    people: int
    families: int
    vae: tuple[int, int]
    priors: tuple[int, int]
    reference: tuple[int, int]


BUDGETS = {
    # two cores: half a day from nothing
    "cpu": Budget(1200, 1200, (6000, 12), (14000, 32), (2000, 24)),
    # one H100 with 16 cores: meant to take under 25 minutes, of which people and photographs take fifteen
    "cuda": Budget(3000, 300, (6000, 64), (10000, 256), (4000, 128)),
}
