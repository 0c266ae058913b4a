"""Bundles whose images may not be passed on: they draw them anew where the data set is, and say so where it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nas_edge.data.calibration import read_calibration
from nas_edge.errors import DataError
from nas_edge.files import read_yaml, write_yaml
from nas_edge.pipeline.bundle import CALIBRATION, HEADER, Bundle, load_bundle
from nas_edge.pipeline.evaluate_flow import evaluate_flow
from nas_edge.pipeline.networks import bundle_calibration, bundle_preprocess, subnet_of_bundle, subnet_of_run
from nas_edge.pipeline.running.directory import load_run
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.pipeline.zero_cost import zero_cost_of_bundle
from tests.pipeline.cifar10 import made_up
from tests.stand import FakeBench


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A copy of a small bundle without its images; the data set itself is embedded."""
    copy = shutil.copytree(load_bundle("fashion-mnist").path, tmp_path / "bare")
    (copy / CALIBRATION).unlink()
    monkeypatch.chdir(tmp_path)
    return changed(copy, {"calibration": {"data": "fashion-mnist-mini"}})


def changed(path: Path, changes: dict[str, object]) -> Bundle:
    write_yaml(path / HEADER, read_yaml(path / HEADER) | changes)
    return load_bundle(path)


def of_cifar10(bundle: Bundle) -> Bundle:
    data = dict(bundle.header["data"]) | {"spec": "cifar10"}
    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    return changed(bundle.path, {"data": data, "calibration": {"data": "cifar10"}, "classes": classes})


def test_the_images_drawn_anew_are_those_of_the_training(bare: Bundle) -> None:
    shipped, preprocess = load_bundle("fashion-mnist"), bundle_preprocess(bare)
    assert shipped.ships_images
    assert not bare.ships_images
    drawn, own = bundle_calibration(bare), read_calibration(shipped.calibration)
    assert np.array_equal(np.sort(drawn.labels), np.sort(own.labels))
    assert np.array_equal(drawn.images(preprocess, 28), own.images(preprocess, 28))


def test_its_networks_answer_as_those_of_the_bundle_with_images(bare: Bundle) -> None:
    whole = evaluate_flow("fashion-mnist", arch="smallest")
    assert evaluate_flow(str(bare.path), arch="smallest").accuracy == whole.accuracy


def test_only_proxies_that_look_at_images_need_any(bare: Bundle) -> None:
    bundle = of_cifar10(bare)
    for name in ("zen", "synflow"):
        scores = zero_cost_of_bundle(name, bundle).predict(bundle.space.smallest()[None])
        assert np.isfinite(scores).all()
    for name in ("naswot", "grad_norm"):
        with pytest.raises(DataError, match="ships no images"):
            zero_cost_of_bundle(name, bundle)


def test_without_the_data_set_one_line_says_where_to_put_it(bare: Bundle) -> None:
    bundle = of_cifar10(bare)
    with pytest.raises(DataError) as caught:
        subnet_of_bundle(bundle, bundle.space.smallest())
    message = str(caught.value)
    assert message.startswith("bundle 'fashion-mnist' ships no images, and its batch norms need some: cifar10: ")
    assert "data/cifar10, here or under $NAS_EDGE_HOME" in message
    assert "\n" not in message


def test_a_search_without_images_measures_latency_with_drawn_weights_and_says_so(stand: Path, bench: FakeBench) -> None:
    copy = shutil.copytree(load_bundle("tiny").path, Path("bundles/bare"))
    (copy / CALIBRATION).unlink()
    data = dict(load_bundle(copy).header["data"]) | {"spec": "cifar10"}
    changed(copy, {"data": data, "calibration": {"data": "cifar10"}, "name": "bare"})
    report = search_flow(SearchRequest(target="board", bundle="bare", latency_ms=2.0, evaluations=2000, verify=True))
    assert report.latency.measured is not None
    assert report.latency.measured <= 2.0
    assert report.accuracy.measured is None
    assert not report.verified
    assert report.lines()[0].endswith("  MET")
    assert any("the accuracy is predicted alone" in line for line in report.lines())
    (note,) = [line for line in report.lines() if "drawn weights" in line]
    assert "bundle 'bare' ships no images" in note
    assert "put it at data/cifar10" in note
    with pytest.raises(DataError, match="'bare' ships no images"):
        subnet_of_run(load_run(report.run))


def test_another_data_set_of_the_same_classes_is_refused(bare: Bundle, tmp_path: Path) -> None:
    bundle = of_cifar10(bare)
    folder = made_up(tmp_path / "data" / "cifar10")
    with pytest.raises(DataError, match=r"cifar10: is not what bundle 'fashion-mnist' was trained on \(fashion-mnist"):
        bundle_calibration(bundle)
    with pytest.raises(DataError, match=r"data/cifar10: is not what bundle"):
        bundle_calibration(bundle, str(folder))
