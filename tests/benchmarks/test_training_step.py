"""What makes training and evaluating fast on this CPU, as ratios within one run.

`pytest -m benchmark -s tests/benchmarks/test_training_step.py -k sandwich`, then `-k answers`: a process of its own for
each, because keeping freed memory cannot be undone.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from nas_edge.spaces import preset
from nas_edge.supernet.static import StaticNet
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.measuring.answers import answers, float_model
from nas_edge.training.objectives.batches import resize_batch
from nas_edge.training.objectives.losses import Sandwich, soft_cross_entropy
from nas_edge.training.recipe import Recipe
from nas_edge.training.running.memory import keep_freed_memory
from nas_edge.training.supernet_run import middle

pytestmark = pytest.mark.benchmark


def median_s(work: Callable[[], object], times: int = 4) -> float:
    """Seconds, the first time left out."""
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds[1:]))


def test_a_sandwich_step_in_two_precisions_and_with_freed_memory_kept() -> None:
    net = Supernet(preset("lite0"), 6).train().to(memory_format=torch.channels_last)
    images = torch.randn(64, 3, 160, 160).contiguous(memory_format=torch.channels_last)
    targets = functional.one_hot(torch.arange(64) % 6, 6).float()

    def step_s(bf16: bool) -> float:
        rng = np.random.default_rng(0)
        return median_s(lambda: Sandwich(net, Recipe(), bf16).backward(images, targets, False, rng))

    given_back = step_s(False)
    assert keep_freed_memory()  # cannot be taken back: the rest of this process keeps it
    float32, bfloat16 = step_s(False), step_s(True)
    print(f"\nsandwich step of lite0, 64 images, {torch.get_num_threads()} threads")
    print(f"float32   {given_back:.2f} s, freed memory kept {float32:.2f} s: ratio {given_back / float32:.2f}")
    print(f"bfloat16  {bfloat16:.2f} s, over float32: ratio {bfloat16 / float32:.2f}")


@pytest.mark.parametrize(("space", "side", "batch"), [("mbv3-32", 32, 128), ("lite0", 128, 64)])
def test_a_sandwich_step_against_its_four_networks_as_plain_ones(space: str, side: int, batch: int) -> None:
    """Forward and backward; the four are extracted, and learn from labels as the largest does."""
    keep_freed_memory()
    template = preset(space)
    net = Supernet(template.with_resolutions(tuple(r for r in template.resolutions if r <= side)), 10).train()
    net.to(memory_format=torch.channels_last)
    recipe = Recipe(drop_connect=0.0, dropout=0.0)
    images = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    targets = functional.one_hot(torch.arange(batch) % 10, 10).float()
    ratios = []
    for number in range(5):
        archs = [net.space.largest(), net.space.smallest(), *net.space.sample(2, np.random.default_rng(number))]
        plain = [net.extract(arch).train() for arch in archs]

        def sandwich(seed: int = number) -> None:
            Sandwich(net, recipe, False).backward(images, targets, False, np.random.default_rng(seed))
            net.zero_grad()

        def four(networks: list[StaticNet] = plain) -> None:
            for network in networks:
                logits = network(resize_batch(images, network.resolution))
                soft_cross_entropy(logits, targets, recipe.label_smoothing).backward()
                network.zero_grad()

        ratios.append(median_s(sandwich, 3) / median_s(four, 3))
    print(f"\n{space}, {batch} images of {side} px, {torch.get_num_threads()} threads: a sandwich step takes")
    print(f"{np.median(ratios):.3f} of the time of its four networks ({min(ratios):.3f} to {max(ratios):.3f})")


def test_answers_through_onnx_runtime_and_through_torch() -> None:
    net = Supernet(preset("lite0"), 6).eval()
    subnet = net.extract(middle(net.space, 6))
    batch = torch.randn(64, 3, subnet.resolution, subnet.resolution).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for kept in (False, True):
            assert not kept or keep_freed_memory()  # cannot be taken back: the rest of this process keeps it
            eager = median_s(lambda: [subnet(batch) for _ in range(8)])
            quick = median_s(lambda: answers(float_model(subnet), [batch] * 8))
            print(f"\n512 images, freed memory kept: {kept}")
            print(f"torch {eager:.2f} s, ONNX Runtime with loading {quick:.2f} s: ratio {eager / quick:.2f}")
