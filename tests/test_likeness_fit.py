# SPDX-License-Identifier: GPL-3.0-or-later
"""Fitting a head to landmarks, on a linear face model whose answer is known."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from idto3d.errors import UserError
from idto3d.likeness.fit import SEX_SPREAD, FaceModel, fit_photos, marginal_precision
from idto3d.likeness.pose import Pose, turned_axes
from idto3d.photos.faces import PORTRAIT_SIZE, Face
from idto3d.photos.landmarks import Landmarks

POINTS, MODES, EXPRESSIONS = 60, 5, 3
EMPTY = np.zeros((1, 1, 3), np.uint8)
# d = 116.4 pixels in the portrait, as every head crop has it
KEYPOINTS = np.array([[200.0, 244], [312, 244], [256, 310], [215, 360.4], [297, 360.4]])


def toy(seed: int = 0) -> tuple[Any, FaceModel]:
    """A control surface on half an ellipsoid of a head's size, with random modes of some millimetres."""
    g = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn((POINTS, 3), generator=g), dim=1)
    direction[:, 2] = direction[:, 2].abs()
    control = direction * torch.tensor([0.07, 0.1, 0.09])
    basis = 0.004 * torch.randn((MODES, POINTS, 3), generator=g)
    net = SimpleNamespace(control=control, closing=torch.zeros_like(control), basis=basis)
    sex = torch.tensor([0.3, -0.2, 0.1, 0.0, 0.0, 0.5])
    ones = torch.ones(MODES)
    expression = 0.004 * torch.randn((EXPRESSIONS, POINTS, 3), generator=g)
    model = FaceModel(
        torch.arange(POINTS), expression, ones, torch.zeros(MODES), ones, sex, torch.tensor([-4.0, 8.0, 0.0])
    )
    return net, model


def face(yaw: float = 0.0, pitch: float = 0.0) -> Face:
    portrait = np.zeros((PORTRAIT_SIZE, PORTRAIT_SIZE, 4), np.uint8)
    return Face("toy", KEYPOINTS, EMPTY, EMPTY, portrait, yaw, pitch, 9.0, ())


def picture(net: Any, model: FaceModel, c: torch.Tensor, e: torch.Tensor, pose: Pose, sigma: float) -> Landmarks:
    surface = net.control + torch.einsum("k,kpc->pc", c, net.basis) + torch.einsum("k,kpc->pc", e, model.expression)
    pixels = pose.project(surface.double())[0].numpy()
    return Landmarks(pixels, np.full(POINTS, sigma), np.zeros(MODES))


def pose(azimuth: float, elevation: float, nearness: float) -> Pose:
    return Pose(turned_axes(azimuth, elevation, 3.0), 116.4 / 0.067, np.array([250.0, 262.0]), nearness)


def masculine(net: Any, model: FaceModel, c: torch.Tensor) -> float:
    """What the appearance net would have to say for sex to agree with the shape of c."""
    shape = float(c @ model.sex[:-1] + model.sex[-1])
    return float(np.clip((np.log(shape / (1 - shape)) / 2.5 + 4) / 8, 0, 1))


def test_projection_by_hand() -> None:
    camera = Pose(np.eye(3), 1000.0, np.array([10.0, 20.0]), 1.0)
    pixels, depth = camera.project(torch.tensor([[0.1, 0.1, 0.0], [0.1, 0.1, 0.5]], dtype=torch.float64))
    # half a metre towards a camera that is one metre away: twice as large
    assert pixels.tolist() == [[110.0, -80.0], [210.0, -180.0]]
    assert depth.tolist() == [0.0, 0.5]


@pytest.mark.parametrize("nearness", [0.5, 1.5])
def test_identity_expression_and_camera_are_told_apart(nearness: float) -> None:
    net, model = toy()
    c = torch.tensor([0.9, -0.7, 0.4, -1.1, 0.6])
    first, second = torch.tensor([1.0, 0.0, -0.8]), torch.tensor([0.0, 0.9, 0.3])
    poses = [pose(14, 5, nearness), pose(-22, -4, nearness)]
    seen = [picture(net, model, c, e, p, 0.3) for e, p in zip((first, second), poses, strict=True)]
    fit = fit_photos(net, model, torch.zeros(MODES), masculine(net, model, c), [face(10, 0), face(-18, 0)], seen)
    assert float((fit.coefficients - c).abs().max()) < 0.25  # of a guess that was wrong by 1.1
    wanted = torch.einsum("k,kpc->pc", first, model.expression)
    assert float((fit.expressions[0] - wanted).norm() / wanted.norm()) < 0.25
    assert fit.missed < 0.01
    looked = fit.poses[1].axes[2] @ poses[1].axes[2]
    assert np.degrees(np.arccos(min(1.0, looked))) < 2


def test_marginal_precision_by_hand() -> None:
    # x0 and x1 pull at each other: not knowing x1 makes x0 less certain, 2 - 1 * 1 / 4
    assert marginal_precision(np.array([[2.0, 1.0], [1.0, 4.0]]), 1).tolist() == [[1.75]]


def test_precision_is_the_guesss_without_landmarks_and_more_with_them() -> None:
    net, model = toy()
    zero = torch.zeros(MODES)

    def precision(sigma: float) -> torch.Tensor:
        seen = [picture(net, model, zero, torch.zeros(EXPRESSIONS), pose(0, 0, 1.0), sigma)]
        return fit_photos(net, model, zero, masculine(net, model, zero), [face()], seen).precision

    blind, sure = precision(1e4), precision(0.3)
    direction = model.sex[:-1]
    of_sex = torch.outer(direction, direction) / SEX_SPREAD**2  # the likeliest sex counts as something seen
    torch.testing.assert_close(blind, torch.eye(MODES) + of_sex, atol=0.05, rtol=0.02)
    assert float(torch.linalg.eigvalsh(sure - blind).min()) > 1.0


def test_unsure_landmarks_leave_the_guess() -> None:
    net, model = toy()
    guess = torch.tensor([0.5, 0.2, -0.4, 0.1, 0.3])
    seen = [picture(net, model, -guess, torch.zeros(EXPRESSIONS), pose(0, 0, 1.0), 1e4)]
    fit = fit_photos(net, model, guess, masculine(net, model, guess), [face()], seen)
    torch.testing.assert_close(fit.coefficients, guess, atol=0.02, rtol=0)


def test_a_landmark_that_is_wrong_altogether_hardly_pulls() -> None:
    net, model = toy()
    c = torch.tensor([0.5, -0.5, 0.4, -0.3, 0.2])

    def fitted(shift: float) -> NDArray[np.float32]:
        seen = picture(net, model, c, torch.zeros(EXPRESSIONS), pose(5, 0, 1.0), 0.5)
        seen.points[7] += shift
        return fit_photos(net, model, c, masculine(net, model, c), [face()], [seen]).coefficients.numpy()

    assert np.abs(fitted(120.0) - fitted(0.0)).max() < 0.3


def test_the_likeliest_sex_counts_as_seen() -> None:
    net, model = toy()
    seen = [picture(net, model, torch.zeros(MODES), torch.zeros(EXPRESSIONS), pose(0, 0, 1.0), 1e4)]
    woman, man = (
        fit_photos(net, model, torch.zeros(MODES), value, [face()], seen).coefficients @ model.sex[:-1] + model.sex[-1]
        for value in (0.1, 0.9)
    )
    assert float(woman) < 0.25 and float(man) > 0.75


def test_both_guesses_make_the_prior() -> None:
    _, model = toy()
    mixed = FaceModel(
        model.vertices, model.expression, torch.full((5,), 0.7), torch.full((5,), 0.2), *list(vars(model).values())[4:]
    )
    guess = mixed.guess(torch.ones(5), torch.full((5,), 2.0))
    torch.testing.assert_close(guess, torch.full((5,), 1.1))


@pytest.mark.parametrize("damage", ["no file", "no safetensors", "a key is missing", "more points than there are"])
def test_another_file_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "landmarks.safetensors"
    _, model = toy()
    if damage == "no safetensors":
        path.write_bytes(b"something else")
    elif damage != "no file":
        expression = torch.zeros((2, POINTS + 5, 3), dtype=torch.int8)
        stored = {"vertices": model.vertices.int(), "expression": expression, "scale": torch.ones(2)}
        if damage == "more points than there are":
            rest = {n: getattr(model, n).clone() for n in ("from_id", "from_image", "sigma", "sex", "sex_logit")}
            stored |= rest
        save_file(stored, path)
    with pytest.raises(UserError) as info:
        FaceModel.load(path, POINTS)
    assert info.value.code == "E_PACK_FORMAT"
