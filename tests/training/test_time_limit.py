"""A run with a time limit ends in time and annealed, on machines faster and slower than thought."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.data import Dataset, Preprocess
from nas_edge.spaces import Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.objectives.losses import Sandwich
from nas_edge.training.recipe import Recipe
from nas_edge.training.running import stepping
from nas_edge.training.running.checkpoint import Position
from nas_edge.training.running.loop import Setting, Trained, train
from nas_edge.training.running.pace import Pace
from nas_edge.training.running.schedule import FirstEpochs, Horizon, learning_rate

STEPS = 6  # an epoch: 96 pictures in batches of 16


class Machine:
    """Stands for the clock and the work: a step takes as long as it says, no weights are trained."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, whole_s: float, alone_s: float, evaluation_s: float) -> None:
        self.now, self.whole_s, self.alone_s, self.evaluation_s = 0.0, whole_s, alone_s, evaluation_s
        self.rates: list[float] = []
        self.alone: list[bool] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(stepping.Run, "step", lambda run, at, horizon, indices: self.step(run, at, horizon))
        monkeypatch.setattr(stepping.Run, "estimate_epoch_s", lambda run: STEPS * self.whole_s)

    def step(self, run: stepping.Run, at: Position, horizon: Horizon) -> float:
        recipe = run.setting.recipe
        self.alone.append(run.teacher_only(at.step, horizon))
        self.rates.append(learning_rate(1.0, at.step, run.first(recipe.warmup_epochs), horizon))
        work = (run.side(horizon.progress(at.step)) / run.setting.side) ** 2
        self.now += work * (self.alone_s if self.alone[-1] else self.whole_s)
        return 1.0

    def evaluate(self, epoch: int, average: object) -> dict[str, float]:
        self.now += self.evaluation_s
        return {}


def setting(dataset: Dataset, template: Template, out: Path, epochs: int, first_side: int = 0) -> Setting:
    recipe = Recipe(epochs=epochs, teacher_epochs=4, warmup_epochs=2.0, batch_size=16, first_side=first_side)
    net = Supernet(template, 2)
    return Setting(net, Sandwich(net, recipe, False), dataset, Preprocess(), 24, recipe, out)


@pytest.mark.parametrize(("slower", "first_side"), [(0.4, 0), (1.0, 0), (3.0, 0), (1.0, 8)])
def test_a_machine_of_any_speed_ends_in_time_and_annealed(
    dataset: Dataset,
    striped_template: Template,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slower: float,
    first_side: int,
) -> None:
    machine = Machine(monkeypatch, whole_s=10.0, alone_s=4.0, evaluation_s=20.0)
    real, before = machine.step, machine.whole_s

    def changing(run: stepping.Run, at: Position, horizon: Horizon) -> float:
        if at.step == 40:  # other programs come or go
            machine.whole_s = before * slower
        return real(run, at, horizon)

    machine.step = changing  # type: ignore[method-assign]
    at = setting(dataset, striped_template, tmp_path, 500, first_side)
    done = train(at, time_limit_s=3600.0, after_epoch=machine.evaluate)
    assert done.cut_short
    assert 0.93 * 3600 < done.seconds < 3600 + 30 + 20  # at most a step and an evaluation beyond
    assert max(machine.rates) > 0.8
    assert machine.rates[-1] < 0.01
    jumps = np.diff(machine.rates[len(machine.rates) // 4 :])
    assert np.abs(jumps).max() < 0.05  # moving the end leaves the rate continuous
    assert sum(machine.alone) == 4 * STEPS  # as many as the recipe says: it is less than a fifth of the run


def test_a_run_cut_very_short_still_warms_up_and_trains_subnets(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, whole_s=10.0, alone_s=4.0, evaluation_s=0.0)
    done = train(setting(dataset, striped_template, tmp_path, 30), time_limit_s=200.0)
    assert (done.epochs, done.seconds <= 200) == (math.ceil(done.steps / STEPS), True)
    assert 15 < done.steps < 25
    assert sum(machine.alone) <= 0.3 * done.steps  # not the four epochs that a whole run begins with
    assert max(machine.rates) > 0.7
    assert machine.rates[-1] < 0.05


def test_a_machine_that_is_fast_enough_trains_as_without_a_limit(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, whole_s=0.01, alone_s=0.01, evaluation_s=0.0)
    free = train(setting(dataset, striped_template, tmp_path / "free", 30))
    rates, machine.rates = machine.rates, []
    bound = train(setting(dataset, striped_template, tmp_path / "bound", 30), time_limit_s=3600.0)
    assert free == replace(bound, seconds=free.seconds) == Trained(30, 180, free.seconds, False)
    assert machine.rates == rates


def test_a_resumed_run_goes_on_along_the_curve_and_counts_what_was_spent(
    dataset: Dataset, striped_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, whole_s=10.0, alone_s=10.0, evaluation_s=0.0)

    def die(done: float, total: float, text: str) -> None:
        if done > 10.1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(setting(dataset, striped_template, tmp_path, 500), time_limit_s=1200.0, progress=die)
    done = train(setting(dataset, striped_template, tmp_path, 500), time_limit_s=1200.0)
    assert done.seconds == pytest.approx(1200, abs=20)
    assert np.abs(np.diff(machine.rates[30:])).max() < 0.05
    assert machine.rates[-1] < 0.01


def test_images_a_second_and_how_busy_the_machine_is_are_shown(
    dataset: Dataset, striped_template: Template, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    told: list[str] = []
    recipe = Recipe(epochs=1, teacher_epochs=0, batch_size=16, warmup_epochs=0.0)
    net = Supernet(striped_template, 2)
    at = Setting(net, Sandwich(net, recipe, False), dataset, Preprocess(), 24, recipe, tmp_path)
    train(at, progress=lambda done, total, text: told.append(text))
    shown = [text for text in told if text.startswith("epoch 1, loss")]
    assert len(shown) == STEPS
    assert all("images/s, " in text and text.endswith("% busy") for text in shown)


def test_pace_tells_the_two_kinds_of_steps_and_the_time_between_apart() -> None:
    now = [0.0]
    pace = Pace(10, 7.0, lambda: now[0])
    assert pace.steps_within(70, 0) == 10
    for seconds, alone in ((2.0, True), (2.0, True), (8.0, False), (8.0, False), (8.0, False)):
        now[0] += seconds + 1
        pace.took(seconds, alone, waited_s=seconds / 4)
    assert pace.steps_within(90, 0) == 10  # 8 s, and 1 s between
    assert pace.steps_within(90, 6) == 6 + 8  # six of 2 + 1 s leave 72 s
    assert pace.steps_within(9, 6) == 3
    assert pace.steps_within(49, 0, work=0.75) == 7  # smaller pictures: 6 s, and 1 s between
    assert pace.describe(28) == "5 images/s, 75% busy"
    assert Pace(10, None, lambda: 0.0).steps_within(60, 0) is None


@given(
    st.integers(1, 50), st.integers(1, 40), st.floats(0, 50), st.integers(0, 10_000)
)  # epochs, steps an epoch, first epochs, step
def test_without_a_limit_the_first_epochs_are_exactly_as_many(epochs: int, per: int, first: float, step: int) -> None:
    horizon = Horizon(epochs * per)
    step %= horizon.total
    first = min(first, epochs)
    stretch = FirstEpochs.of(first, epochs, per)
    assert stretch.includes(step, horizon) == (step < first * per)
    warm = min(1.0, (step + 1) / max(1.0, first * per))
    assert stretch.passed(step, horizon) == warm
    assert stretch.left(step, horizon) == max(0, math.ceil(first * per) - step)


@given(st.integers(10, 1000), st.lists(st.floats(0.3, 3.0), min_size=1, max_size=30))
def test_progress_never_falls_and_never_jumps_however_the_end_is_moved(total: int, factors: list[float]) -> None:
    horizon, step, before = Horizon(total), 0, 0.0
    for factor in factors:
        progress = horizon.progress(step)
        assert progress >= before
        horizon = horizon.moved(step, step + int((horizon.total - step) * factor))
        assert horizon.progress(step) == pytest.approx(progress, abs=1e-12)
        assert horizon.progress(horizon.total) == pytest.approx(1.0, abs=1e-12)
        assert horizon.step_at(horizon.fraction) == step
        before, step = progress, min(step + 3, horizon.total)
        if step >= horizon.total:
            break
