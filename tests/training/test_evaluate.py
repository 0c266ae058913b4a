"""Evaluation: intervals, views, and answers that do not depend on batching."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from nas_edge.data import Dataset, Preprocess
from nas_edge.spaces import Template, preset
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.measuring import evaluate
from nas_edge.training.measuring.evaluate import Evaluation, Evaluator, View, fixed_views, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 20), (19, 20), (395, 431)])
def test_the_interval_is_wilsons_as_scipy_computes_it(right: int, n: int) -> None:
    theirs = binomtest(right, n).proportion_ci(0.95, "wilson")
    assert wilson(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-7)


def test_the_interval_stays_within_0_and_1() -> None:
    assert not any(f"{100 * wilson(0, n)[0]:.1f}".startswith("-") for n in range(1, 200))
    assert all(wilson(0, n)[0] >= 0.0 and wilson(n, n)[1] <= 1.0 for n in range(1, 200))


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


@pytest.mark.parametrize(("images", "sizes"), [(64, [64]), (65, [65]), (66, [64, 2]), (129, [64, 65]), (1, [1])])
def test_a_last_image_alone_is_no_batch_of_its_own(dataset: Dataset, images: int, sizes: list[int]) -> None:
    split = dataset.train.subset(np.arange(images) % len(dataset.train))
    evaluator = Evaluator(split, Preprocess())
    assert [len(batch) for batch in evaluator.calibration_batches(32)] == sizes
    if images == 65:  # features of one pixel: a batch of one has no variance there, and torch refuses it
        net = Supernet(preset("mcu"), 2)
        subnet = evaluator.recalibrated(net, net.space.smallest())
        assert len(evaluator.evaluate(subnet, 32, split).predicted) == images


def test_torch_answers_as_onnx_runtime_does_and_stands_in_for_it(
    dataset: Dataset, striped_template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    evaluator = Evaluator(dataset.train, Preprocess())
    net = Supernet(striped_template, 2)
    subnet = evaluator.recalibrated(net, net.space.largest())
    theirs = evaluator.evaluate(subnet, subnet.resolution, dataset.search, fixed_views(2, True, False))
    monkeypatch.setattr(evaluate, "has_onnx", lambda: False)
    monkeypatch.setattr(evaluate, "float_model", None)
    own = evaluator.evaluate(subnet, subnet.resolution, dataset.search, fixed_views(2, True, False))
    assert (own.correct == theirs.correct).all()
    assert (own.predicted == theirs.predicted).all()
