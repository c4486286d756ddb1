# SPDX-License-Identifier: GPL-3.0-or-later
"""The device that priors run on: which one, and that both stages run on it as they do on the CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from idto3d import checkpoint
from idto3d.distill.config import Form
from idto3d.distill.device import best_device, to_device
from idto3d.distill.geometry import run_geometry
from idto3d.distill.guidance import Conditioning, condition_on, conditions, prior_loss
from idto3d.distill.loop import RunConfig
from idto3d.distill.scene import HAIR, Scene, with_hair, with_hair_mesh
from idto3d.distill.texture import run_texture
from idto3d.distill.views import View
from idto3d.prior import model as prior_model
from idto3d.prior.adapters import AdapterConfig, attach
from idto3d.prior.manifest import Pack
from idto3d.prior.model import Prior
from idto3d.prior.networks import load_networks
from idto3d.prior.pack import read_pack, reference_file
from idto3d.prior.reference import ReferenceConfig, attach_reference, save_reference
from idto3d.render.cameras import make_camera
from tests.grids import kuhn_grid
from tests.known_prior import quick_config, tiny_scene
from tests.second_device import DEVICE, on_the_cpu, second_device
from tests.test_prior_adapters import randomise
from tests.tiny_pack import DIM, SIZE, make_pack, write

NAMES = ("neutral", "jaw_open")
FORMS: tuple[Form, ...] = ("eps", "x0", "image")


@pytest.mark.parametrize(
    ("built", "capability", "device"),
    [
        (["sm_75", "sm_90", "sm_120", "compute_120"], (6, 1), "cpu"),
        (["sm_75", "sm_90", "sm_120", "compute_120"], (7, 5), "cuda"),
        (["sm_90a", "sm_120"], (12, 1), "cuda"),
        (["gfx1100"], (11, 0), "cuda"),
    ],
)
def test_a_gpu_that_torch_was_not_built_for_is_left_alone(
    built: list[str], capability: tuple[int, int], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert torch.cuda.is_available() or best_device() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert best_device() == device


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """With reference networks of both domains."""
    folder = make_pack(tmp_path_factory.mktemp("pack"))
    unet = attach(load_networks(read_pack(folder))[0], AdapterConfig(exp_dim=DIM, lora_rank=2, hidden=8))
    attach_reference(unet, ReferenceConfig(2))
    randomise(unet, ".attn1.processor.")
    for domain in ("normal", "albedo"):
        save_reference(unet, ReferenceConfig(2), folder / reference_file(domain))
    write(folder)
    return read_pack(folder)


@pytest.fixture(autouse=True)
def files_lie_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nets are read, and checkpoints written, by libraries that know of no second device."""
    for module, name in ((prior_model, "load_networks"), (checkpoint, "save_file")):
        monkeypatch.setattr(module, name, on_the_cpu(getattr(module, name)))


def someone(pack: Pack) -> Conditioning:
    return condition_on(pack, torch.nn.functional.normalize(torch.ones(512), dim=0), NAMES, "an old man")


def haired() -> Scene:
    """With a cap of hair in a volume."""
    grid = kuhn_grid((10, 6, 10), ((-0.14, 0.02, -0.14), (0.14, 0.17, 0.14)))
    outside = (grid.points / torch.tensor([0.075, 0.11, 0.095])).norm(dim=1) * 0.09 - 0.09
    sdf = torch.maximum(outside - 0.012, 0.045 - grid.points[:, 1])
    return with_hair(tiny_scene(names=NAMES), grid.points.numpy(), grid.tets.numpy(), sdf.numpy())


def meshed(scene: Scene) -> Scene:
    """With a mesh of hair on the crown."""
    head = scene.neutral.numpy()
    crown = scene.model.triangles[(scene.model.neutral[scene.model.triangles][..., 1] > 0.05).all(1)]
    used, triangles = np.unique(crown, return_inverse=True)
    triangles = triangles.reshape(-1, 3)
    look, seen = np.full((32, 32, 5), 0.2, np.float32), np.zeros((32, 32), np.float32)
    uv = 0.5 + head[used][:, [0, 2]] / 0.4
    return with_hair_mesh(scene, 1.15 * head[used], (triangles, uv, triangles), look, seen)


def made(pack: Pack, form: Form, dtype: torch.dtype, device: str, folder: Path) -> list[Tensor]:
    """What both stages make of the head on a device, the first one twice: again from its last checkpoint."""
    config = quick_config(2, form, geometry={"views": 1}, texture={"views": 1, "lit_share": 1.0})
    prior, run = Prior.load(pack, "normal", device, dtype), RunConfig(folder=folder)
    start = to_device(haired(), device)
    moved, again = (to_device(run_geometry(start, prior, someone(pack), config, run)[0], "cpu") for _ in range(2))
    assert torch.equal(again.neutral, moved.neutral) and moved.hair is not None
    with_mesh = to_device(meshed(moved), device)
    painted = to_device(run_texture(with_mesh, prior, someone(pack), config, run)[0], "cpu")
    return [moved.neutral, moved.displacements, moved.hair.sdf, *(painted.maps[n] for n in (HAIR, "skin", "head"))]


@pytest.mark.parametrize(
    ("form", "dtype", "rounding"),
    [("eps", torch.float32, 2e-5), ("x0", torch.float16, 1e-3), ("image", torch.float32, 2e-5)],
)
def test_both_stages_run_elsewhere_as_they_do_on_the_cpu(
    form: Form, dtype: torch.dtype, rounding: float, pack: Pack, tmp_path: Path
) -> None:
    """With a pack's own nets, pictures of the person, hair and light. What a GPU would refuse is refused."""
    own = made(pack, form, dtype, "cpu", tmp_path / "here")
    with second_device():
        other = made(pack, form, dtype, DEVICE, tmp_path / "there")
    start = meshed(haired())
    before = [start.neutral, start.displacements, haired().hair.sdf, *(start.maps[n] for n in (HAIR, "skin", "head"))]  # type: ignore[union-attr]
    for one, two, three in zip(own, other, before, strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=rounding)
        assert not torch.equal(one, three)


@pytest.mark.parametrize("form", FORMS)
def test_pictures_may_lie_elsewhere_than_the_prior(form: Form, pack: Pack) -> None:
    config = quick_config(1, form)
    views = [View(make_camera(20, 0, 20, 0.3, (0, 0, 0)), False)] * 2
    losses = []
    for device in ("cpu", DEVICE):
        with second_device():
            prior = Prior.load(pack, "normal", device)
            images = torch.rand(2, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
            asked = conditions(prior, someone(pack), config, 1, views, "normal")
            loss = prior_loss(prior, images, asked, config.geometry.score, 0.5, torch.Generator().manual_seed(2))
            loss.backward()
        assert images.grad is not None and loss.device == images.device
        losses.append(images.grad)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=1e-8)
