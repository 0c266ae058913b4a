"""What a person is shown of a run's progress grows with the time that its steps take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.training.recipe import Recipe
from nas_edge.training.running.growing import growing_side
from nas_edge.training.running.schedule import FirstEpochs, Horizon
from nas_edge.training.running.work import Work

PER_EPOCH, SIDE = 27, 160


def work_of(recipe: Recipe, horizon: Horizon) -> tuple[Work, FirstEpochs]:
    teacher = FirstEpochs.of(recipe.teacher_epochs, recipe.epochs, PER_EPOCH)
    return Work(horizon, teacher, recipe, SIDE), teacher


@given(
    st.integers(5, 60), st.integers(0, 5), st.sampled_from([0, 32, 96]), st.floats(0, 1), st.integers(0, 100),
    st.floats(0, 0.9),
)  # fmt: skip
def test_it_grows_from_nothing_to_all_with_every_step(
    epochs: int, alone: int, first_side: int, share: float, moved: int, fraction: float
) -> None:
    recipe = Recipe(epochs=epochs, teacher_epochs=alone, first_side=first_side, growing_share=share)
    total = epochs * PER_EPOCH
    work, _ = work_of(recipe, Horizon(total, moved, fraction if moved else 0.0))
    shares = [work.share(step) for step in range(total + 1)]
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert (np.diff(shares) > 0).all()


@pytest.mark.parametrize("epochs", [30, 400])  # each step on its own, and by samples
def test_the_time_left_is_reckoned_right_all_along(epochs: int) -> None:
    recipe = Recipe(epochs=epochs, teacher_epochs=4, first_side=96)
    horizon = Horizon(epochs * PER_EPOCH)
    work, teacher = work_of(recipe, horizon)

    def seconds(step: int) -> float:
        side = growing_side(recipe.first_side, SIDE, recipe.growing_share, horizon.progress(step))
        return (0.5 if teacher.includes(step, horizon) else 1.0) * (side / SIDE) ** 2

    taken = np.cumsum([0.0, *(seconds(step) for step in range(horizon.total))])
    for step in range(horizon.total // 10, horizon.total, horizon.total // 10):
        lately = step - 20
        rate = (work.share(step) - work.share(lately)) / (taken[step] - taken[lately])
        assert (1 - work.share(step)) / rate == pytest.approx(taken[-1] - taken[step], rel=0.02)
