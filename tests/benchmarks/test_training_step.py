"""A sandwich step on this CPU in two precisions: `pytest -m benchmark -s tests/benchmarks/test_training_step.py`."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch.nn import functional

from nas_edge.spaces import preset
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.losses import Sandwich
from nas_edge.training.memory import keep_freed_memory
from nas_edge.training.recipe import Recipe

pytestmark = pytest.mark.benchmark


def test_a_sandwich_step_in_both_precisions() -> None:
    keep_freed_memory()
    net = Supernet(preset("lite0"), 6).train().to(memory_format=torch.channels_last)
    images = torch.randn(64, 3, 160, 160).contiguous(memory_format=torch.channels_last)
    targets = functional.one_hot(torch.arange(64) % 6, 6).float()
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(4):
        for bf16, taken in seconds.items():
            begun = time.perf_counter()
            Sandwich(net, Recipe(), bf16).backward(images, targets, False, np.random.default_rng(number))
            taken.append(time.perf_counter() - begun)
    float32, bfloat16 = (float(np.median(seconds[bf16][1:])) for bf16 in (False, True))
    print(f"\nsandwich step of lite0, 64 images, {torch.get_num_threads()} threads")
    print(f"float32 {float32:.2f} s, bfloat16 {bfloat16:.2f} s, ratio {bfloat16 / float32:.2f}")
