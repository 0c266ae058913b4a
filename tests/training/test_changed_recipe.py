"""What an error advises to change can be changed in the middle of a run, and nothing else can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_edge.data import Dataset
from nas_edge.errors import TrainingError
from nas_edge.spaces import Template
from nas_edge.training.objectives.losses import Sandwich
from nas_edge.training.objectives.phases import Phase
from nas_edge.training.recipe import Recipe, recipe_differences
from nas_edge.training.running.loop import train
from nas_edge.training.running.stepping import Run

from .test_device import setting
from .test_loop import RECIPE

SLOWER = {"learning_rate": RECIPE.learning_rate / 2}


def saved(dataset: Dataset, template: Template, out: Path, attempt: int) -> None:
    run = Run(setting(dataset, template, out, RECIPE))
    at = run.resume()
    run.step(at, at.horizon, np.arange(RECIPE.batch_size))
    run.save(replace(at, step=1, attempt=attempt))


@pytest.mark.parametrize(
    ("attempt", "changes", "kept", "told"),
    [
        (0, {"accumulate": 2}, 0, r"accumulate: 1 then, 2 now"),
        (2, {"accumulate": 2}, 2, r"accumulate: 1 then, 2 now"),
        (2, SLOWER, 0, r"learning_rate: 0.004 then, 0.002 now"),
        (2, {}, 2, ""),
    ],
)
def test_a_run_goes_on_with_what_was_advised_and_says_so(
    dataset: Dataset, striped_template: Template, tmp_path: Path, attempt: int, changes: Any, kept: int, told: str
) -> None:
    saved(dataset, striped_template, tmp_path, attempt)
    heard: list[str] = []
    at = Run(setting(dataset, striped_template, tmp_path, replace(RECIPE, **changes))).resume(heard.append)
    assert (at.step, at.attempt) == (1, kept)
    assert [told in text for text in heard] == [True] * bool(changes)


@pytest.mark.parametrize(
    ("attempt", "changes"),
    [(0, SLOWER), (2, {"learning_rate": 0.005}), (2, {"weight_decay": 0.1}), (0, {"accumulate": 2, "seed": 1})],
)
def test_nothing_else_can_be_changed(
    dataset: Dataset, striped_template: Template, tmp_path: Path, attempt: int, changes: Any
) -> None:
    saved(dataset, striped_template, tmp_path, attempt)
    with pytest.raises(TrainingError, match="was trained with another recipe"):
        Run(setting(dataset, striped_template, tmp_path, replace(RECIPE, **changes))).resume()


def test_a_run_that_diverged_is_rescued_by_the_lower_learning_rate_that_it_asks_for(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    class Hot(Sandwich):
        steps = 0

        def backward(self, *given: Any) -> float:
            self.steps += 1
            return super().backward(*given) if self.steps < 9 else float("nan")

    at = setting(dataset, striped_template, tmp_path, RECIPE)
    with pytest.raises(TrainingError, match=r"in spite of 3 returns .* lower learning_rate"):
        train(replace(at, objective=Hot(at.net, RECIPE, False)))
    heard: list[str] = []
    calm = setting(dataset, striped_template, tmp_path, replace(RECIPE, **SLOWER))
    assert train(calm, progress=lambda done, total, text: heard.append(text)).epochs == RECIPE.epochs
    assert "learning_rate: 0.004 then, 0.002 now" in heard[0]


def test_of_phases_any_may_be_slower_after_a_divergence() -> None:
    phases = (Phase("full", 2, 4e-3), Phase("all", 2, 2e-3, kernels=None, depths=None, expands=None))
    then = Recipe(phases=phases, epochs=4, teacher_epochs=0).to_dict()
    now = Recipe(phases=(phases[0], replace(phases[1], learning_rate=1e-3)), epochs=4, teacher_epochs=0).to_dict()
    assert recipe_differences(then, now) == "phases.all.learning_rate: 0.002 then, 0.001 now"
    assert recipe_differences(then, now, diverged=True) == ""
    assert recipe_differences(now, then, diverged=True) == "phases.all.learning_rate: 0.001 then, 0.002 now"
