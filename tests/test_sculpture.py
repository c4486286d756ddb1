# SPDX-License-Identifier: GPL-3.0-or-later
"""A head between steps: its surface, and what holds it to the photographs."""

from typing import Any

import pytest
import torch
from torch import Tensor

from idto3d.distill.geometry_stage import GeometryVariables, Sculpture
from idto3d.generate import STARTER_PACK
from idto3d.head.checks import mesh_topology
from idto3d.head.geometry_net import WARP_UNIT, GeometryNet


@pytest.fixture(scope="module")
def net() -> GeometryNet:
    return GeometryNet.load(STARTER_PACK / "geometry.safetensors")


def sculpted(net: GeometryNet, coefficient: float = 0.0, style: int = 0, precision: Tensor | None = None) -> Sculpture:
    """All coefficients alike; hair of one style, 0 bald."""
    modes = net.config.modes
    variables = GeometryVariables(net, torch.full((modes,), coefficient))
    styles = torch.eye(net.hair_sdf.shape[0])
    return Sculpture(net, variables, torch.eye(modes) if precision is None else precision, styles[style], 30.0)


def test_neutral_is_zero_and_the_face_list_is_one(net: GeometryNet) -> None:
    sculpture = sculpted(net)
    variables = sculpture.variables
    with torch.no_grad():
        codes = net.warp.codes
        assert float(net.expression_field(codes[:1], variables.coefficients).abs().max()) == 0.0
        before = sculpture.extraction.faces
        variables.codes.data.add_(0.1)
        variables.coefficients.data.add_(0.5)
        sculpture.canonical_vertices()
        assert sculpture.extraction.faces is before
    assert mesh_topology(before).watertight


def test_the_photographs_hold_what_they_are_sure_of(net: GeometryNet) -> None:
    precision = torch.diag(torch.cat([torch.tensor([100.0]), torch.ones(net.config.modes - 1)]))
    sculpture = sculpted(net, 0.5, precision=precision)
    assert float(sculpture.disbelief().detach()) == 0.0
    sculpture.variables.coefficients.data[:2] += torch.tensor([0.3, 0.2])
    wanted = 0.5 * (100 * 0.09 + 0.04) / net.config.modes
    assert float(sculpture.disbelief().detach()) == pytest.approx(wanted, rel=1e-5)


def test_where_hair_grows_only_new_vertices_are_attached_anew(
    net: GeometryNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    sculpture = sculpted(net, style=1)
    sculpture.variables.hair.data.fill_(0.0005)
    fresh = sculpture.extract()
    asked: list[int] = []
    attach = sculpture.control.attach

    def counting(points: Any) -> Any:
        asked.append(len(points))
        return attach(points)

    monkeypatch.setattr(sculpture.control, "attach", counting)
    got = sculpture.extract(sculpture.extraction)
    assert torch.equal(got.faces, fresh.faces) and torch.equal(got.edges, fresh.edges)
    assert 0 < asked[0] < 0.3 * len(got.edges)

    # A run that is resumed must find the same.
    assert torch.equal(got.attachment.face, fresh.attachment.face)
    assert torch.equal(got.attachment.bary, fresh.attachment.bary)
    assert torch.equal(got.snap, fresh.snap)


def test_points_that_never_move_need_not_be_asked(net: GeometryNet) -> None:
    coefficients, codes = torch.linspace(-1, 1, net.config.modes), net.warp.codes
    with torch.no_grad():
        whole = WARP_UNIT * (net.warp(codes, coefficients) - net.warp(codes[:1], coefficients))
        wanted = whole * (1 - net.still)[None, :, None]
        torch.testing.assert_close(net.expression_field(codes, coefficients), wanted, atol=1e-7, rtol=1e-4)
