"""Evaluation: intervals, views, and answers that do not depend on batching."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from nas_edge.training.measuring.evaluate import Evaluation, View, fixed_views, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 20), (19, 20), (395, 431)])
def test_the_interval_is_wilsons_as_scipy_computes_it(right: int, n: int) -> None:
    theirs = binomtest(right, n).proportion_ci(0.95, "wilson")
    assert wilson(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-7)


def test_views_mirror_only_as_training_does() -> None:
    assert fixed_views(1, True, True) == (View(),)
    assert not any(view.vertical for view in fixed_views(8, True, False))
    assert len(set(fixed_views(8, True, False))) == 8
    assert len(set(fixed_views(8, True, True))) == 8


def test_accuracy_is_over_views_and_balanced_accuracy_over_classes() -> None:
    correct = np.array([[1, 1], [1, 0], [0, 0], [1, 1]], bool)
    found = Evaluation(correct, np.zeros(4, np.int64), np.array([0, 0, 0, 1]))
    assert found.accuracy == pytest.approx(5 / 8)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
