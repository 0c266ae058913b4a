"""The alpha-divergence between a teacher's and a student's answers (AlphaNet, Wang et al., ICML 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

ALPHA_LOW, ALPHA_HIGH, RATIO_LIMIT = -1.0, 1.0, 5.0  # as published for ImageNet supernets


def alpha_divergence(
    student: Tensor, teacher: Tensor, alpha: float, limit: float = RATIO_LIMIT
) -> tuple[Tensor, Tensor]:
    """D_alpha(teacher || student) = sum q ((p / q)^alpha - 1) / (alpha (alpha - 1)) of each image.

    alpha = 1 is the Kullback-Leibler divergence KL(p || q), alpha = 0 is KL(q || p). Large (p / q)^alpha are cut off at
    `limit`, or single images would take over the gradient.

    Args:
        student: logits, float [n, classes]; q is their softmax.
        teacher: probabilities p, float [n, classes].
        alpha: which divergence.
        limit: of (p / q)^alpha.

    Returns:
        The divergence [n], without gradient, and a surrogate [n] whose gradient is that of the divergence.
    """
    log_q = student.log_softmax(dim=1)
    q = log_q.detach().exp()
    p = teacher.detach().clamp_min(1e-12)
    ratio = p / q.clamp_min(1e-12)
    if abs(alpha) < 1e-3:
        ratio = ratio.clamp(1 / limit**2, limit)
        value, slope = -ratio.log(), ratio.log()
    elif abs(alpha - 1) < 1e-3:
        value, slope = ratio * ratio.log(), ratio
    else:
        power = ratio.pow(alpha).clamp(max=limit)
        value, slope = (power - 1) / (alpha * (alpha - 1)), power / alpha
    return (q * value).sum(1), -(q * slope * log_q).sum(1)


def adaptive_alpha_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over the batch of the larger of two divergences, one that punishes overlooking (alpha = -1) a class of the
    teacher's and one that punishes inventing one (alpha = 1). Its gradient is the surrogate's.

    Args:
        student: logits, float [n, classes].
        teacher: probabilities, float [n, classes].
    """
    low, low_gradient = alpha_divergence(student.float(), teacher, ALPHA_LOW)
    high, high_gradient = alpha_divergence(student.float(), teacher, ALPHA_HIGH)
    gradient = torch.where(low > high, low_gradient, high_gradient)
    return (torch.maximum(low, high) + gradient - gradient.detach()).mean()
