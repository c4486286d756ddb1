# SPDX-License-Identifier: GPL-3.0-or-later
"""The head that ships: parts that one does not see are gone, and all that is left belongs together."""

from dataclasses import replace

import numpy as np
import pytest

from idto3d.arrays import Array
from idto3d.bundle import to_blender_frame
from idto3d.finish import HairPiece, Head, assemble
from idto3d.finish.head import HAIR, HIDDEN, LASH_SIZE, PLAIN_SIZE, plain_map, shipped_faces
from idto3d.finish.lashes import lash_cards
from idto3d.finish.to_bundle import head_arrays
from idto3d.headmodel import HeadModel, Material


@pytest.fixture(scope="module", params=["tiny", "starter"])
def model(request: pytest.FixtureRequest) -> HeadModel:
    model: HeadModel = request.getfixturevalue(request.param)
    return model


def offsets(model: HeadModel) -> dict[str, Array]:
    weights = {"smile": {"mouthSmile": 0.9}, "jaw_open": {"jawOpen": 0.8}}
    return {name: model.motion(model.expression_vector(w)) for name, w in weights.items()}


def made(model: HeadModel, hair: HairPiece | None = None, **maps: Array) -> Head:
    seen = np.linspace(0, 1, len(model.neutral)).astype(np.float32)
    return assemble(model, model.neutral.astype(np.float64), offsets(model), seen, maps, hair)


def tuft() -> HairPiece:
    """Two triangles over the crown that an open mouth does not move, but a smile does a little."""
    vertices = np.array([[0.0, 0.12, 0], [0.01, 0.12, 0], [0.01, 0.12, 0.01], [0, 0.12, 0.01]])
    triangles = np.array([[0, 2, 1], [0, 3, 2]])
    moves = np.stack([np.full((4, 3), 0.001), np.zeros((4, 3))])
    return HairPiece(
        vertices, moves, triangles, vertices[:, [0, 2]] * 50, np.full((32, 32, 5), 0.3, np.float32),
        np.tile(np.array([0.0, 1.0], np.float32), (32, 16)), np.array([0.0, 0, 1, 1], np.float32),
    )  # fmt: skip


def whole(head: Head) -> None:
    """Indices point inside, every vertex is used, and each face has as many corners in the UV."""
    for corners, count in ((head.quads, len(head.vertices)), (head.quads_uv, len(head.uv))):
        assert corners[:, :3].min() >= 0 and corners.min() >= -1
        np.testing.assert_array_equal(np.unique(corners[corners >= 0]), np.arange(count))
    np.testing.assert_array_equal(head.quads[:, 3] < 0, head.quads_uv[:, 3] < 0)
    assert len(head.quads) == len(head.part) == len(head.material)
    assert len(head.seen) == len(head.vertices) and head.offsets.shape == (len(head.names), len(head.vertices), 3)
    np.testing.assert_array_equal(np.unique(head.material), np.arange(len(head.materials)))
    assert set(head.maps) == set(head.materials) and set(head.alpha) <= set(head.materials)
    assert head.part.max() < len(head.parts)
    assert len(head.triangles) == len(head.triangles_uv) == len(head.triangle_material)
    for image in head.maps.values():
        assert image.shape[0] == image.shape[1] and image.shape[2] == 5 and 0 <= image.min() <= image.max() <= 1


def test_hidden_parts_are_gone_and_the_rest_is_whole(model: HeadModel) -> None:
    head = made(model)
    whole(head)
    left = {head.parts[n] for n in np.unique(head.part)}
    assert left == set(model.part_names) - set(HIDDEN)
    assert len(head.vertices) < len(model.neutral) and len(head.quads) == shipped_faces(model).sum()


def test_each_face_keeps_its_place_colour_and_motion(model: HeadModel) -> None:
    head = made(model)
    rows = np.flatnonzero(shipped_faces(model))
    moved = offsets(model)
    for mine, theirs in ((head.quads, model.quads[rows]), (head.quads_uv, model.quads_uv[rows])):
        np.testing.assert_array_equal(mine < 0, theirs < 0)
    for k in range(3):
        old, new = model.quads[rows, k], head.quads[:, k]
        np.testing.assert_array_equal(head.vertices[new], model.neutral[old])
        for n, name in enumerate(head.names):
            np.testing.assert_array_equal(head.offsets[n][new], moved[name][old])
        np.testing.assert_array_equal(head.seen[new], np.linspace(0, 1, len(model.neutral)).astype(np.float32)[old])
        np.testing.assert_array_equal(head.uv[head.quads_uv[:, k]], model.uv[model.quads_uv[rows, k]])
    names = [model.materials[n].name for n in model.material[rows]]
    assert [head.materials[n] for n in head.material] == names


def test_maps_are_those_given_or_plain(tiny: HeadModel) -> None:
    skin = np.random.default_rng(0).uniform(size=(128, 128, 5)).astype(np.float32)
    head = made(tiny, skin=skin)
    assert head.maps["skin"] is skin
    assert head.maps["eyes"].shape == (PLAIN_SIZE, PLAIN_SIZE, 5)
    np.testing.assert_allclose(head.maps["eyes"][3, 5], (0.9, 0.88, 0.85, 0.1, 0.5), rtol=1e-6)
    other = plain_map(Material("x", (0, 0.5, 1), 0.2, 0.3, False))
    assert other[-1, -1].tolist() == pytest.approx([0, 0.5, 1, 0.2, 0.3])


def test_without_expressions_there_are_no_keys(tiny: HeadModel) -> None:
    head = assemble(tiny, tiny.neutral, {}, np.zeros(len(tiny.neutral)), {}, None)
    assert head.names == () and head.offsets.shape == (0, len(head.vertices), 3)


def test_hair_is_put_on(model: HeadModel) -> None:
    bald, hair = made(model), tuft()
    head = made(model, hair)
    whole(head)
    assert head.parts[-1] == head.materials[-1] == HAIR
    mine = head.part == len(head.parts) - 1
    np.testing.assert_array_equal(head.quads[~mine], bald.quads)
    np.testing.assert_array_equal(head.vertices[head.quads[mine, :3]], hair.vertices[hair.triangles])
    np.testing.assert_array_equal(head.uv[head.quads_uv[mine, :3]], hair.uv[hair.triangles])
    assert (head.quads[mine, 3] == -1).all() and head.maps[HAIR] is hair.maps and head.alpha[HAIR] is hair.alpha
    np.testing.assert_array_equal(head.offsets[:, len(bald.vertices) :], hair.offsets)
    np.testing.assert_array_equal(head.seen[len(bald.vertices) :], hair.seen)


def lashed(model: HeadModel) -> HeadModel:
    """The tiny head whose irises are see-through cards before the face."""
    names = tuple("lashes" if name == "iris" else name for name in model.part_names)
    rows = model.part == names.index("lashes")
    lashes = Material("lashes", (0.05, 0.04, 0.03), 0.6, 0.2, False)
    material = np.where(rows, len(model.materials), model.material)
    return replace(model, part_names=names, material=material, materials=(*model.materials, lashes))


def test_lashes_are_thick_at_the_lid_and_thin_at_the_tip(model: HeadModel) -> None:
    own = model if "lashes" in model.part_names else lashed(model)
    head = made(own)
    whole(head)
    alpha = head.alpha["lashes"]
    assert alpha.shape == (LASH_SIZE, LASH_SIZE) and alpha.min() == 0 and 0.8 < alpha.max() <= 1
    assert 0.01 < (alpha > 0.5).mean() < 0.5  # neither a solid card nor none
    if own is model:
        return
    assert set(head.alpha) == {"lashes"}


def test_a_model_without_lashes_has_no_cards(tiny: HeadModel) -> None:
    named = replace(tiny, part_names=(*tiny.part_names, "lashes"))
    assert not len(lash_cards(named)) and shipped_faces(named).any()


def test_lash_cards_of_the_shipped_head(starter: HeadModel) -> None:
    """On real cards: the share of hair falls from the lid to the tip, and lower lashes are finer and fainter."""
    from idto3d.finish.lashes import LOWER_LID, lash_opacity
    from idto3d.mesh.texels import make_texels

    model = starter
    wanted = next(n for n, m in enumerate(model.materials) if m.name == "lashes")
    rows = model.material[model.triangle_quad] == wanted
    texels = make_texels(model.uv, model.triangles_uv[rows], model.triangles[rows], 256)
    skin = model.neutral[model.vertices_of("face")]
    points = texels.at(model.neutral)
    chosen = np.random.default_rng(0).choice(len(points), 500, replace=False)
    away = np.array([np.linalg.norm(skin - p, axis=1).min() for p in points[chosen]])
    opacity = texels.of_image(lash_opacity(model, texels))[chosen]
    eyes = model.neutral[model.vertices_of("sclera"), 1]
    upper = points[chosen, 1] > np.median(eyes)
    near, far = away < np.quantile(away, 0.3), away > np.quantile(away, 0.8)
    assert opacity[near & upper].mean() > opacity[far & upper].mean() + 0.2
    assert opacity[near & ~upper].mean() < opacity[near & upper].mean()
    assert opacity[points[chosen, 1] < LOWER_LID + np.median(eyes)].max() < 0.8 * opacity[upper].max()


def test_the_head_in_its_files_form(tiny: HeadModel) -> None:
    skin = plain_map(tiny.materials[0])
    skin[:32, :, 3] = 0.9  # roughness differs, specular does not
    head = made(lashed(tiny), tuft(), skin=skin)
    arrays = head_arrays(head)
    np.testing.assert_allclose(arrays["vertices"], to_blender_frame(head.vertices))
    np.testing.assert_allclose(arrays["vertices"][0], head.vertices[0][[0, 2, 1]] * [1, -1, 1], atol=1e-7)  # Z up
    assert arrays["offsets"].dtype == arrays["uv"].dtype == np.float32
    assert all(arrays[name].dtype == np.int32 for name in ("faces", "faces_uv", "part", "material"))
    assert arrays["expressions"] == ("smile", "jaw_open")
    of = {m.name: m for m in arrays["materials"]}
    assert tuple(of) == head.materials
    roughness = of["skin"].roughness
    assert isinstance(roughness, np.ndarray) and (roughness[0, 0], roughness[-1, 0]) == (230, 128)
    assert of["skin"].specular == pytest.approx(0.35) and of["skin"].alpha == "opaque"
    assert of["skin"].albedo[0, 0].tolist() == [191, 140, 115]
    assert of["hair"].alpha == "clip" and of["hair"].albedo[5, :4, 3].tolist() == [0, 255, 0, 255]
    lashes = of["lashes"]
    assert lashes.alpha == "blend" and lashes.albedo.shape == (LASH_SIZE, LASH_SIZE, 4)
    assert lashes.albedo[7, 9, :3].tolist() == [13, 10, 8] and np.ptp(lashes.albedo[..., 3]) > 200
