"""The int8 form of an exported file: made on training images, compared in pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from nas_edge.data import Preprocess
from nas_edge.errors import DataError
from nas_edge.export.onnx_file import build_model
from nas_edge.export.quantise import (
    UNLABELLED,
    QuantisationReport,
    compare_precisions,
    mcnemar,
    paired_interval,
    quantised_file,
)
from nas_edge.runtimes.model_precision import model_precision
from nas_edge.spaces import SearchSpace, Template
from nas_edge.supernet.static import StaticNet

from .nets import lively, noise

CLASSES = ["a", "b", "c", "d", "e"]


@pytest.fixture(scope="module")
def net(tiny_template: Template) -> StaticNet:
    return lively(tiny_template, SearchSpace(tiny_template).largest())


@pytest.fixture(scope="module")
def pictures(net: StaticNet) -> np.ndarray:
    return noise(24, net.resolution)


@pytest.mark.parametrize("batch", [1, 8, None])
def test_an_exported_file_becomes_int8_whatever_its_batch(
    net: StaticNet, pictures: np.ndarray, batch: int | None
) -> None:
    model = build_model(net, classes=CLASSES, batch=batch)
    int8 = quantised_file(model, pictures, Preprocess())
    assert model_precision(int8) == "int8"
    assert len(int8) < len(model)
    labels = np.zeros(len(pictures), np.int64)
    report = compare_precisions(model, int8, pictures, Preprocess(), labels, calibration_images=24, on="noise")
    assert report.images == report.labelled == 24
    assert report.agreement > 0.7


def test_labels_that_are_not_to_be_read_are_not(net: StaticNet, pictures: np.ndarray) -> None:
    model = build_model(net)
    int8 = quantised_file(model, pictures, Preprocess())
    labels = np.full(len(pictures), UNLABELLED)
    report = compare_precisions(model, int8, pictures, Preprocess(), labels, calibration_images=24, on="noise")
    assert report.before is report.after is report.interval is report.drop is None
    assert not report.loud
    assert "accuracy" not in report.describe()


def test_without_images_there_are_no_ranges(net: StaticNet, pictures: np.ndarray) -> None:
    with pytest.raises(DataError, match="add some to calibrate on"):
        quantised_file(build_model(net), pictures[:0], Preprocess())


def report(before: float, after: float) -> QuantisationReport:
    return QuantisationReport(100, 0.9, 100, before, after, (-0.1, 0.1), 0.5, 24, 8, "noise")


def test_a_drop_of_more_than_a_point_is_said_loudly() -> None:
    assert report(0.93, 0.915).loud
    assert "LOSES 1.5 POINTS" in report(0.93, 0.915).warning()
    assert report(0.93, 0.925).warning() == report(0.92, 0.95).warning() == ""


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_binomial_test(gained: int, lost: int) -> None:
    wanted = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(wanted)


def test_the_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    n, up, down = 328, 0.015, 0.025
    draws = rng.multinomial(n, [up, down, 1 - up - down], size=2000)
    intervals = [paired_interval(int(g), int(lost), n) for g, lost, _ in draws]
    covered = np.mean([low <= up - down <= high for low, high in intervals])
    assert 0.94 < covered < 0.98
    assert paired_interval(0, 0, 328)[0] < 0 < paired_interval(0, 0, 328)[1]
