# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m idto3d.training.tone_prior --headkit DIR --facenets DIR`: the moments of `fit.tone`, from photographs of
people of training whose skin is known."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..evaluate.photographs import random_setting, take_photograph
from ..evaluate.truth import Ruler, Skin, skin_of
from ..fit.projection import read_light, srgb_to_linear
from ..fit.subject import fit_subject
from ..fit.tone import AXES, REAL, Reading
from ..headmodel import HeadModel, load_head_model
from ..photos import Photo, find_face, load_face_nets
from ..pipeline import STARTER_PACK
from ..prior.pack import read_pack
from .population import TRAIN_SEED, load_population

Array = NDArray[Any]

FIRST = 800  # of the people of training


def estimator(seen: Array, true: Array) -> tuple[Array, Array, Array]:
    """Means of what is seen (8,) and of the truth (3,), and the weights (3,8) of the estimator of least variance,
    from readings (N,8) and true tones (N,3), coordinates of `fit.tone`."""
    mean = np.nanmean(seen, 0)
    off = np.nan_to_num(seen - mean)
    scatter = off.T @ off / len(off) + np.diag(REAL)
    return mean, true.mean(0), np.linalg.solve(scatter, off.T @ (true - true.mean(0)) / len(off)).T


def bare_tone(skin: Skin) -> Array:
    """(3,) logarithms of the linear albedo half way between the face's median and the cheeks' mean."""
    linear = srgb_to_linear(np.rint(skin.colour * 255).astype(np.uint8))
    out: Array = 0.5 * np.log(np.median(linear[skin.region == "face"], 0)) + 0.5 * np.log(
        linear[skin.cheek > 0.5].mean(0)
    )
    return out


def readings(model: HeadModel, population: Any, nets: Any, people: int) -> tuple[Array, Array]:
    """(N,8) and (N,3) of people of training; those whose photograph is refused are left out."""
    ruler = Ruler(model)
    texels: dict[str, Any] = {}
    seen, true = [], []
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
        seen.append(reading.values)
        true.append(bare_tone(skin_of(ruler, person.maps, {}, 512, texels)) @ AXES.T)
    return np.array(seen), np.array(true)


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
    found = estimator(*readings(model, population, load_face_nets(pack.path / "photos"), given.people))
    for name, value in zip(("SEEN_MEAN", "TRUE_MEAN", "WEIGHTS"), found, strict=True):
        print(name, value.round(3).tolist())


if __name__ == "__main__":
    main()
