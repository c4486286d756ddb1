# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs laid over a ball with a plate before it: which texels see which pixels, and what they take from them."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from idto3d.head.finish import Atlas, HeadMesh, carry_fields, texel_values
from idto3d.head.geometry_net import HAIR_REACH
from idto3d.head.parts import EYES, SKIN
from idto3d.head.uv import rasterize_uv
from idto3d.likeness.detail import STRENGTH, add_photo_detail
from idto3d.likeness.overlay import Sitting, View, lay_over
from idto3d.likeness.pose import Pose
from idto3d.mesh.attach import Surface
from idto3d.photos.faces import PORTRAIT_SIZE, Face
from idto3d.photos.landmarks import Landmarks
from idto3d.render.shading import linear_to_srgb, srgb_to_linear

RADIUS, ROWS, COLUMNS, MAPS_SIZE = 0.09, 33, 64, 256
ALBEDO = torch.tensor([0.35, 0.25, 0.18])
# The plate: over the left brow, 4 cm before the ball's middle; metres.
PLATE_X, PLATE_Y, PLATE_Z, PLATE_HALF = 0.03, 0.04, 0.12, 0.018
HAIR_FROM = 0.066  # metres: height above which the ball has hair
SCALE, SHIFT = 1737.0, (255.5, 262.0)  # pixels a metre, and the pixel of the ball's middle
EMPTY = np.zeros((1, 1, 3), np.uint8)


def ball_and_plate() -> tuple[HeadMesh, Atlas, Any]:
    """Its control surface, in the net's place, has the ball and the plate for skin, and two eyeballs inside."""
    height, around = np.meshgrid(
        np.linspace(-1.4, 1.4, ROWS), np.linspace(-math.pi, math.pi, COLUMNS + 1), indexing="ij"
    )
    unit = np.stack([np.cos(height) * np.sin(around), np.sin(height), np.cos(height) * np.cos(around)], -1)
    ball = RADIUS * unit[:, :-1].reshape(-1, 3)
    uv = np.stack([(around / math.pi + 1) / 2, 0.8 * (height / 1.4 + 1) / 2], -1).reshape(-1, 2)

    def grid(width: int) -> np.ndarray:
        """Triangles, seen from outside, of a grid with rows of so many points, the last column joined to the first
        where the rows have none for the seam."""
        row, column = np.meshgrid(np.arange(ROWS - 1), np.arange(COLUMNS), indexing="ij")
        a, b = row * width + column, row * width + (column + 1) % width
        quads = np.stack([a, b, b + width, a + width], -1).reshape(-1, 4)
        return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])

    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * PLATE_HALF
    plate = np.column_stack([square + (PLATE_X, PLATE_Y), np.full(4, PLATE_Z)])
    two = np.array([[0, 1, 2], [0, 2, 3]])
    vertices = torch.from_numpy(np.concatenate([ball, plate])).float()
    faces = np.concatenate([grid(COLUMNS), two + len(ball)])
    plate_uv = np.array([[0.45, 0.85], [0.55, 0.85], [0.55, 0.95], [0.45, 0.95]])
    uv = np.concatenate([uv, plate_uv]).astype(np.float32)
    uv_faces = np.concatenate([grid(COLUMNS + 1), two + len(uv) - 4])
    tetrahedron = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.005
    eyes = [tetrahedron + (x, 0.02, 0.05) for x in (-0.03, 0.03)]
    corners = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    control = np.concatenate([vertices.numpy(), *eyes]).astype(np.float32)
    control_faces = np.concatenate([faces, corners + len(vertices), corners + len(vertices) + 4])
    # Keypoints: pupils at 2 cm, the mouth 6.7 cm below them, as far as on a head.
    marks = [nearest(control, place) for place in ((0, -0.01), (-0.024, -0.047), (0.024, -0.047))]
    net = SimpleNamespace(
        control=torch.from_numpy(control),
        faces=torch.from_numpy(control_faces),
        part=torch.tensor([SKIN] * len(faces) + [EYES] * 8),
        landmarks=torch.tensor(marks),
    )
    attachment = Surface(control, control_faces[: len(faces)]).attach(vertices.numpy())
    zone = torch.full((len(faces),), SKIN)
    mesh = HeadMesh(
        vertices, vertices, vertices[None][:0], torch.from_numpy(faces), attachment, zone, (), len(vertices)
    )
    return mesh, Atlas(uv, uv_faces, *rasterize_uv(uv, uv_faces, MAPS_SIZE)), net


def nearest(points: np.ndarray, place: tuple[float, float]) -> int:
    """The point of the ball's front that is nearest to (x, y)."""
    front = np.where(points[:, 2] > 0.01, 0.0, 1.0) + np.abs(np.linalg.norm(points, axis=1) - RADIUS) * 1e3
    return int((np.linalg.norm(points[:, :2] - place, axis=1) + front).argmin())


def flat_maps() -> Tensor:
    maps = torch.full((MAPS_SIZE, MAPS_SIZE, 5), 0.5)
    maps[..., :3] = linear_to_srgb(ALBEDO)
    return maps


def photograph(spots: list[tuple[float, float]], hair: float = 1.0, moved: float = 0.0) -> np.ndarray:
    """(S,S,4): the ball in even light, `spots` (x, y) 12 mm wide and 7 mm high four tenths as light as the guess, its
    hair `hair` times. moved: pixels by which all is farther to the right."""
    ys, xs = np.meshgrid(np.arange(PORTRAIT_SIZE), np.arange(PORTRAIT_SIZE), indexing="ij")
    x, y = (xs - moved - SHIFT[0]) / SCALE, (SHIFT[1] - ys) / SCALE
    light = np.where(y > HAIR_FROM, hair, 1.0)
    for place in spots:
        light[(np.abs(x - place[0]) < 0.006) & (np.abs(y - place[1]) < 0.0035)] = 0.4
    colours = linear_to_srgb(ALBEDO * torch.from_numpy(light)[..., None]).numpy()
    return np.round(np.concatenate([colours, np.ones_like(colours[..., :1])], -1) * 255).astype(np.uint8)


def sitting_for(net: Any, picture: np.ndarray, motion: Tensor, moved: float = 0.0) -> Sitting:
    """One frontal photograph, fitted with an expression that moves the control surface by `motion` (3,)."""
    pose = Pose(np.eye(3), SCALE, np.array(SHIFT))
    vertices = torch.arange(0, ROWS * COLUMNS, 5)
    vertices = vertices[net.control[vertices, 2] > 0.03]
    expression = motion.expand(len(net.control), 3)
    points = pose.project(net.control[vertices] + motion)[0].numpy().astype(np.float64) + (moved, 0.0)
    landmarks = Landmarks(points, np.ones(len(points)), np.zeros(1))
    keypoints = np.array([[200.0, 227], [308, 227], [255, 279], [214, 343.6], [297, 343.6]])
    face = Face("ball", keypoints, EMPTY, EMPTY, picture, 0.0, 0.0, 9.0, ())
    model: Any = SimpleNamespace(vertices=vertices)
    fit: Any = SimpleNamespace(poses=(pose,), expressions=(expression,))
    return Sitting([face], [landmarks], model, fit)


def laid(picture: np.ndarray, motion: Tensor | None = None, moved: float = 0.0) -> tuple[Any, ...]:
    """The ball, its atlas, net, hair at the vertices, and the photograph laid over it."""
    mesh, atlas, net = ball_and_plate()
    hair = (mesh.canonical[:, 1] > HAIR_FROM).float()
    sitting = sitting_for(net, picture, torch.zeros(3) if motion is None else motion, moved)
    return mesh, atlas, net, hair, lay_over(net, mesh, atlas, flat_maps(), net.control, hair, sitting)


def places(mesh: HeadMesh, atlas: Atlas) -> tuple[Tensor, Tensor, Tensor]:
    """Of the covered texels: positions (N,3), whether they lie on the plate (N,), whether well behind it (N,)."""
    points, _ = texel_values(atlas, mesh.canonical, mesh.faces)
    on_plate = points[:, 2] > PLATE_Z - 1e-4
    off = (points[:, :2] - torch.tensor([PLATE_X, PLATE_Y])).abs().amax(1)
    return points, on_plate, ~on_plate & (points[:, 2] > 0) & (off < PLATE_HALF - 0.002)


def test_texels_know_their_pixels_and_whether_they_are_seen() -> None:
    motion = torch.tensor([0.0, 0.004, 0.0])  # an even face stays even
    mesh, atlas, _, _, (view,) = laid(photograph([]), motion)
    points, on_plate, behind = places(mesh, atlas)
    wanted = torch.stack([SCALE * points[:, 0] + SHIFT[0], SHIFT[1] - SCALE * (points[:, 1] + 0.004)], 1)
    torch.testing.assert_close(view.texels.pixels, wanted, atol=0.02, rtol=0)
    off = (points[:, :2] - torch.tensor([PLATE_X, PLATE_Y])).abs().amax(1)
    inner = on_plate & (off < PLATE_HALF - 0.002)
    open_ = ~on_plate & (points[:, 2] > 0.04) & (off > PLATE_HALF + 0.004)
    back = points[:, 2] < -0.01
    for rows, seen in ((inner, 1.0), (open_, 1.0), (behind, 0.0), (back, 0.0)):
        assert int(rows.sum()) > 50 and bool((view.texels.visible[rows] == seen).all())
    # What the plate hides on the one side, the photograph shows on the other.
    mirrored = behind & ((points[:, 0] - PLATE_X).abs() < PLATE_HALF - 0.006)
    assert bool((view.mirrored.visible[mirrored] == 1).all())
    torch.testing.assert_close(view.mirrored.pixels[:, 0], SHIFT[0] - SCALE * points[:, 0], atol=0.02, rtol=0)


def change_of(mesh: HeadMesh, atlas: Atlas, net: Any, hair: Tensor, views: list[View]) -> Tensor:
    """(N,3) natural logarithm of what the photographs make of the covered texels' albedo."""
    maps = add_photo_detail(net, mesh, atlas, flat_maps(), hair, views)
    _, index = texel_values(atlas, mesh.canonical, mesh.faces)
    return (srgb_to_linear(maps.reshape(-1, 5)[index, :3]) / ALBEDO).log()


def at(points: Tensor, x: float, y: float) -> Tensor:
    """(N,) in the middle of a spot."""
    return ((points[:, 0] - x).abs() < 0.004) & ((points[:, 1] - y).abs() < 0.0025)


@pytest.mark.parametrize("moved", [0.0, 9.0])
def test_a_texel_takes_what_the_photograph_shows_of_it(moved: float) -> None:
    """moved: the photograph, landmarks and all, lies that many pixels off the fitted camera."""
    picture = photograph([(PLATE_X, PLATE_Y), (0.0, PLATE_Y)], moved=moved)
    mesh, atlas, net, hair, views = laid(picture, moved=moved)
    change = change_of(mesh, atlas, net, hair, views)
    points, on_plate, behind = places(mesh, atlas)
    front, back = points[:, 2] > 0.03, points[:, 2] < -0.03
    bare = points[:, 1] < HAIR_FROM - 0.012
    dark = STRENGTH * math.log(0.4)
    for spot in (on_plate & at(points, PLATE_X, PLATE_Y), front & ~on_plate & at(points, 0.0, PLATE_Y)):
        assert int(spot.sum()) > 3
        assert bool((change[spot] < 0.55 * dark).all()) and bool((change[spot] > dark - 0.05).all())
    # The spot that hides the brow is the plate's, not the brow's.
    hidden = behind & at(points, PLATE_X, PLATE_Y)
    assert int(hidden.sum()) > 3 and float(change[hidden].abs().max()) < 0.06
    assert float(change[back & bare].abs().max()) < 0.02
    plain = front & ~on_plate & bare & (points[:, 1] < 0.015)
    assert int(plain.sum()) > 500 and float(change[plain].abs().max()) < 0.05


def test_what_is_hidden_is_lent_by_the_other_half() -> None:
    mesh, atlas, net, hair, views = laid(photograph([(-PLATE_X, PLATE_Y)]))
    change = change_of(mesh, atlas, net, hair, views)
    points, on_plate, behind = places(mesh, atlas)
    hidden = behind & at(points, PLATE_X, PLATE_Y)
    assert int(hidden.sum()) > 3 and bool((change[hidden] < 0.45 * math.log(0.4)).all())
    assert float(change[on_plate].abs().max()) < 0.12  # which is seen itself


def test_hair_takes_its_colour_from_the_photograph_all_round() -> None:
    mesh, atlas, net, hair, views = laid(photograph([], hair=0.5))
    change = change_of(mesh, atlas, net, hair, views)
    covered, _ = texel_values(atlas, hair[:, None], mesh.faces)
    for rows, wanted in ((covered[:, 0] > 0.999, math.log(0.5)), (places(mesh, atlas)[0][:, 1] < 0.0, 0.0)):
        assert int(rows.sum()) > 500
        torch.testing.assert_close(change[rows], torch.full_like(change[rows], wanted), atol=0.03, rtol=0)


def test_progress_of_each_photograph() -> None:
    mesh, atlas, net = ball_and_plate()
    one = sitting_for(net, photograph([]), torch.zeros(3))
    fit: Any = SimpleNamespace(poses=one.fit.poses * 3, expressions=one.fit.expressions * 3)
    three = Sitting([*one.faces] * 3, [*one.landmarks] * 3, one.model, fit)
    hair, shares = torch.zeros(len(mesh.canonical)), list[float]()
    views = lay_over(net, mesh, atlas, flat_maps(), net.control, hair, three, shares.append)
    assert shares == pytest.approx([0, 1 / 3, 2 / 3])
    shares.clear()
    add_photo_detail(net, mesh, atlas, flat_maps(), hair, views, shares.append)
    assert len(shares) >= 3 and shares == sorted(shares) and shares[-1] <= 1


def test_linear_fields_are_carried_exactly() -> None:
    """What moves the control surface linearly moves all that lies on it likewise; hair follows a person's shape, and
    an expression the less the farther it is off the skin."""
    _, _, net = ball_and_plate()
    g = np.random.default_rng(0)
    skin = net.faces[net.part == SKIN].numpy()
    face = g.integers(0, (ROWS - 1) * COLUMNS, 40)
    corners = net.control.numpy().astype(np.float64)[skin[face]]
    on = np.einsum("nk,nkc->nc", g.dirichlet((2.0, 2.0, 2.0), 40), corners)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    gap = np.where(np.arange(40) < 20, 0.0, HAIR_REACH)[:, None]
    points = on + gap * normal / np.linalg.norm(normal, axis=1, keepdims=True)
    attachment = Surface(net.control.numpy(), skin).attach(points)
    canonical = torch.from_numpy(points).float()
    mesh = HeadMesh(
        canonical, canonical, canonical[None][:0], torch.zeros(0, 3).long(), attachment, torch.zeros(0), (), 0
    )
    turn = torch.from_numpy(g.normal(size=(3, 3, 3))).float() * 0.1
    fields = net.control @ turn + torch.tensor([0.01, 0.0, -0.02])
    neutral, offsets = carry_fields(net, mesh, fields[0], fields[1:])
    foot = torch.from_numpy(on).float()
    wanted = foot @ turn + torch.tensor([0.01, 0.0, -0.02])
    torch.testing.assert_close(neutral, canonical + wanted[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(offsets[:, :20], wanted[1:, :20], atol=2e-5, rtol=0)
    torch.testing.assert_close(offsets[:, 20:], wanted[1:, 20:] / math.e, atol=2e-5, rtol=0)
