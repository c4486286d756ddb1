# SPDX-License-Identifier: GPL-3.0-or-later
"""Training's own machinery, on toys: checkpoints, resuming, losses, crops. The head kit is not needed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from idto3d.checkpoint import load_checkpoint, save_checkpoint
from idto3d.photos import align
from idto3d.training.captions import caption, vocabulary
from idto3d.training.face_nets import _similarity, arcface_loss, box_transforms
from idto3d.training.nets import AppearanceNet, Keypoints, Recogniser
from idto3d.training.photos import Renders, camera_light, dye_hair, real_textures, sample_crops, texture_crops
from idto3d.training.population import similarity
from idto3d.training.prior import StageConfig, run_stage
from idto3d.training.store import Arrays, stored


def _train(folder: Path, steps: int, stop_at: int | None = None) -> nn.Module:
    """Linear regression by `run_stage`; raises in the middle if asked, as a kill would."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)

    def loss_of(step: int, rng: np.random.Generator, g: torch.Generator) -> dict[str, Tensor]:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn((8, 3), generator=g)
        return {"mse": (model(x) - x.sum(1, keepdim=True)).square().mean()}

    config = StageConfig(steps=steps, lr=1e-2, checkpoint_every=0.0)
    run_stage("toy", folder, model, list(model.parameters()), config, loss_of, autocast=False)
    return model


def test_a_stopped_stage_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", 12)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "parts", 12, stop_at=7)
    parts = _train(tmp_path / "parts", 12)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_checkpoint_keeps_the_optimiser(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    save_checkpoint(tmp_path, model, optimiser, 5, {})
    other = nn.Linear(2, 2)
    restored = torch.optim.Adam(other.parameters())
    assert load_checkpoint(tmp_path, other, restored) == 5
    torch.testing.assert_close(other.weight, model.weight)
    ours, theirs = optimiser.state_dict()["state"], restored.state_dict()["state"]
    torch.testing.assert_close(ours[0]["exp_avg"], theirs[0]["exp_avg"])


def test_no_checkpoint_is_step_zero(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, nn.Linear(1, 1)) == 0


def test_arcface_margin_makes_the_right_answer_harder() -> None:
    cosine, label = torch.tensor([[0.8, 0.1]]), torch.tensor([0])
    plain = arcface_loss(cosine, label, 10.0, 0.0)
    torch.testing.assert_close(plain, torch.log(1 + torch.exp(torch.tensor(-7.0))), rtol=1e-3, atol=1e-5)
    assert arcface_loss(cosine, label, 10.0, 0.5) > plain


def test_similarity_recovers_a_known_transform() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3))
    angle = 0.4
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    target = 1.3 * points @ rotation.T + [0.1, -0.2, 0.3]
    found = similarity(points, target)
    np.testing.assert_allclose(found(points), target, atol=1e-5)
    assert found.scale == pytest.approx(1.3)


def test_batched_crop_transforms_equal_those_of_the_photo_reader() -> None:
    """Training and run time must cut the same crops."""
    keypoints = np.array([[60.0, 70], [95, 66], [80, 92], [66, 112], [96, 108]])
    ours = _similarity(torch.from_numpy(keypoints)[None].float(), torch.from_numpy(align.ARCFACE_TEMPLATE).float())
    np.testing.assert_allclose(ours[0].numpy(), align.crop_transform(keypoints, 112, "arcface"), rtol=1e-4, atol=1e-3)
    box = box_transforms(torch.tensor([[80.0, 90.0]]), torch.tensor([120.0]), torch.tensor([0.3]), 128)
    expected = align.box_transform((80, 90), 120.0, 128, roll=float(np.degrees(0.3)))
    np.testing.assert_allclose(box[0].numpy(), expected, rtol=1e-4, atol=1e-3)


def test_sampled_crop_equals_the_photo_readers_warp() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((40, 40, 3)).astype(np.float32)
    transform = align.box_transform((19.5, 19.5), 20.0, 20, roll=20.0)
    ours = sample_crops(torch.from_numpy(image)[None], torch.from_numpy(transform)[None].float(), 20)
    theirs = align.warp(image, transform, 20)
    # OpenCV interpolates with weights in 32nds
    assert np.abs(ours[0].numpy() - theirs).mean() < 0.02


def test_light_follows_the_camera() -> None:
    """A lamp on the person's left is on the right of a frontal picture, and behind the camera seen from the left."""
    left = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
    turned = camera_light(left, torch.tensor([0.0, 90.0]), torch.zeros(2))
    torch.testing.assert_close(turned, torch.tensor([[1.0, 0, 0], [0.0, 0, 1]]), atol=1e-6, rtol=0)


def test_every_caption_is_in_the_vocabulary() -> None:
    words = set(" ".join(vocabulary()).lower().replace(",", " ").split())
    text = caption("albedo", "front left", "jaw_right", "middle aged man, dark skin, short grey hair", True)
    assert set(text.lower().replace(",", " ").split()) <= words


def test_nets_have_the_shapes_that_the_pack_promises() -> None:
    with torch.no_grad():
        assert Recogniser().eval()(torch.zeros(2, 3, 112, 112)).shape == (2, 512)
        points, face, pose = Keypoints().eval()(torch.zeros(2, 3, 112, 112))
        assert points.shape == (2, 5, 2) and face.shape == (2,) and pose.shape == (2, 2)
        texture, style, colour, person = AppearanceNet(7).eval()(torch.zeros(2, 3, 128, 128))
    assert texture.shape == (2, 7) and style.shape == (2, 9) and colour.shape == (2, 3) and person.shape == (2, 3)


def _renders(b: int = 4, size: int = 32) -> Renders:
    """Grey heads that fill the picture's middle; the upper half of each is hair."""
    cover = torch.zeros(b, size, size)
    cover[:, 4:-4, 4:-4] = 1
    hair = cover.clone()
    hair[:, size // 2 :] = 0
    grey = 0.3 * cover[..., None].expand(-1, -1, -1, 3)
    zeros = torch.zeros(b)
    return Renders(grey, grey, cover, cover, torch.ones(b, 3), zeros, zeros, torch.zeros(b, 5, 2), hair)


def test_dye_changes_hair_and_nothing_else() -> None:
    renders, g = _renders(64), torch.Generator().manual_seed(1)
    was = torch.full((64, 3), 0.3)
    dyed, colour = dye_hair(renders, was, g)
    rest = renders.hair == 0
    torch.testing.assert_close(dyed.albedo[rest], renders.albedo[rest])
    kept = (colour == was).all(1)
    assert 0.2 < float(kept.float().mean()) < 0.8
    # what is said to be the colour is what is seen: strands vary round it, they do not shift it
    seen = (dyed.albedo * renders.hair[..., None]).sum((1, 2)) / renders.hair.sum((1, 2))[:, None]
    assert float((seen / colour.clamp(min=0.02)).median()) == pytest.approx(1.0, abs=0.2)
    assert float(dyed.albedo.max()) <= 1


def test_texture_crops_are_pieces_of_the_textures() -> None:
    g = torch.Generator().manual_seed(0)
    flat = torch.full((40, 60, 3), 0.5)
    crops = texture_crops([flat], 5, 16, g)
    assert crops.shape == (5, 16, 16, 3)
    assert float(crops.std(dim=(1, 2)).max()) < 1e-5
    assert all(t.shape[2] == 3 and 0 <= float(t.min()) and float(t.max()) <= 1 for t in real_textures())


def test_stored_arrays_are_made_once_and_again_when_they_do_not_fit(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> Arrays:
        made.append(1)
        return {"a": np.arange(3 + len(made))}

    path = tmp_path / "a.npz"
    assert len(stored(path, make)["a"]) == 4
    assert len(stored(path, make)["a"]) == 4 and len(made) == 1
    assert len(stored(path, make, lambda arrays: len(arrays["a"]) == 5)["a"]) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
