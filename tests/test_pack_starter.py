# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped pack: whole, small enough, and its parts do what they are for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from idto3d.generate import STARTER_PACK
from idto3d.head.geometry_net import GeometryNet
from idto3d.head.texture_net import TextureNet, clean_teeth, eye_centres, paint_eyes, quantise_basis
from idto3d.photos.detect import detect_faces, load_detector
from idto3d.prior.adapters import trainable_share
from idto3d.prior.model import Prior
from idto3d.prior.pack import read_expressions, read_pack
from idto3d.subject import read_subject


@pytest.fixture(scope="module")
def net() -> GeometryNet:
    return GeometryNet.load(STARTER_PACK / "geometry.safetensors")


def test_the_pack_is_whole_and_small() -> None:
    pack = read_pack(STARTER_PACK)
    assert len(pack.expressions) == 13 and list(pack.expressions)[0] == "neutral"
    size = sum(f.stat().st_size for f in STARTER_PACK.rglob("*") if f.is_file())
    assert size <= 48_000_000
    assert (STARTER_PACK / "MODEL_CARD.md").is_file()
    assert set(read_expressions(pack)) == set(pack.expressions)


@pytest.mark.parametrize("domain", ["normal", "albedo"])
def test_the_priors_denoise_better_than_chance(domain: str) -> None:
    """On noised latents of an empty (black) picture the noise must be predicted much better than by zero."""
    prior = Prior.load(STARTER_PACK, domain, verify=False)  # type: ignore[arg-type]
    z0 = prior.encode(torch.zeros(2, 128, 128, 3))
    noise = torch.randn(z0.shape, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([400, 700])
    z_t = prior.schedule.add_noise(z0, noise, t)
    off = torch.zeros(2)
    eps = prior.predict(z_t, t, prior.encode_text(["", ""]), torch.zeros(2, 512), torch.zeros(2, 128), off, off)
    assert float((eps - noise).square().mean()) < 0.5
    assert 0.0 < trainable_share(prior.unet) < 0.3


def test_scalp_and_neck_do_not_move(net: GeometryNet) -> None:
    with torch.no_grad():
        fields = net.expression_field(net.warp.codes[1:], torch.zeros(net.config.modes))
    still = (net.control[:, 1] > 0.075) | (net.control[:, 1] < -0.135)
    assert float(fields[:, still].norm(dim=2).max()) < 1e-3


def test_hair_thickens_the_head(net: GeometryNet) -> None:
    styles = torch.eye(net.hair_sdf.shape[0])
    crown = torch.tensor([[0.0, 0.11, 0.0], [0.0, -0.05, 0.11]])  # just above the skull; before the mouth
    distance = torch.einsum("as,sn->an", styles, net.hair_distance(crown))
    assert float(distance[0].min()) > 0.02  # bald: no hair anywhere near
    assert int((distance[1:, 0] < 0.004).sum()) >= 5  # most styles cover the crown
    assert float(distance[:, 1].min()) > 0.004  # none the mouth
    assert net.long_hair().tolist() == [False] * 5 + [True] * 4
    face = net.control[(net.control[:, 2] > 0.06) & (net.control[:, 1] < 0.0)]
    bald, short = (net.hair_share(styles[s], points).max() for s, points in ((0, net.control), (2, face)))
    assert float(bald) < 0.01 and float(short) < 0.01  # no locks are carved there, at the lips for example
    assert float(net.hair_share(styles[2], torch.tensor([[0.0, 0.1, 0.0]]))) > 0.9


def test_geometry_round_trip(net: GeometryNet, tmp_path: Path) -> None:
    net.save(tmp_path / "again.safetensors")
    again = GeometryNet.load(tmp_path / "again.safetensors")
    for key, value in net.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=2e-3, atol=1e-4)


def test_texture_basis_survives_quantisation() -> None:
    basis = torch.randn(3, 8, 8, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    stored, scale = quantise_basis(basis)
    assert stored.dtype == torch.int8
    torch.testing.assert_close(stored.float() * scale[:, None, None, None], basis, atol=0.002, rtol=0)


def test_eyes_have_dark_pupils_and_bright_whites(net: GeometryNet) -> None:
    centres = eye_centres(net)
    assert centres[0, 0] < 0 < centres[1, 0]
    ahead = centres + torch.tensor([0.0, 0, 0.012])
    aside = centres + 0.012 * torch.nn.functional.normalize(torch.tensor([0.7, 0, 1.0]), dim=0)
    assert float(paint_eyes(ahead, centres).max()) < 0.1
    assert float(paint_eyes(aside, centres).min()) > 0.6


def test_texture_net_gives_skin(tmp_path: Path) -> None:
    net = TextureNet.load(STARTER_PACK / "texture.safetensors")
    skin = net.skin(torch.zeros(len(net.scale)))
    assert skin.shape[2] == 3 and 0 < float(skin.min()) and float(skin.max()) < 1
    face = skin[60:90, 100:155].mean((0, 1))
    assert float(face[0]) > float(face[1]) > float(face[2])  # skin is redder than it is blue


def test_teeth_are_bright_and_nothing_black_bleeds_into_them() -> None:
    picture = TextureNet.load(STARTER_PACK / "texture.safetensors").teeth.float() / 255
    clean = clean_teeth(picture)
    spread = (picture.amax(-1) - picture.amin(-1)) / picture.amax(-1).clamp(min=1e-3)
    teeth, gums = (spread < 0.15) & (picture.amax(-1) > 0.4), (spread > 0.4) & (picture.amax(-1) > 0.4)
    assert float(picture[teeth].mean()) < 0.6 and float(clean[teeth].mean()) > 0.7  # they came grey
    torch.testing.assert_close(clean[gums], picture[gums])
    assert float((picture.amax(-1) < 0.05).float().mean()) > 0.2 and float(clean.amax(-1).min()) > 0.2


def test_faces_are_found_and_other_things_are_not() -> None:
    from skimage import data

    detector = load_detector(STARTER_PACK)
    assert len(detect_faces(data.astronaut(), detector)) == 1
    for picture in (data.coffee(), data.rocket(), data.chelsea(), np.dstack([data.coins()] * 3)):
        assert detect_faces(np.ascontiguousarray(picture[..., :3]), detector) == []


def test_a_person_is_nearer_to_themself_than_to_another(tmp_path: Path) -> None:
    """The astronaut, darkened, blurred and mirrored, against the man of insightface's sample."""
    import insightface
    from skimage import data

    image = Image.fromarray(data.astronaut())
    image.save(tmp_path / "a.png")
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((360, 360)).point(lambda v: int(v * 0.8)).save(
        tmp_path / "b.png"
    )
    other = Path(insightface.__file__).parent / "data" / "images" / "Tom_Hanks_54745.png"
    pack = read_pack(STARTER_PACK, verify=False)
    a, b, c = (read_subject([p], pack).y_id for p in (tmp_path / "a.png", tmp_path / "b.png", other))
    assert float(a @ b) > float(a @ c)
