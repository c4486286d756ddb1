# SPDX-License-Identifier: GPL-3.0-or-later
"""UniformAdam, by hand."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from idto3d.checkpoint import load_checkpoint, save_checkpoint
from idto3d.distill.uniform_adam import UniformAdam

GRADIENTS = torch.tensor([[3.0, -4.0, 0.0], [1.0, 2.0, -0.5], [-8.0, 0.1, 0.0]])


class Variables(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.moved, self.left = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(2))


def descend(variables: Variables, optimiser: UniformAdam, gradients: Tensor) -> None:
    for gradient in gradients:
        variables.moved.grad = gradient.clone()
        optimiser.step()


def test_the_first_step_keeps_the_direction() -> None:
    variables = Variables()
    descend(variables, UniformAdam(variables.parameters(), lr=0.1), GRADIENTS[:1])
    # 3 and -4: the largest moves by lr, the other by three quarters of it. Adam would move both by lr.
    torch.testing.assert_close(variables.moved.detach(), torch.tensor([-0.075, 0.1, 0.0]))
    assert variables.left.tolist() == [1.0, 1.0]


def test_two_steps_by_hand() -> None:
    variables = Variables()
    descend(variables, UniformAdam(variables.parameters(), lr=0.1, betas=(0.5, 0.75)), GRADIENTS[:2])
    # means 0.25 g1 + 0.5 g2 over 1 - 0.25; squares 0.75 * 0.25 * 16 + 0.25 * 4 = 4 over 1 - 0.5625
    mean, square = (0.25 * GRADIENTS[0] + 0.5 * GRADIENTS[1]) / 0.75, 4 / 0.4375
    wanted = torch.tensor([-0.075, 0.1, 0.0]) - 0.1 * mean / square**0.5
    torch.testing.assert_close(variables.moved.detach(), wanted)


def test_a_huge_gradient_leaves_no_nan() -> None:
    variables = Variables()
    huge = torch.tensor([[3e38, 0.0, 0.0]])
    descend(variables, UniformAdam(variables.parameters(), lr=0.1), torch.cat([huge, GRADIENTS]))
    assert bool(torch.isfinite(variables.moved).all())


@pytest.mark.parametrize("done", [1, 2])
def test_a_checkpoint_goes_on_as_if_nothing_had_been(done: int, tmp_path: Path) -> None:
    whole, first, second = Variables(), Variables(), Variables()
    descend(whole, UniformAdam(whole.parameters()), GRADIENTS)
    optimiser = UniformAdam(first.parameters())
    descend(first, optimiser, GRADIENTS[:done])
    save_checkpoint(tmp_path, first, optimiser, done)
    resumed = UniformAdam(second.parameters())
    assert load_checkpoint(tmp_path, second, resumed) == done
    descend(second, resumed, GRADIENTS[done:])
    assert torch.equal(second.moved, whole.moved)
