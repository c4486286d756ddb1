# SPDX-License-Identifier: GPL-3.0-or-later
"""What fitting a head to photographs is taught: how far guesses are trusted, which crops the landmark net sees, how
nets are stored. Toys; the head kit is not needed."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from idto3d.photos import align
from idto3d.training.export import export_onnx
from idto3d.training.face_model import Guesses, sex_logit, trust
from idto3d.training.landmark_net import CROP, landmark_crops
from idto3d.training.nets import LandmarkNet


def test_the_better_guess_is_trusted_more() -> None:
    g = torch.Generator().manual_seed(0)
    true = torch.randn((4000, 3), generator=g)
    good, poor = true + 0.3 * torch.randn((4000, 3), generator=g), true + 1.0 * torch.randn((4000, 3), generator=g)
    from_good, from_poor, sigma = trust(good, poor, true)
    # Inverse variances, with the population's own variance of one as third witness: 1/0.09, 1/1, 1/1.
    total = 1 / 0.09 + 1 + 1
    torch.testing.assert_close(from_good, torch.full((3,), 1 / 0.09 / total), atol=0.03, rtol=0)
    torch.testing.assert_close(from_poor, torch.full((3,), 1 / total), atol=0.03, rtol=0)
    torch.testing.assert_close(sigma, torch.full((3,), total**-0.5), atol=0.02, rtol=0)


def test_sex_is_read_from_the_witness_that_knows() -> None:
    g = torch.Generator().manual_seed(0)
    sex = (torch.rand(2000, generator=g) < 0.5).float()
    masculine = (sex + 0.3 * torch.randn(2000, generator=g)).clamp(0, 1)
    shape = torch.rand(2000, generator=g)  # knows nothing
    none = torch.zeros(2000, 1)
    a, b, c = sex_logit(shape, Guesses(none, none, none, masculine, sex)).tolist()
    assert b > 4 and abs(c) < 1
    assert abs(a + 0.5 * b + 0.5 * c) < 0.5  # undecided in the middle


def test_crops_are_those_of_a_users_run() -> None:
    """Without the keypoints' errors (they are random, with mean zero) the crop is align's `face` crop."""
    keypoints = torch.tensor([[[62.0, 70], [98, 74], [79, 90], [66, 112], [93, 115]]]).expand(400, -1, -1)
    g = torch.Generator().manual_seed(0)
    _, transforms = landmark_crops(torch.zeros(400, 8, 8, 3), keypoints, g)
    wanted = align.crop_transform(keypoints[0].numpy(), CROP, "face")
    points = transforms[:, :, :2] @ keypoints[0].T + transforms[:, :, 2:]
    np.testing.assert_allclose(points.mean(0).T, align.apply(wanted, keypoints[0].numpy()), atol=0.8)


def test_stored_nets_are_half_as_large_and_compute_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = LandmarkNet(20, 8).eval()
    path = tmp_path / "net.onnx"
    export_onnx(net, 112, path, ["points", "log_sigma", "shape"])
    weights = sum(p.numel() for p in net.parameters())
    assert path.stat().st_size < 2.2 * weights  # bytes
    image = torch.rand(2, 3, 112, 112) * 2 - 1
    got = onnxruntime.InferenceSession(str(path)).run(None, {"image": image.numpy()})
    with torch.no_grad():
        for value, wanted in zip(got, net(image), strict=True):
            np.testing.assert_allclose(value, wanted.numpy(), atol=2e-3)
