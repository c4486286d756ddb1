# SPDX-License-Identifier: GPL-3.0-or-later
"""The geometry stage under a prior whose wish is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from idto3d.distill import geometry
from idto3d.distill.config import Form
from idto3d.distill.geometry import run_geometry
from idto3d.distill.loop import RunConfig
from idto3d.distill.scene import Scene, with_hair
from idto3d.headmodel.follow import find_body
from idto3d.mesh.surface import edges_of
from idto3d.render.normals import normal_map
from idto3d.volume.marching_tets import marching_tetrahedra
from tests.grids import kuhn_grid
from tests.known_prior import NAMES, SIZE, KnownPrior, Wish, quick_config, someone, tiny_scene
from tests.tiny_head import tiny_head_model

NEUTRAL_ONLY = {"neutral_share": 1.0, "symmetry_weight": 0.0}


def bump(scene: Scene) -> Tensor:
    """(P,3): 8 mm outwards around both cheeks, the seen and the unseen one."""
    v = scene.neutral
    outward = F.normalize(v * torch.tensor([1, 0.3, 1]), dim=1)
    near = [torch.exp(-(v - torch.tensor([s * 0.07, -0.02, 0.02])).square().sum(1) / (2 * 0.025**2)) for s in (1, -1)]
    skin = torch.from_numpy(scene.model.vertices_of("face", "back_head"))
    return torch.stack(near).sum(0)[:, None] * 0.008 * outward * skin[:, None]


def wishing(neutral: Tensor, displacements: Tensor, triangles: Tensor) -> Wish:
    def wish(views: Any, expression: int) -> Tensor:
        return normal_map(neutral + displacements[expression], triangles, [v.camera for v in views], SIZE)[0]

    return wish


@pytest.mark.parametrize(("columns", "rows", "eyes", "form"), [(24, 16, True, "x0"), (28, 13, False, "image")])
def test_a_known_prior_moves_what_was_not_seen_and_nothing_else(
    columns: int, rows: int, eyes: bool, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = tiny_scene(tiny_head_model(columns, rows, eyes=eyes))
    wanted = bump(scene)
    wish = wishing(scene.neutral + wanted, scene.displacements, scene.skin.triangles)
    prior: Any = KnownPrior(wish, monkeypatch)
    config = quick_config(60, form=form, geometry=NEUTRAL_ONLY)
    moved, report = run_geometry(scene, prior, someone(), config, RunConfig())
    assert prior.domains == ["normal"] and prior.encoded == 60
    motion = moved.neutral - scene.neutral
    cheek = (wanted.norm(dim=1) > 0.003) & (scene.neutral[:, 0] > 0.03)
    before, after = (m[cheek].norm(dim=1).mean() for m in (wanted, wanted - motion))
    assert float(after) < 0.6 * float(before)
    seen = scene.seen > 0.99
    assert float(wanted[seen].norm(dim=1).max()) > 0.005  # the prior would have it otherwise
    assert float(motion[seen].norm(dim=1).max()) < 5e-5
    assert report["face_unseen"]["rms_mm"] > 1.0 and report["face_seen"]["max_mm"] < 1.0
    assert report["face_unseen"]["max_mm"] == pytest.approx(1000 * float(motion.norm(dim=1).max()), rel=0.5)
    # No seam: motion changes by less than the way along the surface.
    a, b = torch.from_numpy(edges_of(scene.model.triangles_of("face", "back_head"))).unbind(1)
    strain = (motion[a] - motion[b]).norm(dim=1) / (scene.neutral[a] - scene.neutral[b]).norm(dim=1)
    assert float(strain.max()) < 0.4
    assert torch.equal(moved.displacements, scene.displacements)


def test_without_the_prior_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = tiny_scene()
    prior: Any = KnownPrior(
        wishing(scene.neutral + bump(scene), scene.displacements, scene.skin.triangles), monkeypatch
    )
    monkeypatch.setattr(geometry, "prior_loss", lambda prior, pictures, *_: 0.0 * pictures.sum())
    moved, report = run_geometry(scene, prior, someone(), quick_config(5, geometry=NEUTRAL_ONLY), RunConfig())
    assert max(region["max_mm"] for region in report.values()) < 1e-3
    torch.testing.assert_close(moved.neutral, scene.neutral, atol=1e-7, rtol=0)


def test_an_expression_moves_by_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = tiny_scene()
    model = scene.model
    more = np.tensordot(model.expression_vector({"jawOpen": 0.5}), model.expression, 1)
    jaw = NAMES.index("jaw_open")
    wanted = torch.zeros_like(scene.displacements)
    wanted[jaw] = torch.from_numpy(more).float()
    prior: Any = KnownPrior(wishing(scene.neutral, scene.displacements + wanted, scene.skin.triangles), monkeypatch)
    stage = {"neutral_share": 0.0, "lr_expression": 0.03, "lr_residual": 1e-4, "expression_trust": 0.01}
    front = {"azimuth": ((1.0, -60.0, 60.0),)}
    moved, report = run_geometry(scene, prior, someone(), quick_config(60, geometry=stage, views=front), RunConfig())
    change = moved.displacements - scene.displacements
    chin = wanted[jaw].norm(dim=1) > 0.004
    assert float((change - wanted)[jaw][chin].norm(dim=1).mean()) < 0.6 * float(wanted[jaw][chin].norm(dim=1).mean())
    assert torch.equal(moved.neutral, scene.neutral)
    assert float(change[0].abs().max()) == 0.0
    still = torch.from_numpy(model.rigid) == 1
    assert float(change[jaw][still].norm(dim=1).max()) < 1e-3
    assert report["expression jaw_open"]["max_mm"] > 4 * report["expression smile"]["max_mm"]


def test_unseen_skin_becomes_like_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = tiny_scene()
    dent = bump(scene) * (scene.neutral[:, :1] < 0)  # on the seen side only
    lopsided = replace(scene, neutral=scene.neutral + dent)
    prior: Any = KnownPrior(wishing(lopsided.neutral, scene.displacements, scene.skin.triangles), monkeypatch)
    monkeypatch.setattr(geometry, "prior_loss", lambda prior, pictures, *_: 0.0 * pictures.sum())
    config = quick_config(60, geometry={"neutral_share": 1.0, "symmetry_weight": 0.1})
    moved, _ = run_geometry(lopsided, prior, someone(), config, RunConfig())
    mirror, flip = torch.from_numpy(scene.model.mirror), torch.tensor([-1.0, 1, 1])
    cheek = (bump(scene).norm(dim=1) > 0.004) & (scene.neutral[:, 0] > 0.03)
    before, after = (((n - flip * n[mirror])[cheek]).norm(dim=1).mean() for n in (lopsided.neutral, moved.neutral))
    assert float(after) < 0.5 * float(before)
    seen = scene.seen > 0.99
    assert float((moved.neutral - lopsided.neutral)[seen].norm(dim=1).max()) < 5e-5


def capped(scene: Scene, thickness: float) -> tuple[Tensor, Tensor, Tensor]:
    """A grid around the crown with the distances of a cap so thick, in metres."""
    grid = kuhn_grid((14, 8, 14), ((-0.14, 0.02, -0.14), (0.14, 0.17, 0.14)))
    outside = (grid.points / torch.tensor([0.075, 0.11, 0.095])).norm(dim=1) * 0.09 - 0.09
    return grid.points, grid.tets, torch.maximum(outside - thickness, 0.045 - grid.points[:, 1])


def test_hair_grows_where_it_was_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = tiny_scene(names=("neutral",))
    points, tets, sdf = capped(scene, 0.012)
    seen = (points[:, 0] < 0).float()
    scene = with_hair(scene, points.numpy(), tets.numpy(), sdf.numpy(), seen.numpy())
    thick = marching_tetrahedra(*capped(scene, 0.022))
    vertices = torch.cat([scene.neutral, thick.vertices])
    faces = torch.cat([scene.skin.triangles, thick.faces + len(scene.neutral)])

    def wish(views: Any, expression: int) -> Tensor:
        return normal_map(vertices, faces, [v.camera for v in views], SIZE)[0]

    prior: Any = KnownPrior(wish, monkeypatch)
    around = {"azimuth": ((1.0, -180.0, 180.0),)}
    stage = {**NEUTRAL_ONLY, "lr_hair": 1e-3, "hair_trust": 0.02}
    config = quick_config(60, geometry=stage, views=around)
    moved, report = run_geometry(scene, prior, someone(("neutral",)), config, RunConfig())
    assert moved.hair is not None
    after = marching_tetrahedra(moved.hair.points, tets, moved.hair.sdf).faces
    directed = torch.cat([after[:, [0, 1]], after[:, [1, 2]], after[:, [2, 0]]])
    assert {(a, b) for a, b in directed.tolist()} == {(b, a) for a, b in directed.tolist()}  # closed
    change = moved.hair.sdf - sdf
    shell = (sdf.abs() < 0.012) & (points[:, 1] > 0.06)
    grown = -change[shell & (points[:, 0] > 0.02)].mean()
    assert 0.002 < float(grown) < 0.02
    assert float(change[seen > 0].abs().max()) < 1e-3 and report["hair"]["max_mm"] > 2


def test_views_share_one_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three views of one camera move the head as one does: what holds it counts as much."""
    scene = tiny_scene(names=("neutral",))
    wish = wishing(scene.neutral + bump(scene), scene.displacements, scene.skin.triangles)
    one_camera = {"azimuth": ((1.0, 90.0, 90.0),), "elevation": (0, 0), "fov": (20, 20), "frame": (0.35, 0.35)}
    ends = []
    for views in (1, 3):
        config = quick_config(8, geometry={**NEUTRAL_ONLY, "views": views}, views={**one_camera, "jitter": 0.0})
        plain = replace(config.geometry.score, weighting="uniform")  # a known wish does not depend on the noise then
        config = replace(config, geometry=replace(config.geometry, score=plain))
        prior: Any = KnownPrior(wish, monkeypatch)
        moved, _ = run_geometry(scene, prior, someone(("neutral",)), config, RunConfig())
        ends.append(moved.neutral - scene.neutral)
    assert float(ends[0].abs().max()) > 1e-3
    torch.testing.assert_close(ends[1], ends[0], atol=2e-6, rtol=1e-2)


def test_eyes_follow_as_whole_pieces() -> None:
    model = tiny_head_model()
    body = find_body(model, model.neutral.astype(np.float64))
    assert len(body.vertices) == len(model.neutral) - 84
    motion = torch.zeros(len(body.vertices), 3)
    left = torch.from_numpy(model.neutral)[body.vertices][:, 0] > 0
    motion[left, 1] = 0.01
    whole = body.whole(motion)
    assert torch.equal(whole[body.vertices], motion)
    sclera = torch.from_numpy(model.vertices_of("sclera", "iris"))
    eye = {s: whole[sclera & (torch.from_numpy(model.neutral[:, 0]) * s > 0)] for s in (1, -1)}
    for motion in eye.values():  # no eye is bent
        torch.testing.assert_close(motion, motion[:1].expand_as(motion))
    assert float(eye[1][0, 1]) == pytest.approx(0.01, rel=0.1) and abs(float(eye[-1][0, 1])) < 1e-3
