# SPDX-License-Identifier: GPL-3.0-or-later
"""The texture stage under a prior whose wish is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from idto3d.distill import texture
from idto3d.distill.config import Form
from idto3d.distill.freedom import feathered, feathered_map, freedom
from idto3d.distill.loop import RunConfig
from idto3d.distill.scene import HAIR, Scene, with_hair_mesh
from idto3d.distill.seams import find_seams, seam_gap
from idto3d.distill.texture import run_texture
from idto3d.render.lights import FlatLight
from idto3d.render.skin import render_skin
from tests.known_prior import SIZE, KnownPrior, Wish, quick_config, someone, tiny_scene
from tests.tiny_head import tiny_head_model

BLUE = torch.tensor([0.4, 0.5, 0.7])


def wishing(scene: Scene, colour: Tensor) -> Wish:
    """The scene, but everything that can be painted is of one colour."""
    maps = []
    for name in scene.materials:
        image = scene.maps[name].clone()
        if name in scene.map_seen:
            image[..., :3] = colour
        maps.append(image)
    faces = scene.textured()

    def wish(views: Any, expression: int) -> Tensor:
        vertices, cameras = scene.vertices(expression), [v.camera for v in views]
        return render_skin(vertices, faces.triangles, faces.channels(maps), cameras, SIZE, FlatLight())

    return wish


def away(scene: Scene, name: str, rows: Any, columns: Any, colour: Tensor = BLUE) -> float:
    return float((scene.maps[name][rows, columns, :3] - colour).abs().mean())


@pytest.mark.parametrize(("columns", "rows", "eyes", "form"), [(24, 16, True, "x0"), (28, 13, False, "image")])
def test_a_known_prior_paints_what_was_not_seen_and_nothing_else(
    columns: int, rows: int, eyes: bool, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = tiny_scene(tiny_head_model(columns, rows, eyes=eyes))
    prior: Any = KnownPrior(wishing(scene, BLUE), monkeypatch)
    painted, report = run_texture(scene, prior, someone(), quick_config(60, form=form), RunConfig())
    assert prior.domains == ["albedo"] and prior.encoded == 60
    middle, left = slice(12, 22), slice(24, 32)
    assert away(painted, "skin", middle, left) < 0.3 * away(scene, "skin", middle, left)
    seen = scene.map_seen["skin"] == 1
    assert float((painted.maps["skin"] - scene.maps["skin"])[seen].abs().max()) < 0.5 / 255
    # No edge: between what was seen and what was painted, colours go over within several texels.
    across = painted.maps["skin"][16, :, :3]
    step = (across[1:] - across[:-1]).abs().amax(1)
    assert float(step.max()) < 0.5 * float((across[-1] - across[0]).abs().max())
    assert report["face_unseen"]["mean_255"] > 25
    assert torch.equal(painted.maps["skin"][..., 3:], scene.maps["skin"][..., 3:])  # flat light says nothing of gloss
    if eyes:
        assert torch.equal(painted.maps["eyes"], scene.maps["eyes"])


def test_without_the_prior_nothing_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = tiny_scene()
    prior: Any = KnownPrior(wishing(scene, BLUE), monkeypatch)
    monkeypatch.setattr(texture, "prior_loss", lambda prior, pictures, *_: 0.0 * pictures.sum())
    painted, report = run_texture(scene, prior, someone(), quick_config(5), RunConfig())
    assert all(torch.equal(painted.maps[name], scene.maps[name]) for name in scene.maps)
    assert max(region["max_255"] for region in report.values()) == 0.0


def test_maps_keep_their_own_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detail that is finer than the residual survives."""
    scene = tiny_scene()
    fine = scene.maps["skin"].repeat_interleave(4, 0).repeat_interleave(4, 1).clone()
    fine[::2, ::2, :3] += 0.1
    scene = replace(scene, maps={**scene.maps, "skin": fine})
    prior: Any = KnownPrior(wishing(scene, BLUE), monkeypatch)
    painted, _ = run_texture(scene, prior, someone(), quick_config(30), RunConfig())
    after = painted.maps["skin"]
    assert after.shape == (128, 128, 5)
    assert away(painted, "skin", slice(48, 88), slice(96, 128)) < 0.6 * away(
        scene, "skin", slice(48, 88), slice(96, 128)
    )
    grain = after[48:88:2, 96:128:2, :3] - after[49:89:2, 97:128:2, :3]
    assert 0.05 < float(grain.mean()) < 0.13


def test_light_reaches_gloss(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = tiny_scene()
    prior: Any = KnownPrior(wishing(scene, BLUE), monkeypatch)
    painted, _ = run_texture(scene, prior, someone(), quick_config(6, texture={"lit_share": 1.0}), RunConfig())
    assert not torch.equal(painted.maps["skin"][..., 3:], scene.maps["skin"][..., 3:])


def test_hair_is_painted_on_its_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_head_model(eyes=False)
    scene = tiny_scene(model)
    rows = (model.neutral[model.triangles][..., 1] > 0.05).all(1)
    used, triangles = np.unique(model.triangles[rows], return_inverse=True)
    triangles = triangles.reshape(-1, 3)
    vertices = 1.15 * model.neutral[used]
    uv = 0.5 + vertices[:, [0, 2]] / 0.3
    look = np.full((32, 32, 5), 0.2, np.float32)
    seen = np.zeros((32, 32), np.float32)
    seen[:, :16] = 1.0  # the person's right
    scene = with_hair_mesh(scene, vertices, (triangles, uv, triangles), look, seen)
    assert scene.materials[-1] == HAIR
    posed = scene.vertices(2)  # with the jaw open hair stays where it is, and the chin does not
    assert float((posed - scene.vertices(0))[len(model.neutral) :].norm(dim=1).max()) < 5e-4
    prior: Any = KnownPrior(wishing(scene, BLUE), monkeypatch)
    around = {"azimuth": ((1.0, -180.0, 180.0),)}
    config = quick_config(60, views=around, texture={"feather": 0.05})
    painted, report = run_texture(scene, prior, someone(), config, RunConfig())
    assert float((painted.maps[HAIR] - scene.maps[HAIR])[:, :16].abs().max()) < 1 / 255
    inside = slice(12, 20), slice(20, 23)
    assert away(painted, HAIR, *inside) < 0.5 * away(scene, HAIR, *inside)
    assert report["hair_unseen"]["mean_255"] > 8 and report["hair_seen"]["max_255"] < 1


def test_seams_are_found_and_tie_both_sides() -> None:
    scene = tiny_scene(tiny_head_model(16, 8))
    seams = find_seams(scene, ["head", "skin"])
    names = {(s.one, s.other) for s in seams}
    assert ("head", "head") in names and (("head", "skin") in names or ("skin", "head") in names)
    own = next(s for s in seams if s.one == s.other)
    # the back of the head is cut at its middle: u 0 and 1 at the same height
    torch.testing.assert_close(own.uv_one[:, 1], own.uv_other[:, 1])
    gap = (own.uv_one - own.uv_other)[:, 0].abs()
    assert int((gap == 1).sum()) > 20  # between the poles; there every column has a place of its own
    even = {n: torch.full((1, 5, 8, 8), 0.3) for n in ("head", "skin")}
    assert float(seam_gap(seams, even)) == 0.0
    even["skin"] += 0.2
    only = [s for s in seams if s.one != s.other]
    assert float(seam_gap(only, even)) == pytest.approx(0.04, rel=1e-4)


def test_freedom_is_geometric_and_fades_around_what_was_seen() -> None:
    free = freedom(torch.tensor([0.0, 0.5, 1.0]), 1e-4, 1e-2)
    torch.testing.assert_close(free, torch.tensor([1.0, 0.1, 0.01]))
    line = np.stack([0.01 * np.arange(6.0), np.zeros(6), np.zeros(6)], 1)
    edges = np.stack([np.arange(5), np.arange(1, 6)], 1)
    seen = np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.9])
    np.testing.assert_allclose(feathered(seen, line, edges, 0.04), [0.75, 1.0, 0.75, 0.5, 0.65, 0.9])
    np.testing.assert_array_equal(feathered(seen, line, edges, 0.0), seen)
    image = torch.zeros(1, 1, 16, 16)
    image[..., :4] = 1.0
    row = feathered_map(image, 3 / 16)[0, 0, 8]
    torch.testing.assert_close(row[2:9], torch.tensor([1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]))
