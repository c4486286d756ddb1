# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair carved from masks of a made-up head: outlines, lengths, faces left free, several photos, map and attachment."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch

from idto3d.arrays import Array
from idto3d.fit.camera import PhotoCamera
from idto3d.fit.result import HeadFit, PhotoFit
from idto3d.fit.visibility import draw_depth
from idto3d.mesh.texels import make_texels
from idto3d.volume.hair import HairVolume, carve_hair
from idto3d.volume.hair_mesh import FRAY, HALF, HairMesh, attach_to_scalp, extract
from idto3d.volume.hood import fit_hood, read_at
from idto3d.volume.marching_tets import marching_tetrahedra
from idto3d.volume.observe import observe
from idto3d.volume.ribbons import OVER
from idto3d.volume.shape import AREA, find_shape
from idto3d.volume.strands import DISK
from tests.tiny_head import AXES, tiny_head_model

MODEL = tiny_head_model(96, 64)
SIZE = 384
SKIN = MODEL.triangles_of("face", "back_head")


@dataclass(frozen=True, eq=False)
class Shown:
    picture: Array
    inside: Array
    person: Array
    landmarks: Array


def camera(yaw: float = 0.0) -> PhotoCamera:
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return PhotoCamera(turn, np.zeros(3), SIZE / 0.6, np.full(2, SIZE / 2), 1.0)


def fitted(*cameras: PhotoCamera) -> HeadFit:
    still, none = np.zeros(len(MODEL.expression)), np.zeros_like(MODEL.neutral)
    light = np.zeros((9, 3))
    photos = tuple(PhotoFit(f"{n}", c, still, none, light, 0.001, 1.0) for n, c in enumerate(cameras))
    return HeadFit(np.zeros(len(MODEL.identity)), none, still, photos)


def places(view: PhotoCamera) -> tuple[Array, Array]:
    """x and y, metres in the plane of the head's middle, of pixels."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return (columns - view.shift[0]) / view.scale, (view.shift[1] - rows) / view.scale


def head_seen(view: PhotoCamera) -> tuple[Array, Array]:
    """Whether pixels show the head, and their scalp 0..1."""
    seen = draw_depth(view, MODEL.neutral, SKIN, SIZE).triangle
    scalp = np.where(seen >= 0, MODEL.scalp[SKIN[seen]].mean(-1), 0.0)
    return seen >= 0, scalp


def body(view: PhotoCamera) -> Array:
    x, y = places(view)
    return (np.abs(x) < 0.068) & (y < -0.07)


def photo(view: PhotoCamera, hair: Array) -> Shown:
    """The head with a body under it."""
    head, _ = head_seen(view)
    points = (MODEL.neutral[MODEL.landmark_triangle] * MODEL.landmark_barycentric[..., None]).sum(1)
    grey = np.full((SIZE, SIZE, 3), 128, np.uint8)
    person = (head | hair | body(view)).astype(np.float32)
    return Shown(grey, np.ones((SIZE, SIZE), bool), person, view.project(points)[0])


def cap(view: PhotoCamera, lift: float) -> Array:
    """Hair of even thickness on the scalp, as a mask."""
    head, scalp = head_seen(view)
    size = 2 * round(lift * view.scale) + 1
    grown = cv2.dilate((scalp > 0.5).astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))) > 0
    return (grown & ~head) | (scalp > 0.5)


def curtains(view: PhotoCamera) -> Array:
    """Hair that falls on both sides of the face, ten centimetres below the chin."""
    x, y = places(view)
    sides = (np.abs(x) > 0.068) & (np.abs(x) < 0.105) & (y < 0.06) & (y > -0.16)
    return cap(view, 0.03) | sides


def carve(mask: Array, view: PhotoCamera) -> tuple[HairVolume, HairMesh]:
    volume = carve_hair(MODEL, fitted(view), [photo(view, mask)], [mask.astype(np.float32)])
    mesh = extract(volume)
    assert mesh is not None
    return volume, mesh


def seen_hair(mesh: HairMesh, view: PhotoCamera) -> Array:
    vertices = np.concatenate([MODEL.neutral, mesh.vertices])
    side = len(mesh.border)
    place = side // 2 + (mesh.uv[mesh.triangles].mean(1) - 0.5) * [1, -1] / DISK * (side - 1) / 2
    solid = mesh.triangles[read_at(mesh.border, place) > HALF * FRAY]  # where half of the strands are
    triangles = np.concatenate([SKIN, solid + len(MODEL.neutral)])
    return draw_depth(view, vertices, triangles, SIZE).triangle >= len(SKIN)


def overlap(a: Array, b: Array) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.fixture(scope="module")
def long_hair() -> tuple[HairVolume, HairMesh]:
    return carve(curtains(camera()), camera())


def test_a_bald_head_has_no_volume() -> None:
    view = camera()
    none = np.zeros((SIZE, SIZE), np.float32)
    volume = carve_hair(MODEL, fitted(view), [photo(view, none > 0)], [none])
    assert volume.points.shape == (0, 3) and volume.tets.shape == (0, 4) and len(volume.sdf) == 0
    assert extract(volume) is None


def test_a_photo_cut_off_at_the_forehead_tells_hair_by_the_temples() -> None:
    """A quarter of the scalp is shown, and a centimetre of hair beside it: too little were it all there is."""
    view = camera()
    _, scalp = head_seen(view)
    _, y = places(view)
    level = np.quantile(y[scalp > 0.5], 0.25)
    mask = cap(view, 0.01) & (y < level) & (scalp < 0.9)
    whole = photo(view, mask)
    cut = replace(whole, inside=y < level, person=whole.person * (y < level))
    volumes = [carve_hair(MODEL, fitted(view), [shown], [mask.astype(np.float32)]) for shown in (whole, cut)]
    assert [len(volume.points) > 0 for volume in volumes] == [False, True]


def test_photos_that_end_at_the_forehead_do_not_outvote_one_that_shows_hair() -> None:
    view = camera()
    _, scalp = head_seen(view)
    _, y = places(view)
    mask = cap(view, 0.005).astype(np.float32)
    none, below = np.zeros_like(mask), y < np.quantile(y[scalp > 0.5], 0.05)
    whole, bare = photo(view, mask > 0), photo(view, none > 0)
    cut = replace(bare, inside=below, person=bare.person * below)
    area = mask.sum() / view.scale**2
    count = int(area / AREA)  # their mean would be under AREA
    assert count >= 2
    volume = carve_hair(MODEL, fitted(*[view] * (1 + count)), [whole, *[cut] * count], [mask, *[none] * count])
    assert len(volume.sdf)


def test_a_photo_that_ends_at_the_chin_takes_no_hair_from_below_it() -> None:
    """Locks before the chest, in one photo of two: seen there as they are without the other; and curls stay curls."""
    view = camera()
    x, y = places(view)
    whole = curtains(view) | ((np.abs(x) > 0.03) & (np.abs(x) < 0.105) & (y < -0.075) & (y > -0.16))
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 300, (SIZE, SIZE)), (0, 0), 2.0)
    curly = np.clip(128 + noise[..., None] * np.ones(3), 0, 255).astype(np.uint8)
    shown, above = replace(photo(view, whole), picture=curly), y > -0.05
    cut = replace(shown, inside=above, person=shown.person * above)
    bare = replace(cut, inside=y < 0.0, person=shown.person * (y < 0.0))
    masks = [mask.astype(np.float32) for mask in (whole, whole & above, 0.0 * whole)]
    volumes = [
        carve_hair(MODEL, fitted(*[view] * count), [shown, cut, bare][:count], masks[:count]) for count in (1, 2, 3)
    ]
    alone, both = (extract(volume) for volume in volumes[:2])
    assert alone is not None and both is not None and volumes[1].photos == (0, 1)
    low = y < -0.07
    seen = [int((seen_hair(mesh, view) & low).sum()) for mesh in (alone, both)]
    assert seen[1] > 0.95 * seen[0]
    assert abs(both.vertices[:, 1].min() - alone.vertices[:, 1].min()) < 0.005
    assert 2 in volumes[2].photos and volumes[2].ground.curl > 0.95 * volumes[1].ground.curl > 0.3


@pytest.mark.parametrize("lift", [0.01, 0.03])
@pytest.mark.parametrize("yaw", [0.0, 35.0])
def test_short_hair_has_the_outline_of_its_mask(lift: float, yaw: float) -> None:
    view = camera(yaw)
    mask = cap(view, lift)
    _, mesh = carve(mask, view)
    assert overlap(seen_hair(mesh, view), mask) > 0.8  # its borders are frayed


def test_short_hair_is_as_thick_on_the_back_as_at_the_outline() -> None:
    _, mesh = carve(cap(camera(), 0.03), camera())
    back = mesh.vertices[(np.abs(mesh.vertices[:, 0]) < 0.02) & (np.abs(mesh.vertices[:, 1] - 0.06) < 0.01)]
    skin = MODEL.neutral[(np.abs(MODEL.neutral[:, 0]) < 0.02) & (np.abs(MODEL.neutral[:, 1] - 0.06) < 0.01)]
    assert 0.02 < skin[:, 2].min() - back[:, 2].min() < 0.045


def test_long_hair_hangs_as_far_as_seen_and_behind_the_head(long_hair: tuple[HairVolume, HairMesh]) -> None:
    _, mesh = long_hair
    model = ~body(camera()) & (places(camera())[1] > MODEL.neutral[SKIN, 1].min())  # hair ends where the model does
    assert overlap(seen_hair(mesh, camera()) & model, curtains(camera()) & model) > 0.87
    back = mesh.vertices[mesh.vertices[:, 2] < -0.06]
    assert back[:, 1].min() < -0.115, "the back is as long as the sides"


def test_hair_that_falls_stands_off_no_sooner_than_it_has_fallen() -> None:
    view = camera()
    seen = observe(photo(view, curtains(view)), MODEL, MODEL.neutral, view, curtains(view).astype(np.float32))
    hood = fit_hood(MODEL, MODEL.neutral, seen.lowest(fit_hood(MODEL, MODEL.neutral, np.inf)))
    shape = find_shape(hood, MODEL, MODEL.neutral, [seen])
    assert shape is not None
    fallen = hood.map_coordinates()[1] - hood.equator
    just_below, farther = (shape.stands[(fallen > a) & (fallen < b)].max() for a, b in ((0, 0.01), (0.06, 0.1)))
    assert 0.02 < farther and just_below < 0.1 * farther  # else there is a ledge beside the ears


def test_hair_that_leaves_the_picture_goes_on_below_it() -> None:
    view = camera()
    inside = places(view)[1] > -0.07
    whole = photo(view, curtains(view))
    shown = replace(whole, inside=inside, person=whole.person * inside)
    mesh = extract(carve_hair(MODEL, fitted(view), [shown], [(curtains(view) & inside).astype(np.float32)]))
    assert mesh is not None and mesh.vertices[:, 1].min() < -0.115


def test_hair_that_leaves_the_picture_aside_goes_on_as_far_as_seen() -> None:
    """A photo that is cut off beside the face, through short hair, shows short hair; one cut off at the face, which
    shows nothing of that side, has the other's length there."""
    view = camera()
    hair = cap(view, 0.03)
    whole = photo(view, hair)
    lengths = []
    for right in (1.0, 0.085, 0.05):
        inside = places(view)[0] < right
        shown = replace(whole, inside=inside, person=whole.person * inside)
        seen = observe(shown, MODEL, MODEL.neutral, view, (hair & inside).astype(np.float32))
        lengths.append(seen.lengths(fit_hood(MODEL, MODEL.neutral, np.inf)))
    assert np.isfinite(lengths[0]).all() and np.isfinite(lengths[1]).all()
    np.testing.assert_allclose(lengths[1], lengths[0], atol=0.01)
    assert np.isnan(lengths[2][0]) and lengths[2][1] == lengths[0][1]


def test_the_photos_edge_is_not_the_hairs_outline() -> None:
    view = camera()
    hair = cap(view, 0.03)
    inside = places(view)[1] < 0.1
    whole = photo(view, hair)
    shown = replace(whole, inside=inside, person=whole.person * inside)
    seen = observe(shown, MODEL, MODEL.neutral, view, (hair & inside).astype(np.float32))
    hood = fit_hood(MODEL, MODEL.neutral, np.inf)
    assert len(seen.rim_points(hood)[0]) and hood.point(*seen.rim_points(hood))[:, 1].max() < 0.095


def test_no_hair_before_the_face_or_in_the_head(long_hair: tuple[HairVolume, HairMesh]) -> None:
    _, mesh = long_hair
    head, _ = head_seen(camera())
    face = head & ~cv2.dilate(curtains(camera()).astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    assert face.sum() > 3000 and (seen_hair(mesh, camera()) & face).sum() < 0.02 * face.sum()
    skull = mesh.vertices[mesh.vertices[:, 1] > 0.0]
    assert ((skull / AXES) ** 2).sum(1).min() > 0.7, "the inner wall stays near the skin"


def test_a_fringe_covers_the_forehead_and_no_more() -> None:
    view = camera()
    x, y = places(view)
    fringe = cap(view, 0.015) | ((np.abs(x) < 0.05) & (y > 0.055) & (y < 0.09) & head_seen(view)[0])
    _, mesh = carve(fringe, view)
    seen = seen_hair(mesh, view)
    assert overlap(seen, fringe) > 0.84
    assert seen[(np.abs(x) < 0.04) & (y > 0.06) & (y < 0.08)].mean() > 0.95
    ahead = mesh.vertices[(np.abs(mesh.vertices[:, 0]) < 0.03) & (mesh.vertices[:, 1] < 0.07)]
    forehead = MODEL.neutral[(np.abs(MODEL.neutral[:, 0]) < 0.03) & (np.abs(MODEL.neutral[:, 1] - 0.065) < 0.01)]
    assert ahead[:, 2].max() < forehead[:, 2].max() + 0.02, "it lies on the forehead"


@pytest.mark.parametrize("fringe", [True, False])
def test_a_fringe_ends_off_the_skin_and_a_hairline_on_it(fringe: bool) -> None:
    """Brows rise under a fringe: where it went down to the skin, they showed where it had been cut off."""
    view = camera()
    x, y = places(view)
    below = (np.abs(x) < 0.05) & (y > 0.055) & (y < 0.09) & head_seen(view)[0] & fringe
    volume, mesh = carve(cap(view, 0.015) | below, view)
    ground = volume.ground
    outer = mesh.vertices[np.unique(mesh.triangles[: mesh.outer])]
    place = ground.hood.places(outer)
    end = np.abs(read_at(mesh.border, place) - 0.003) < 0.003
    end &= (np.abs(outer[:, 0]) < 0.035) & (outer[:, 2] > 0)
    off = ground.hood.coordinates(outer)[2] - read_at(ground.skin, place)
    assert end.sum() > 20
    assert np.median(off[end]) > 0.001 if fringe else np.median(off[end]) < 0.0005


def test_a_second_photo_takes_away_what_it_sees_empty() -> None:
    front, side = camera(), camera(60.0)
    masks = [cap(front, 0.03), cap(side, 0.01)]
    both = carve_hair(MODEL, fitted(front, side), [photo(front, masks[0]), photo(side, masks[1])], masks)
    mesh = extract(both)
    assert mesh is not None
    beyond = seen_hair(mesh, side) & ~cv2.dilate(masks[1].astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert beyond.sum() < 0.02 * masks[1].sum()
    _, alone = carve(masks[0], front)
    assert (seen_hair(alone, side) & ~masks[1]).sum() > 5 * max(int(beyond.sum()), 1)


@pytest.mark.parametrize("lift", [0.015, 0.02, 0.07])
def test_photos_of_another_hair_style_do_not_shape_the_hair(lift: float) -> None:
    """Two photos show short hair, a third shows it so many metres thick."""
    cameras = camera(), camera(10.0), camera(-10.0)
    masks = [cap(view, own) for view, own in zip(cameras, (0.015, 0.015, lift), strict=True)]
    photos = [photo(view, mask) for view, mask in zip(cameras, masks, strict=True)]
    volume = carve_hair(MODEL, fitted(*cameras), photos, masks)
    assert volume.photos == ((0, 1) if lift > 0.05 else (0, 1, 2))
    # of two photos that differ the one of more weight counts
    fit = fitted(*cameras[1:])
    fit = replace(fit, photos=(replace(fit.photos[0], weight=0.5), fit.photos[1]))
    assert carve_hair(MODEL, fit, photos[1:], masks[1:]).photos == ((1,) if lift > 0.05 else (0, 1))


def test_loose_and_tied_hair_differ_unless_the_photo_ends_first() -> None:
    front, aside = camera(), camera(8.0)
    loose, tied = curtains(front), cap(aside, 0.01)
    both = [photo(front, loose), photo(aside, tied)]
    assert len(carve_hair(MODEL, fitted(front, aside), both, [loose, tied]).photos) == 1
    _, y = places(aside)
    inside = y > -0.03  # over the jaw
    cut = replace(both[1], inside=inside, person=both[1].person * inside)
    masks = [loose, curtains(aside) & inside]
    assert carve_hair(MODEL, fitted(front, aside), [both[0], cut], masks).photos == (0, 1)


def test_what_a_photo_cannot_see_is_not_called_seen(long_hair: tuple[HairVolume, HairMesh]) -> None:
    volume, _ = long_hair
    hidden = (volume.points[:, 2] < -0.05) & (np.abs(volume.points[:, 0]) < 0.04) & (np.abs(volume.points[:, 1]) < 0.05)
    beside = (np.abs(volume.points[:, 0]) > 0.11) & (volume.points[:, 1] > 0.0)
    assert hidden.sum() > 50 and volume.seen[hidden].max() < 0.5
    assert beside.sum() > 50 and volume.seen[beside].mean() > 0.9


def test_the_mesh_faces_outwards_and_is_not_built_under_the_skin(long_hair: tuple[HairVolume, HairMesh]) -> None:
    volume, mesh = long_hair
    a, b, c = mesh.vertices[mesh.triangles[: mesh.outer]].transpose(1, 0, 2)
    hood = volume.ground.hood
    above = a[:, 1] > hood.centre[1] + 0.02
    outwards = (np.cross(b - a, c - a) * (a - hood.centre)).sum(1)[above] > 0
    assert above.sum() > 1000 and outwards.mean() > 0.98
    assert ((mesh.vertices / AXES) ** 2).sum(1).min() > 0.75
    assert 5_000 < len(mesh.triangles) <= 40_000


def test_each_texel_belongs_to_one_place_of_the_outer_side(long_hair: tuple[HairVolume, HairMesh]) -> None:
    _, mesh = long_hair
    assert mesh.uv.shape == (len(mesh.vertices), 2) and mesh.uv.min() >= 0 and mesh.uv.max() <= 1
    outer = mesh.triangles[: mesh.outer]
    a, b, c = mesh.uv[outer].transpose(1, 0, 2)
    area = 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    covered = len(make_texels(mesh.uv, outer, outer, 512).index) / 512**2
    assert np.quantile(area, 0.01) >= 0 and area.sum() > 0.2
    assert covered > 0.95 * area.sum()


def test_the_surface_is_differentiable_in_the_distances(long_hair: tuple[HairVolume, HairMesh]) -> None:
    volume, _ = long_hair
    sdf = torch.from_numpy(volume.sdf).requires_grad_()
    surface = marching_tetrahedra(torch.from_numpy(volume.points), torch.from_numpy(volume.tets), sdf)
    (gradient,) = torch.autograd.grad(surface.vertices.square().sum(), sdf)
    assert bool(gradient.isfinite().all()) and float(gradient.abs().max()) > 0
    thinner = extract(replace(volume, sdf=volume.sdf + 0.002))
    assert thinner is not None
    assert np.abs(thinner.vertices).max() < np.abs(long_hair[1].vertices).max() + OVER, "but for a lock at its border"


def test_hair_goes_with_the_scalp_and_not_with_the_jaw(long_hair: tuple[HairVolume, HairMesh]) -> None:
    _, mesh = long_hair
    attached = attach_to_scalp(MODEL, MODEL.neutral.astype(np.float64), mesh.vertices).reader(len(MODEL.neutral))
    jaw = MODEL.motion(MODEL.expression_vector({"jawOpen": 1.0}))
    assert np.abs(jaw).max() > 0.01
    assert np.abs(attached @ jaw).max() < 1e-4
    lifted = np.zeros_like(jaw) + MODEL.scalp[:, None] * [0.0, 0.01, 0.0]
    moved = attached @ lifted
    assert float(moved[:, 1].min()) > 0.004
