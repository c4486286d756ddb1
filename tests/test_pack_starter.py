# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped pack: whole, small enough, and its parts do what they are for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from idto3d.distill.config import DistillationConfig
from idto3d.expressions import EXPRESSIONS
from idto3d.headmodel import HeadModel
from idto3d.mesh.intersections import self_intersections
from idto3d.pipeline import STARTER_PACK
from idto3d.prior.adapters import Condition, trainable_share
from idto3d.prior.model import Domain, Prior
from idto3d.prior.pack import check_expressions, read_expressions, read_pack
from idto3d.subject import read_subject
from tests.shipped import astronaut, nets


def test_the_pack_is_whole_and_small(starter: HeadModel) -> None:
    pack = read_pack(STARTER_PACK)
    assert list(pack.expressions) == list(EXPRESSIONS) and len(pack.expressions) == 13
    assert sum(f.stat().st_size for f in STARTER_PACK.rglob("*") if f.is_file()) <= 64_000_000
    assert (STARTER_PACK / "MODEL_CARD.md").is_file()
    assert set(read_expressions(pack)) == set(pack.expressions)
    check_expressions(pack, starter)
    DistillationConfig.from_pack(pack.distillation)


def test_licences_of_what_it_is_made_of_lie_in_it() -> None:
    assert "MIT" in (STARTER_PACK / "LICENSE-ICT.txt").read_text()
    assert "Apache License" in (STARTER_PACK / "photos" / "LICENSE").read_text()
    assert "MediaPipe" in (STARTER_PACK / "photos" / "NOTICE").read_text()


@pytest.mark.parametrize("domain", ["normal", "albedo"])
def test_the_priors_denoise_better_than_chance(domain: Domain) -> None:
    """On noised latents of an empty (black) picture the noise must be predicted much better than by zero."""
    pack = read_pack(STARTER_PACK)
    prior = Prior.load(pack, domain)
    y_exp = torch.from_numpy(np.stack(list(read_expressions(pack).values())))[:2]
    z0 = prior.encode(torch.zeros(2, pack.image_size, pack.image_size, 3))
    noise = torch.randn(z0.shape, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([400, 700])
    z_t = prior.schedule.add_noise(z0, noise, t)
    off = torch.zeros(2)
    eps = prior.predict(z_t, t, Condition(prior.encode_text(["", ""]), torch.zeros(2, 512), y_exp, off, off))
    assert float((eps - noise).square().mean()) < 0.5
    assert 0.0 < trainable_share(prior.unet) < 0.3


def test_the_mean_head_is_life_sized_and_whole(starter: HeadModel) -> None:
    extent = np.ptp(starter.neutral[starter.vertices_of("face", "back_head")], axis=0)
    assert (extent > 0.15).all() and (extent < 0.4).all()  # metres, with the neck
    skin = starter.triangles_of("face", "back_head")
    assert len(self_intersections(starter.neutral.astype(np.float64), skin)) == 0
    eyes = starter.neutral[starter.vertices_of("sclera")]
    assert (np.sort(np.unique(np.sign(eyes[:, 0]))) == [-1, 1]).all()


def test_it_is_the_same_on_both_sides(starter: HeadModel) -> None:
    there = starter.neutral[starter.mirror] * [-1, 1, 1]
    skin = starter.vertices_of("face", "back_head")
    assert np.quantile(np.linalg.norm(there - starter.neutral, axis=1)[skin], 0.99) < 0.003
    assert (starter.mirror[starter.mirror] == np.arange(len(starter.mirror)))[skin].mean() > 0.98


def test_landmarks_lie_where_they_should(starter: HeadModel) -> None:
    """Metres: nose tip in front, chin below the lips, eyes over them, on their sides."""
    place = np.einsum("kjc,kj->kc", starter.neutral[starter.landmark_triangle], starter.landmark_barycentric)
    nose, chin, mouth, right_eye, left_eye = place[4], place[152], place[13], place[33], place[263]
    assert nose[2] == place[:468, 2].max() or nose[2] > np.quantile(place[:468, 2], 0.97)
    assert chin[1] < mouth[1] - 0.025 and right_eye[1] > nose[1] and left_eye[1] > nose[1]
    assert right_eye[0] < -0.03 and left_eye[0] > 0.03
    assert chin[2] > 0.06  # on the chin, not on the neck behind it


def test_expressions_leave_the_crown_and_the_neck_alone(starter: HeadModel) -> None:
    high = starter.neutral[:, 1] > np.quantile(starter.neutral[:, 1], 0.995)
    for name, expression in EXPRESSIONS.items():
        moved = np.linalg.norm(starter.motion(starter.expression_vector(expression.weights)), axis=1)
        assert moved[high].max() < 5e-4
        assert moved.max() > (0.002 if name != "neutral" else -1) and moved.max() < 0.06


def test_a_person_is_nearer_to_themself_than_to_another(tmp_path: Path) -> None:
    """The astronaut, darkened, blurred and mirrored, against the man of insightface's sample."""
    import insightface

    image = Image.fromarray(astronaut())
    image.save(tmp_path / "a.png")
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((360, 360))
    mirrored.point(lambda v: int(v * 0.8)).save(tmp_path / "b.png")
    other = Path(insightface.__file__).parent / "data" / "images" / "Tom_Hanks_54745.png"
    pack = read_pack(STARTER_PACK)
    a, b, c = (read_subject([p], pack, nets()).y_id for p in (tmp_path / "a.png", tmp_path / "b.png", other))
    assert float(a @ b) > float(a @ c)
