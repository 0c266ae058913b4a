"""Accuracy in int8: measured on the subnets known in fp32, kept in the bundle, and never stood in for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nas_edge.accuracy import read_accuracy, write_accuracy
from nas_edge.accuracy.dataset import AccuracySet
from nas_edge.errors import ConfigError, UnknownNameError
from nas_edge.files import write_yaml
from nas_edge.pipeline.accuracy_flow import measure_accuracy, spread_over_cost
from nas_edge.pipeline.bundle import HEADER, Bundle, load_bundle
from nas_edge.pipeline.evaluate_flow import evaluate_flow
from nas_edge.pipeline.networks import bundle_dataset, bundle_evaluator
from nas_edge.training.measuring.evaluate import PLAIN
from nas_edge.training.measuring.subnets import choose_subnets, measure_subnets


@pytest.fixture(scope="module")
def measured_bundle(stand_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with 30 subnets measured in fp32."""
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    shutil.copytree(stand_template / "bundles" / "tiny", path)
    bundle = load_bundle(path)
    population = choose_subnets(bundle.space, bundle.num_classes, 30, seed=0)
    split = bundle_dataset(bundle, None).splits["search"]
    journal = path.parent / "journal.jsonl"
    found = measure_subnets(bundle.supernet(), bundle_evaluator(bundle), split, population, 6, PLAIN, journal)
    write_accuracy(path / "accuracy.csv", bundle.space, found)
    return path


@pytest.fixture
def bundle(measured_bundle: Path, tmp_path: Path) -> Bundle:
    shutil.copytree(measured_bundle, tmp_path / "tiny")
    return load_bundle(tmp_path / "tiny")


def test_int8_accuracy_is_measured_fitted_and_kept(bundle: Bundle) -> None:
    told: list[float] = []
    report = measure_accuracy(
        str(bundle.path), subnets=28, progress=lambda done, total, text: told.append(done / total)
    )
    assert report.subnets == 28
    assert report.fit.train + report.fit.holdout == 28
    assert told[-1] == 1
    json.dumps(report.to_json(), allow_nan=False)
    after = load_bundle(bundle.path)
    assert after.accuracy_predictor("int8").precision == "int8"
    assert after.accuracy_predictor("fp32").precision == "fp32"
    assert after.header["figures"]["accuracy_predictor_int8"]["weight_bits"] in (7, 8)
    measured = read_accuracy(bundle.path / "accuracy.csv", bundle.space)
    assert len(measured.of_precision("fp32")) == 30
    assert len(measured.of_precision("int8")) == 28
    assert not (bundle.path / "work").exists()


def test_half_precision_is_measured_as_well(bundle: Bundle) -> None:
    note_images(bundle, bundle_dataset(bundle, None).search.sha256())
    report = measure_accuracy(str(bundle.path), "fp16", subnets=28)
    assert report.precision == "fp16"
    assert abs(report.fit.mean_change) < 0.05


def test_the_correction_is_what_the_pairs_say(bundle: Bundle) -> None:
    report = measure_accuracy(str(bundle.path), subnets=30)
    plain, int8 = (load_bundle(bundle.path).accuracy_predictor(p) for p in ("fp32", "int8"))
    rows = bundle.space.sample(200, np.random.default_rng(0))
    shift = (int8.predict(rows) - plain.predict(rows)).mean()
    assert abs(shift - report.fit.mean_change) < 0.05


def test_a_killed_measurement_goes_on(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(done: float, total: float, text: str) -> None:
        if "accuracy" in text and done >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_accuracy(str(bundle.path), subnets=28, progress=die)
    journal = bundle.path / "work" / "subnets-int8.jsonl"
    kept = journal.read_text().splitlines()
    assert len(kept) == 5
    assert len(read_accuracy(bundle.path / "accuracy.csv", bundle.space)) == 30  # nothing half-written
    known = json.loads(kept[0])["correct"]
    measure_accuracy(str(bundle.path), subnets=28)
    measured = read_accuracy(bundle.path / "accuracy.csv", bundle.space).of_precision("int8")
    assert np.packbits(measured.bits[0]).tobytes().hex() == known


def test_other_precisions_and_other_images_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="precision"):
        measure_accuracy(str(bundle.path), "int4")
    data = read_accuracy(bundle.path / "accuracy.csv", bundle.space)
    fewer = AccuracySet.of_bits(data.population, data.bits[:, :-1], data.roles)
    write_accuracy(bundle.path / "accuracy.csv", bundle.space, fewer)
    with pytest.raises(ConfigError, match="was not measured on these 24 images"):
        measure_accuracy(str(bundle.path))


def note_images(bundle: Bundle, sha256: str) -> None:
    header = bundle.header | {"data": bundle.header["data"] | {"sha256": {"search": sha256}}}
    write_yaml(bundle.path / HEADER, header)


def test_as_many_other_images_are_refused(bundle: Bundle) -> None:
    note_images(bundle, "0" * 64)
    with pytest.raises(ConfigError, match="was not measured on these 24 images"):
        measure_accuracy(str(bundle.path))
    assert not (bundle.path / "work" / "subnets-int8.jsonl").exists()


def test_a_bundle_without_int8_accuracy_says_how_to_get_it(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"nas-edge evaluate .*tiny --measure int8"):
        bundle.accuracy_predictor("int8")


def test_subnets_are_spread_over_cost_and_roles(bundle: Bundle) -> None:
    measured = read_accuracy(bundle.path / "accuracy.csv", bundle.space)
    keep = spread_over_cost(measured, bundle, 10)
    roles = np.array(measured.roles)
    assert keep.sum() == 10
    assert (roles[keep] == "holdout").sum() == 2
    macs = bundle.space.macs(measured.population, bundle.num_classes)
    assert {macs.min(), macs.max()} <= set(macs[keep])


def test_one_network_is_evaluated_in_int8(bundle: Bundle) -> None:
    report = evaluate_flow(str(bundle.path), "largest", precision="int8")
    assert report.precision == report.to_json()["precision"] == "int8"
    assert any("int8" in line for line in report.lines())
    assert evaluate_flow(str(bundle.path), "largest").precision == "fp32"
    with pytest.raises(UnknownNameError, match="precision"):
        evaluate_flow(str(bundle.path), precision="int9")
