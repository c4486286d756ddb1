# SPDX-License-Identifier: GPL-3.0-or-later
"""From a kit to people of the head model: registration, what it carries over, persons, drawings. On a made-up kit and a
made-up head model of other topologies."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from idto3d.arrays import Array
from idto3d.errors import UserError
from idto3d.headmodel import HeadModel
from idto3d.render.cameras import make_camera
from idto3d.training import landmark_places
from idto3d.training.accessories import make_glasses, paint_clothes
from idto3d.training.captions import changed
from idto3d.training.kit import average_identity, cut_cards, kit_skin
from idto3d.training.photographs import Photograph, Setting
from idto3d.training.pictures import Drawing, draw
from idto3d.training.population import EVAL_SEED, TRAIN_SEED, Person, Population
from idto3d.training.registration import register, similarity
from idto3d.training.surface import closest_places
from idto3d.training.transfer import build_transfer, sample_texture, seat_hair, skin_displacement
from tests.tiny_kit import SCALE, SHIFT, TinyKit, tiny_landmarks


@pytest.fixture(scope="module")
def people(tiny: HeadModel) -> Population:
    kit = TinyKit()
    skin = kit_skin(kit, average_identity(kit))
    registered = register(skin, tiny_landmarks(kit, skin.triangles), tiny)
    return Population(tiny, kit, build_transfer(kit, tiny, registered, size=64))


def test_nearest_places_are_those_of_a_search_through_all() -> None:
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(30, 3))
    triangles = rng.integers(0, 30, (60, 3))
    triangles = triangles[(np.sort(triangles, 1)[:, 1:] != np.sort(triangles, 1)[:, :-1]).all(1)][:20]
    points = rng.normal(size=(40, 3))
    places = closest_places(points, vertices, triangles)
    fine = np.stack([(a, b, 50 - a - b) for a in range(51) for b in range(51 - a)]) / 50
    dense = np.einsum("sk,tkc->tsc", fine, vertices[triangles])
    best = np.linalg.norm(points[:, None, None] - dense[None], axis=3).min((1, 2))
    assert (places.distance <= best + 1e-9).all() and (places.distance > best - 0.05).all()
    at = places.of(triangles, vertices)
    np.testing.assert_allclose(np.linalg.norm(points - at, axis=1), places.distance, atol=1e-9)


def test_similarity_recovers_a_known_transform() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3))
    rotation = np.array([[np.cos(0.4), -np.sin(0.4), 0], [np.sin(0.4), np.cos(0.4), 0], [0, 0, 1]])
    found = similarity(points, 1.3 * points @ rotation.T + [0.1, -0.2, 0.3], rng.random(50) + 0.1)
    np.testing.assert_allclose(found(points), 1.3 * points @ rotation.T + [0.1, -0.2, 0.3], atol=1e-9)
    assert found.scale == pytest.approx(1.3)


def test_registration_lays_another_topology_of_another_size_on_the_head(tiny: HeadModel) -> None:
    kit = TinyKit()
    skin = kit_skin(kit, average_identity(kit))
    registered = register(skin, tiny_landmarks(kit, skin.triangles), tiny)
    true = (skin.vertices - SHIFT) / SCALE  # the two heads are one shape
    assert np.linalg.norm(registered - true, axis=1).mean() < 1.5e-3
    gap = closest_places(registered, tiny.neutral.astype(float), tiny.triangles_of("face", "back_head")).distance
    assert np.percentile(gap, 95) < 1.5e-3


def test_a_texel_shows_the_kits_skin_of_its_own_place(people: Population) -> None:
    """The tiny kit's texture is its UV: where the nose tip is in both layouts, both must say the same."""
    transfer, model, kit = people.transfer, people.model, people.kit
    picture = sample_texture(kit.texture(average_identity(kit)).astype(float) / 255, transfer.kit_uv["skin"])
    tip = model.neutral[model.landmark_triangle[1]].mean(0)
    row, column = np.unravel_index(
        np.linalg.norm(transfer.position["skin"] - tip, axis=2).argmin(), transfer.position["skin"].shape[:2]
    )
    own = kit.model
    corners = own.triangles_uv[(np.sort(own.triangles, 1) == np.sort(own.landmark_triangle[1])).all(1)][0]
    assert np.abs(picture[row, column, :2] - kit.uv[corners].mean(0)).max() < 0.04


def test_a_wider_kit_head_widens_the_model_and_not_its_eyes(people: Population) -> None:
    model, kit = people.model, people.kit
    wide = kit_skin(kit, average_identity(kit, weight=1.0)).vertices - kit_skin(kit, average_identity(kit)).vertices
    moved = skin_displacement(people.transfer, model, wide)
    skin = model.vertices_of("face", "back_head")
    np.testing.assert_allclose(moved[skin, 0], 0.1 * SCALE * model.neutral[skin, 0], atol=2e-3)
    ball = model.vertices_of("sclera") & (model.neutral[:, 0] > 0)
    assert np.ptp(moved[ball], axis=0).max() < 1e-9  # in one piece


def test_hair_sits_outside_the_skin_of_any_head(people: Population) -> None:
    model = people.model
    head = model.shape(np.full(len(model.identity), 1.0))
    style = people.transfer.hairstyles[0]
    vertices, _ = seat_hair(style, model, head)
    triangles = model.triangles_of("face", "back_head")
    places = closest_places(vertices, head, triangles)
    outward = vertices - places.of(triangles, head)
    assert (places.distance > 1e-3).all()
    assert (np.einsum("vc,vc->v", outward, vertices - head.mean(0)) > 0).all()


def test_people_are_their_seeds(people: Population) -> None:
    first, again, other = (people.person(s) for s in (TRAIN_SEED, TRAIN_SEED, EVAL_SEED))
    np.testing.assert_array_equal(first.neutral, again.neutral)
    np.testing.assert_array_equal(first.maps["skin"], again.maps["skin"])
    assert first.traits == again.traits
    assert np.abs(first.neutral - other.neutral).max() > 1e-3
    np.testing.assert_allclose(first.neutral, people.model.shape(first.identity) + first.displacement, atol=1e-9)


def test_a_sibling_has_another_head_under_the_same_skin(people: Population) -> None:
    first = people.person(TRAIN_SEED)
    one, again, two = (people.sibling(first, n) for n in (1, 1, 2))
    assert one.maps is first.maps and one.traits == first.traits
    np.testing.assert_array_equal(one.neutral, again.neutral)
    for other in (first, two):
        assert np.abs(one.neutral - other.neutral).max() > 1e-3
    np.testing.assert_allclose(one.neutral, people.model.shape(one.identity) + one.displacement, atol=1e-9)


def test_a_siblings_hair_lies_on_their_own_head(people: Population) -> None:
    people_with_hair = (people.person(seed) for seed in range(TRAIN_SEED, TRAIN_SEED + 20))
    first = next(person for person in people_with_hair if any(shell.hair for shell in person.shells))
    triangles = people.model.triangles_of("face", "back_head")

    def height(person: Person, head: Array) -> float:
        hair = next(shell for shell in person.shells if shell.hair)
        return float(np.abs(closest_places(hair.vertices, head, triangles).distance - usual).mean())

    usual = closest_places(next(s for s in first.shells if s.hair).vertices, first.neutral, triangles).distance
    for number in (1, 2, 3):
        own = people.sibling(first, number)
        assert height(own, own.neutral) < 0.3 * height(first, own.neutral)


def test_an_edited_person_keeps_who_they_are_and_differs_in_what_is_said(people: Population) -> None:
    for seed in range(TRAIN_SEED, TRAIN_SEED + 8):
        own, edited = people.person(seed), people.person(seed, edit=1)
        np.testing.assert_array_equal(own.identity, edited.identity)
        said = changed(edited.traits, own.traits)
        assert all(asdict(own.traits)[n] != asdict(edited.traits)[n] for n in said)
        assert own.traits == edited.traits or said
    many = [changed(people.person(s, edit=1).traits, people.person(s).traits) for s in range(20)]
    assert {"age", "glasses"} <= frozenset().union(*many)


def test_a_drawing_shows_what_its_maps_hold(people: Population) -> None:
    person = people.person(TRAIN_SEED)
    colour = np.array([0.2, 0.4, 0.6], np.float32)
    maps = {n: np.broadcast_to(colour, (4, 4, 3)) for n in person.maps}
    drawing = people.drawing(type(person)(**{**vars(person), "maps": maps, "shells": ()}))
    found = draw(drawing, [make_camera(0, 0, 20, 0.4, (0, 0, 0))], 32)
    inside = found.coverage[0] == 1
    assert 100 < int(inside.sum()) < 900
    torch.testing.assert_close(found.albedo[0][inside].mean(0), torch.tensor([0.2, 0.4, 0.6]), atol=1e-4, rtol=0)
    assert float(found.albedo[0][found.coverage[0] == 0].abs().max()) == 0
    middle = found.normal[0, 14:18, 14:18]  # looks at the camera
    assert float(middle[..., 2].min()) > 0.5


def test_an_expression_moves_the_drawing_by_the_models_motion(people: Population) -> None:
    person, model = people.person(TRAIN_SEED), people.model
    jaw = model.expression_vector({"jawOpen": 1.0})
    still, open_ = people.drawing(person), people.drawing(person, jaw)
    moved = (open_.vertices - still.vertices)[: len(model.neutral)].numpy()
    np.testing.assert_allclose(moved, model.motion(jaw), atol=1e-6)


def test_the_texture_is_read_where_the_uv_says() -> None:
    """A square that fills the picture, red on the left and blue at the top."""
    texture = torch.zeros(2, 2, 3)
    texture[:, 0, 0] = 1.0
    texture[0, :, 2] = 1.0
    corner = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uv = (corner[:, :2] + 1) / 2
    up = torch.tensor([0.0, 0, 1]).expand(4, 3)
    kinds = torch.zeros(2, dtype=torch.long)
    drawing = Drawing(corner, up, faces, uv, faces, kinds, (texture,), kinds > 0)
    found = draw(drawing, [make_camera(0, 0, 20, 2.0, (0, 0, 0))], 8).albedo[0]
    torch.testing.assert_close(found[0, 0], torch.tensor([1.0, 0, 1]))
    torch.testing.assert_close(found[7, 0], torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(found[0, 7], torch.tensor([0.0, 0, 1]))
    torch.testing.assert_close(found[7, 7], torch.tensor([0.0, 0, 0]))


def test_cards_are_cut_where_they_are_see_through() -> None:
    """Half of a square card is opaque: half of its area is left, all of it where the texture says so."""
    from types import SimpleNamespace

    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    quad = np.array([[0, 1, 2, 3]])
    part = SimpleNamespace(vertices=square, faces=quad, uv=square[:, :2], uv_faces=quad)
    alpha = np.zeros((64, 64))
    alpha[:, 32:] = 1.0
    cards = cut_cards(part, alpha, 0.1)
    v = cards.vertices(square)[cards.triangles]
    area = 0.5 * np.linalg.norm(np.cross(v[:, 1] - v[:, 0], v[:, 2] - v[:, 0]), axis=1)
    assert area.sum() == pytest.approx(0.5, abs=0.06)
    assert v.mean(1)[:, 0].min() > 0.45
    np.testing.assert_allclose(cards.vertices(square)[:, :2], cards.uv)
    assert len(cut_cards(part, np.ones((4, 4)), 0.1).triangles) == 2  # nothing to cut away


def test_glasses_stand_before_the_eyes_and_beside_the_head(tiny: HeadModel) -> None:
    head = tiny.neutral.astype(float)
    vertices, triangles = make_glasses(tiny, head, np.random.default_rng(0))
    eyes = head[tiny.landmark_triangle[[33, 263]]].mean(1)
    front = vertices[vertices[:, 2] > eyes[:, 2].min()]
    assert front[:, 0].min() < eyes[:, 0].min() and front[:, 0].max() > eyes[:, 0].max()
    assert triangles.max() < len(vertices) and np.ptp(vertices[:, 2]) > 0.05
    skin = tiny.triangles_of("face", "back_head")
    assert np.median(closest_places(vertices, head, skin).distance) < 0.03


def test_dressing_changes_the_maps_alone(people: Population) -> None:
    person = people.person(TRAIN_SEED)
    dressed = people.dressed(person)
    np.testing.assert_array_equal(dressed.neutral, person.neutral)
    np.testing.assert_array_equal(dressed.maps["eyes"], person.maps["eyes"])
    np.testing.assert_array_equal(people.dressed(person).maps["skin"], dressed.maps["skin"])


def test_clothes_cover_the_shoulders_alone() -> None:
    position = {"skin": np.zeros((4, 4, 3))}
    position["skin"][2:, :, 1] = -0.5
    painted = paint_clothes(
        {"skin": np.full((4, 4, 3), 0.5), "eyes": np.ones((2, 2, 3))}, position, np.random.default_rng(0)
    )
    np.testing.assert_allclose(painted["skin"][:2], 0.5)
    assert np.abs(painted["skin"][2:] - 0.5).max() > 0.02
    np.testing.assert_array_equal(painted["eyes"], 1.0)


def test_how_a_face_is_seen_tells_nothing_of_whose_it_is(people: Population, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: list[Setting] = []

    def taken(population: Population, person: Person, setting: Setting) -> Photograph:
        settings.append(setting)
        raise UserError("E_NO_FACE", "none", "")

    monkeypatch.setattr(landmark_places, "take_photograph", taken)
    seeds = range(1_600_000, 1_600_060)
    whose = np.array([people.person(seed).identity for seed in seeds])
    for seed in seeds:
        with pytest.raises(UserError):
            landmark_places.sight(people, None, seed)  # type: ignore[arg-type]
    seen = np.array([(one.azimuth, one.elevation, one.exposure) for one in settings])
    assert np.abs(np.corrcoef(whose.T, seen.T)[: whose.shape[1], whose.shape[1] :]).max() < 0.5
