"""DeepMask's joint objective (2015, equation 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

SCORE_WEIGHT = 1 / 32


@dataclass(frozen=True)
class JointLoss:
    """The objective and its two parts, each a scalar tensor."""

    total: Tensor
    mask: Tensor
    score: Tensor


def joint_loss(
    mask_logits: Tensor,
    score_logits: Tensor,
    masks: Tensor,
    labels: Tensor,
    score_weight: float = SCORE_WEIGHT,
) -> JointLoss:
    """Mean over the batch of the mask loss of positives plus the weighted score loss of all.

    loss_k = (1 + y_k) / (2 w h) * sum_ij log(1 + exp(-m_ij f_ij))
             + lambda * log(1 + exp(-y_k f_score))

    Args:
        mask_logits: f, float [B, S, S]; brought to the masks' size bilinearly.
        score_logits: float [B].
        masks: m, float [B, T, T] of +1 and -1; rows of negatives are not looked at.
        labels: y, float [B] of +1 and -1.
        score_weight: lambda.
    """
    logits = F.interpolate(
        mask_logits[:, None], masks.shape[-2:], mode="bilinear", align_corners=False
    )[:, 0]
    per_sample = F.softplus(-masks * logits).mean((1, 2))
    mask = ((1 + labels) / 2 * per_sample).mean()
    score = F.softplus(-labels * score_logits).mean()
    return JointLoss(mask + score_weight * score, mask, score)
