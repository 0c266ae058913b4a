"""A teacher from outside: what it says, and what the largest learns from it."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from nas_edge.errors import ConfigError
from nas_edge.spaces import Template
from nas_edge.supernet.static import StaticNet
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.losses import Sandwich
from nas_edge.training.objectives.teacher import NetworkTeacher, Teacher, TorchTeacher
from nas_edge.training.recipe import Recipe


class Fixed:
    """A teacher that says the same of every picture."""

    def __init__(self, side: int, probabilities: list[float]) -> None:
        self.side, self.answer = side, torch.tensor(probabilities)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        return self.answer.expand(len(images), -1)


def test_it_answers_as_its_network_does(striped_template: Template) -> None:
    torch.manual_seed(0)
    net = Supernet(striped_template, 2).eval()
    subnet = net.extract(net.space.largest())
    images = torch.randn(5, 3, subnet.resolution, subnet.resolution)
    teacher = NetworkTeacher.of(subnet)
    assert teacher.side == subnet.resolution
    with torch.no_grad():
        expected = subnet(images).softmax(1)
    assert torch.allclose(teacher.probabilities(images), expected, atol=1e-5)
    assert teacher.probabilities(torch.randn(2, 3, 40, 40)).shape == (2, 2)


@pytest.mark.parametrize("kind", [NetworkTeacher.of, TorchTeacher])
def test_it_can_be_sent_to_another_process_before_and_after_it_was_asked(
    striped_template: Template, kind: Callable[[StaticNet], Teacher]
) -> None:
    net = Supernet(striped_template, 2).eval()
    teacher = kind(net.extract(net.space.largest()))
    images = torch.randn(2, 3, 24, 24)
    # Only what this test made, as spawning sends it to a process of the same run. No file is read by pickle.
    unasked = pickle.loads(pickle.dumps(teacher))
    expected = teacher.probabilities(images)
    assert torch.equal(unasked.probabilities(images), expected)
    assert torch.equal(pickle.loads(pickle.dumps(teacher)).probabilities(images), expected)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_the_largest_learns_from_a_blend_of_labels_and_answers(striped_template: Template, weight: float) -> None:
    images, targets = torch.randn(4, 3, 24, 24), functional.one_hot(torch.tensor([0, 1, 0, 1])).float()
    recipe = Recipe(teacher_weight=weight, label_smoothing=0.0, drop_connect=0.0, dropout=0.0)

    def gradient(teacher: Fixed | None, targets: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        net = Supernet(striped_template, 2).train()
        Sandwich(net, recipe, False, teacher).backward(images, targets, True, np.random.default_rng(0))
        return net.classifier.linear.weight.grad

    blended = (1 - weight) * targets + weight * torch.tensor([0.1, 0.9])
    assert torch.allclose(gradient(Fixed(24, [0.1, 0.9]), targets), gradient(None, blended), atol=1e-6)


def test_a_weight_beyond_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="teacher_weight must be within"):
        Recipe(teacher_weight=1.5)
