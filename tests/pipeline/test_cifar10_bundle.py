"""The embedded bundle `cifar10`: small enough to ship, without a picture, of use all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_edge.accuracy import read_accuracy
from nas_edge.errors import DataError
from nas_edge.pipeline.bundle import ACCURACY, CALIBRATION, Bundle, load_bundle
from nas_edge.pipeline.evaluate_flow import evaluate_flow
from nas_edge.pipeline.exporting.flow import export_flow
from nas_edge.pipeline.running.pipelines import find_pipeline, read_pipeline
from nas_edge.pipeline.running.steps import TrainArguments
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.training.recipe import Recipe


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """Found where no data set is."""
    monkeypatch.chdir(tmp_path)
    return load_bundle("cifar10")


def test_it_takes_less_than_twelve_megabytes_and_holds_no_picture(bundle: Bundle) -> None:
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) < 12_000_000
    assert not (bundle.path / CALIBRATION).exists()
    assert not bundle.ships_images
    assert bundle.header["calibration"] == {"data": "cifar10"}


def test_it_was_trained_by_the_recipe_of_the_pipeline(bundle: Bundle) -> None:
    (step,) = read_pipeline(find_pipeline("cifar10"))
    assert isinstance(step.arguments, TrainArguments)
    assert Recipe.from_dict({**step.arguments.recipe, "bf16": False}) == Recipe.from_dict(bundle.header["recipe"])


def test_its_header_says_what_it_cost(bundle: Bundle) -> None:
    trained = bundle.header["trained"]
    assert {"hardware", "training_hours", "last_sitting_cpu_hours", "epochs", "steps", "date"} <= trained.keys()
    assert bundle.header["data"]["seed"] == 0
    history = (bundle.path / "history.csv").read_text().splitlines()
    assert history[0] == "epoch,step,seconds,loss,smallest,middle,largest"
    assert len(history) - 1 == trained["epochs"]


def test_a_search_needs_no_picture(bundle: Bundle) -> None:
    space, largest = bundle.space, bundle.space.largest()
    assert 2.9e6 < space.params(largest[None], bundle.num_classes)[0] < 3.4e6
    report = search_flow(SearchRequest(target="local", bundle="cifar10", macs=30e6, verify=False, evaluations=2000))
    assert report.macs <= 30e6
    predictor = bundle.accuracy_predictor()
    assert predictor.predict(space.smallest()[None])[0] < report.accuracy.predicted < 1.0


def test_what_needs_pictures_says_in_one_line_where_to_put_them(bundle: Bundle) -> None:
    report = search_flow(SearchRequest(target="local", bundle="cifar10", macs=30e6, verify=False, evaluations=2000))
    for precision in ("fp32", "int8"):
        with pytest.raises(DataError, match=r"^bundle 'cifar10' ships no images, .* put it at data/cifar10") as caught:
            export_flow(Path(report.run), precision=precision)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="ships no images"):
        evaluate_flow("cifar10", arch="smallest")


def test_its_subnets_are_measured_on_five_thousand_pictures_that_were_not_trained_on(bundle: Bundle) -> None:
    measured = read_accuracy(bundle.path / ACCURACY, bundle.space).of_precision("fp32")
    assert measured.images.min() >= 5000
    assert len(measured.with_role("holdout")) >= 20
    error = abs(bundle.accuracy_predictor().predict(measured.population) - measured.accuracy)
    assert error.mean() < 0.01
