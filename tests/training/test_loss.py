"""The joint objective against the paper's equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from export.training.loss import SCORE_WEIGHT, joint_loss


def test_it_is_the_papers_equation() -> None:
    """Equation 1, written out in loops, gives the same number."""
    rng = np.random.default_rng(0)
    f, m = rng.normal(0, 2, (4, 5, 5)), rng.choice([-1.0, 1.0], (4, 5, 5))
    y, score = np.array([1.0, -1.0, 1.0, -1.0]), rng.normal(0, 2, 4)
    total = 0.0
    for k in range(4):
        pixels = sum(
            math.log(1 + math.exp(-m[k, i, j] * f[k, i, j])) for i in range(5) for j in range(5)
        )
        total += (1 + y[k]) / (2 * 25) * pixels
        total += 1 / 32 * math.log(1 + math.exp(-y[k] * score[k]))
    loss = joint_loss(*map(torch.from_numpy, (f, score, m, y)))
    assert loss.total.item() == pytest.approx(total / 4)
    assert pytest.approx(1 / 32) == SCORE_WEIGHT


def test_negatives_do_not_train_the_mask() -> None:
    """A negative's mask logits get no gradient at all; a positive's do."""
    f = torch.randn(2, 4, 4, requires_grad=True)
    score = torch.zeros(2, requires_grad=True)
    joint_loss(f, score, torch.ones(2, 4, 4), torch.tensor([1.0, -1.0])).total.backward()
    assert f.grad is not None
    assert score.grad is not None
    assert f.grad[0].abs().min() > 0
    assert f.grad[1].abs().max() == 0
    assert score.grad.abs().min() > 0


def test_masks_are_compared_at_the_targets_size() -> None:
    """Logits are brought to the mask's size bilinearly; right and certain ones cost nothing."""
    masks = torch.ones(1, 8, 8)
    masks[..., :4] = -1
    logits = torch.full((1, 2, 2), 60.0)
    logits[..., 0] = -60
    loss = joint_loss(logits, torch.tensor([50.0]), masks, torch.tensor([1.0]))
    assert loss.total.item() < 1e-3
    wrong = joint_loss(-logits, torch.tensor([-50.0]), masks, torch.tensor([1.0]))
    assert wrong.mask.item() > 20
    assert wrong.score.item() == pytest.approx(50)
