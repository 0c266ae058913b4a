"""The alpha-divergence: its gradient is that of the formula; its ends are the two Kullback-Leibler divergences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nas_edge.training.objectives.divergence import adaptive_alpha_loss, alpha_divergence


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def teacher() -> torch.Tensor:
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).softmax(1)


@pytest.mark.parametrize("alpha", [-1.0, -0.5, 0.3, 2.0])
def test_value_and_gradient_are_those_of_the_formula(logits, teacher, alpha: float) -> None:
    student = logits.clone().requires_grad_()
    value, surrogate = alpha_divergence(student, teacher, alpha, limit=1e9)
    surrogate.sum().backward()
    other = logits.clone().requires_grad_()
    q = other.softmax(1)
    formula = (q * ((teacher / q) ** alpha - 1)).sum(1) / (alpha * (alpha - 1))
    formula.sum().backward()
    assert torch.allclose(value, formula.detach())
    assert torch.allclose(student.grad, other.grad)


def test_one_is_distillation_by_cross_entropy_and_zero_the_reverse(logits, teacher) -> None:
    for alpha in (1.0, 0.0):
        student, other = (logits.clone().requires_grad_() for _ in range(2))
        value, surrogate = alpha_divergence(student, teacher, alpha, limit=1e9)
        surrogate.sum().backward()
        log_q = other.log_softmax(1)
        forward, reverse = (teacher * (teacher.log() - log_q)).sum(1), (log_q.exp() * (log_q - teacher.log())).sum(1)
        expected = forward if alpha else reverse
        expected.sum().backward()
        assert torch.allclose(value, expected.detach())
        assert torch.allclose(student.grad, other.grad, atol=1e-9)


def test_a_student_that_agrees_is_left_alone(logits) -> None:
    student = logits.clone().requires_grad_()
    adaptive_alpha_loss(student, logits.softmax(1)).backward()
    assert student.grad.abs().max() < 1e-6


def test_one_class_that_the_student_denies_does_not_take_over() -> None:
    student = torch.tensor([[20.0, 0.0], [0.0, 0.0]], requires_grad=True)
    adaptive_alpha_loss(student, torch.tensor([[0.001, 0.999], [0.3, 0.7]])).backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 10


def of_alphanet(student: torch.Tensor, teacher: torch.Tensor, low: float, high: float, clip: float) -> torch.Tensor:
    """Gradient of the student's logits as AlphaNet's own `AdaptiveLossSoft` (its loss_ops.py) defines it."""

    def divergence(alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
        ratio = (teacher / student.softmax(1)).detach()
        if alpha == 1:
            f, rho = ratio * ratio.log(), ratio
        else:
            power = ratio.pow(alpha).clamp(0, clip)
            f, rho = (power - 1) / alpha / (alpha - 1), power / alpha + 1 / alpha / (alpha - 1)
        q = student.softmax(1).detach()
        return (q * f).sum(1), -(q * rho * student.log_softmax(1)).sum(1)

    (left, left_surrogate), (right, right_surrogate) = divergence(low), divergence(high)
    (gradient,) = torch.autograd.grad(torch.where(left > right, left_surrogate, right_surrogate).mean(), student)
    return gradient


def test_the_loss_and_its_clipping_are_those_of_alphanet() -> None:
    generator = torch.Generator().manual_seed(0)
    student, other = (4 * torch.randn(200, 6, generator=generator) for _ in range(2))
    teacher = other.softmax(1)
    student.requires_grad_()
    loss = adaptive_alpha_loss(student, teacher)
    (found,) = torch.autograd.grad(loss, student)
    assert torch.allclose(found, of_alphanet(student, teacher, -1.0, 1.0, 5.0), atol=1e-6)
    assert not torch.allclose(found, of_alphanet(student, teacher, -1.0, 1.0, 1e9), atol=1e-3)  # it does cut off
    larger = [alpha_divergence(student.detach(), teacher, alpha)[0] for alpha in (-1.0, 1.0)]
    assert float(loss.detach()) == pytest.approx(float(torch.maximum(*larger).mean()))


def test_following_it_brings_the_answers_together(logits, teacher) -> None:
    student = logits.clone().requires_grad_()
    before = F.kl_div(student.detach().log_softmax(1), teacher, reduction="batchmean")
    optimiser = torch.optim.SGD([student], 2.0)
    for _ in range(200):
        optimiser.zero_grad()
        adaptive_alpha_loss(student, teacher).backward()
        optimiser.step()
    assert F.kl_div(student.detach().log_softmax(1), teacher, reduction="batchmean") < before / 20
