# SPDX-License-Identifier: GPL-3.0-or-later
"""Geometry stage: SDS through phi_g shapes the head where no photograph shows it, and its expressions (Babiloni et al.
2024, section 3, Psi_g(Gamma, k_exp)).

Evidence is held with the weight of `seen`; the rest moves freely within the pack's trust. An expression is the head
model's coefficients and a smooth residual; hair is the zero level set of distances on a tetrahedral grid.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..mesh.smooth import LargeSteps
from ..mesh.surface import edges_of, uniform_laplacian
from ..prior.model import Prior
from ..render.gather import gather_rows
from ..render.normals import normal_map
from .config import DistillationConfig, GeometryConfig
from .freedom import feathered, freedom
from .guidance import Conditioning, conditions, prior_loss
from .hair import HairSurface, Lattice, rim
from .loop import SILENT, Callbacks, Draw, RunConfig, Stage, optimise
from .reference import use_domain
from .report import Report, geometry_report
from .scene import Scene, Unseen, vertex_areas
from .uniform_adam import UniformAdam
from .views import draw_expression, sample_views

LAYOUT = 1
HAIR_CELLS = 12  # of the lattice that hair grows and thins by, along its longest side


class GeometryVariables(nn.Module):
    """The optimised variables. neutral (Q,3) and residuals, each (Q,3): differentials of the body's motion; codes, each
    (B,): added to an expression's coefficients; hair: added to distances, on a lattice."""

    def __init__(self, scene: Scene, lattice: Lattice | None) -> None:
        super().__init__()
        body, others = len(scene.body.vertices), len(scene.displacements) - 1
        basis = len(scene.model.expression)

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(*shape, device=scene.device))

        self.neutral = zeros(body, 3)
        self.codes = nn.ParameterList(zeros(basis) for _ in range(others))
        self.residuals = nn.ParameterList(zeros(body, 3) for _ in range(others))
        self.hair = zeros(*lattice.shape) if lattice is not None else None


@dataclass(frozen=True)
class Shape:
    """A head in one expression: motion (Q,3) of the body from the start's neutral, change (P,3) of the expression's
    displacement, None of neutral's, vertices (P,3) of the head model."""

    motion: Tensor
    change: Tensor | None
    vertices: Tensor


class Sculpture:
    """The head as a function of the start and the variables."""

    def __init__(self, scene: Scene, config: GeometryConfig) -> None:
        device, model = scene.device, scene.model
        self.start, self.config = scene, config
        self.lattice = None if scene.hair is None else Lattice(scene.hair.points, HAIR_CELLS)
        self.variables = GeometryVariables(scene, self.lattice)
        self.hair = None if scene.hair is None else HairSurface(scene.hair)
        if scene.hair is not None:
            inside = ~rim(scene.hair.tets, len(scene.hair.sdf))
            self.hair_freedom = inside * freedom(scene.hair.seen, config.held, config.hair_trust)
        body = scene.body.vertices.cpu().numpy()
        local = scene.body.place.cpu().numpy()[model.triangles]
        local = local[(local < len(body)).all(1)]
        vertices = scene.neutral.cpu().numpy()[body].astype("float64")
        self.solver = LargeSteps(uniform_laplacian(local, len(body)), config.smoothing, device)
        self.basis = torch.from_numpy(model.expression).to(device).flatten(1)
        self.loose = 1 - torch.from_numpy(model.rigid[body]).to(device)[:, None]
        area = torch.from_numpy(vertex_areas(vertices, local)).float().to(device)
        seen = scene.seen[scene.body.vertices]
        self.weight, self.unseen = area / area.sum(), 1 - seen
        edges = edges_of(local)
        spread = torch.from_numpy(feathered(seen.cpu().numpy(), vertices, edges, config.feather)).float().to(device)
        self.freedom = freedom(spread, config.held, config.trust)[:, None]
        mirror = torch.from_numpy(model.mirror).to(device)[scene.body.vertices]
        place = scene.body.place[mirror]
        self.mirror = torch.where(place < len(body), place, torch.arange(len(body), device=device))
        self.flip = torch.tensor([-1.0, 1.0, 1.0], device=device)
        self.edges = torch.from_numpy(edges).to(device)
        a, b = self.edges.unbind(1)
        at = scene.neutral[scene.body.vertices]
        share = (area / torch.bincount(self.edges.flatten(), minlength=len(area)))[self.edges].sum(1)
        self.stiffness = share / share.sum() / (at[a] - at[b]).square().sum(1).clamp_min(1e-8)

    def neutral_motion(self) -> Tensor:
        """(Q,3) of the body."""
        return self.freedom * self.solver.from_differential(self.variables.neutral)

    def expression_change(self, expression: int) -> Tensor:
        """(P,3) added to an expression's displacement; expression 1 .. E-1."""
        code, residual = self.variables.codes[expression - 1], self.variables.residuals[expression - 1]
        smooth = self.loose * self.solver.from_differential(residual)
        return (code @ self.basis).view(-1, 3) + self.start.body.whole(smooth)

    def pose(self, expression: int) -> Shape:
        """The current head. Gradients of an expression's pictures reach only that expression, those of neutral ones
        only the person, so that errors of an expression do not change the face."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and expression == 0):
            motion = self.neutral_motion()
        vertices = self.start.posed(expression) + self.start.body.whole(motion)
        if not expression:
            return Shape(motion, None, vertices)
        change = self.expression_change(expression)
        return Shape(motion, change, vertices + change)

    def lattice_values(self) -> Tensor:
        """(N,) added to the distances of unseen hair."""
        assert self.lattice is not None and self.variables.hair is not None
        return self.lattice(self.variables.hair)

    def sdf(self) -> Tensor:
        """(N,) current distances of the hair volume."""
        assert self.start.hair is not None
        return self.start.hair.sdf + self.hair_freedom * self.lattice_values()

    def surface(self, expression: int) -> tuple[Shape, Tensor, Tensor]:
        """The head, and the surface to render: vertices (V,3) and triangles (F,3) of skin and hair."""
        shape = self.pose(expression)
        triangles = self.start.skin.triangles
        if self.hair is None:
            return shape, shape.vertices, triangles
        with torch.set_grad_enabled(torch.is_grad_enabled() and expression == 0):
            sdf = self.sdf()
        carried = shape.vertices[self.start.body.vertices] - self.start.neutral[self.start.body.vertices]
        hair, faces = self.hair(sdf, carried)
        return shape, torch.cat([shape.vertices, hair]), torch.cat([triangles, faces + len(shape.vertices)])

    def regularization(self, shape: Shape) -> Tensor:
        """Penalties for leaving the evidence, for strain, and for asymmetry of unseen skin, averaged over the surface's
        area, whatever its tessellation."""
        config = self.config
        if shape.change is not None:
            change = shape.change[self.start.body.vertices]
            held = (self.weight * (change / config.expression_trust).square().sum(1)).sum()
            return config.hold_weight * held + config.strain_weight * self._strain(change)
        motion = shape.motion
        held = (self.weight * (motion / (self.freedom * config.trust)).square().sum(1)).sum()
        at = self.start.neutral[self.start.body.vertices] + motion
        apart = (at - self.flip * gather_rows(at, self.mirror)) / config.trust
        alike = (self.weight * self.unseen * apart.square().sum(1)).sum()
        loss = config.hold_weight * held + config.strain_weight * self._strain(motion)
        loss = loss + config.symmetry_weight * alike
        if self.hair is not None and self.start.hair is not None:
            loss = loss + config.hold_weight * (self.lattice_values() / config.hair_trust).square().mean()
        return loss

    def _strain(self, motion: Tensor) -> Tensor:
        """Mean squared strain of a motion (Q,3) along the edges."""
        ends = gather_rows(motion, self.edges.reshape(-1)).view(-1, 2, 3)
        return (self.stiffness * (ends[:, 0] - ends[:, 1]).square().sum(1)).sum()

    @torch.no_grad()
    def scene(self) -> Scene:
        """The current scene."""
        motion = self.neutral_motion()
        changes = [self.expression_change(e) for e in range(1, len(self.start.displacements))]
        zero = torch.zeros_like(self.start.neutral)
        hair = self.start.hair
        if hair is not None:
            hair = replace(hair, points=hair.points + hair.anchor(motion), sdf=self.sdf())
        return replace(
            self.start,
            neutral=self.start.neutral + self.start.body.whole(motion),
            displacements=self.start.displacements + torch.stack([zero, *changes]),
            hair=hair,
        )


def run_geometry(
    scene: Scene,
    prior: Prior,
    who: Conditioning,
    config: DistillationConfig,
    run: RunConfig,
    callbacks: Callbacks = SILENT,
) -> tuple[Scene, Report]:
    """Distil the shape of a scene with the adapters of "normal"; the report has the motion by region."""
    who = use_domain(prior, who, scene, config, "normal")
    stage_config = config.geometry
    sculpture = Sculpture(scene, stage_config)
    variables = sculpture.variables
    groups = [
        {"params": [variables.neutral], "lr": stage_config.lr_neutral},
        {"params": list(variables.codes), "lr": stage_config.lr_expression},
        {"params": list(variables.residuals), "lr": stage_config.lr_residual},
        {"params": [variables.hair] if variables.hair is not None else [], "lr": stage_config.lr_hair},
    ]
    optimiser = UniformAdam([group for group in groups if group["params"]])
    unseen = Unseen(scene)

    def loss_of(draw: Draw) -> Tensor:
        expression = draw_expression(draw.numpy, len(who.names), stage_config.neutral_share)
        views = sample_views(draw.numpy, config.views, stage_config.views, unseen)
        shape, vertices, triangles = sculpture.surface(expression)
        callbacks.poll()
        pictures, _ = normal_map(vertices, triangles, [v.camera for v in views], prior.image_size)
        condition = conditions(prior, who, config, expression, views, "normal")
        loss = prior_loss(prior, pictures, condition, stage_config.score, draw.progress, draw.torch)
        return loss + sculpture.regularization(shape)

    start: list[Tensor | str] = [
        scene.neutral,
        scene.displacements,
        scene.seen,
        who.y_id,
        who.y_exp,
        repr(config),
        repr(who.texts),
        who.words,
    ]
    stage = Stage(
        "geometry",
        1,
        stage_config.steps.of(run.quality),
        stage_config.checkpoint_every,
        LAYOUT,
        start if scene.hair is None else [*start, scene.hair.sdf],
    )
    with prior.interrupted_by(callbacks.poll):
        optimise(stage, variables, optimiser, loss_of, run, callbacks, sculpture.scene)
    moved = sculpture.scene()
    return moved, geometry_report(scene, moved, who.names)
