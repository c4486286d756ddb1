# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m idto3d.training.tone_prior --headkit DIR --facenets DIR`: the moments of `fit.tone`, from photographs of
people of training whose skin is known."""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import UserError
from ..fit.light import under_coat
from ..fit.projection import read_light, srgb_to_linear
from ..fit.subject import fit_subject
from ..fit.tone import AXES, CLOSING, USUAL_FACING, Reading
from ..headmodel import HeadModel, load_head_model
from ..photos import Photo, find_face, load_face_nets
from ..pipeline import STARTER_PACK
from ..prior.pack import read_pack
from .photographs import random_setting, take_photograph
from .population import TRAIN_SEED, load_population
from .regions import Regions, Skin, skin_of

FIRST = 800  # of the people of training


@dataclass(frozen=True, eq=False)
class Moments:
    """The priors of `fit.tone`, in its coordinates, measured on training's people. curve (3,2), off_curve (3,): of
    skin; light (2,3): mean and deviation of measured over true skin; white (2,3): of the whites of open eyes, less that
    light."""

    curve: Array
    off_curve: Array
    light: Array
    white: Array


def moments(skins: Array, trues: Array, whites: Array, openings: Array) -> Moments:
    """From logarithms (N,3) in coordinates of `fit.tone`: of skin as seen, of true skin, of whites as seen, nan where
    none was; openings (N,) of the eyes."""
    level = np.c_[np.ones(len(trues)), trues[:, 0]]
    curve = np.linalg.lstsq(level, trues, rcond=None)[0].T
    light = skins - trues
    white = (whites - light)[openings > CLOSING[0]]
    return Moments(
        curve,
        (trues - level @ curve.T).std(0),
        np.array([light.mean(0), light.std(0)]),
        np.array([np.nanmean(white, 0), np.nanstd(white, 0)]),
    )


def bare_tone(skin: Skin) -> Array:
    """(3,) logarithms of the linear albedo half way between the face's median and the cheeks' mean."""
    linear = srgb_to_linear(np.rint(skin.colour * 255).astype(np.uint8))
    return 0.5 * np.log(np.median(linear[skin.region == "face"], 0)) + 0.5 * np.log(linear[skin.cheek > 0.5].mean(0))


def readings(model: HeadModel, population: Any, nets: Any, people: int) -> tuple[Array, Array, Array, Array]:
    """What `moments` takes, of people of training; those whose photograph is refused are left out."""
    regions = Regions(model)
    rows = []
    for seed in range(TRAIN_SEED + FIRST, TRAIN_SEED + FIRST + people):
        person = population.person(seed)
        setting = random_setting(np.random.default_rng([seed, 1]))
        photograph = take_photograph(population, population.dressed(person), setting)
        try:
            face = find_face(Photo(photograph.image, str(seed)), nets)
            fitted = fit_subject(model, [face])
        except UserError:
            continue
        photo = fitted.fit.photos[0]
        reading: Reading = read_light(model, face, photo.camera, fitted.fit.posed(model, photo))
        true = bare_tone(skin_of(regions, person.maps, {}, 512))
        diffuse = reading.skin * under_coat(np.exp(true), np.array([USUAL_FACING]))[0]
        white = np.full(3, np.nan) if reading.white is None else np.log(reading.white.colour) @ AXES.T
        opening = 0.0 if reading.white is None else reading.white.opening
        rows.append((np.log(diffuse) @ AXES.T, true @ AXES.T, white, opening))
    skins, trues, whites, openings = (np.array(column) for column in zip(*rows, strict=True))
    return skins, trues, whites, openings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--headkit", type=Path, required=True)
    parser.add_argument("--facenets", type=Path, required=True)
    parser.add_argument("--people", type=int, default=200)
    given = parser.parse_args()
    pack = read_pack(STARTER_PACK)
    model = load_head_model(pack.file("head.safetensors"))
    with tempfile.TemporaryDirectory() as work:
        population = load_population(model, given.headkit, given.facenets, Path(work))
    found = moments(*readings(model, population, load_face_nets(pack.path / "photos"), given.people))
    for name, value in vars(found).items():
        print(name, value.round(3).tolist())


if __name__ == "__main__":
    main()
