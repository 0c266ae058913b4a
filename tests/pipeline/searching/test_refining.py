"""True evaluations in the loop: what is measured, the bound that chooses it, and going on after a cut."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge.accuracy import AccuracySet, read_accuracy
from nas_edge.accuracy.dataset import write_accuracy
from nas_edge.data import load_dataset
from nas_edge.errors import ConfigError
from nas_edge.pipeline.bundle import ACCURACY, PREDICTOR, load_bundle
from nas_edge.pipeline.reporting.summary import report_flow
from nas_edge.pipeline.searching import refining
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.refining import UpperBound
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.pipeline.searching.state import unfinished_request
from nas_edge.spaces import SearchSpace
from nas_edge.spreading import Spread
from nas_edge.training.fitting.accuracy_fit import FitOptions
from nas_edge.training.fitting.distilling import ImitationOptions

MEASURED = 4
REQUEST = SearchRequest(
    target="board", bundle="tiny", latency_ms=2.2, evaluations=300, evaluate=MEASURED, verify=False, out=Path("mine")
)


@pytest.fixture
def measured(stand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle with some subnets that were measured before, two rounds, and predictors that are fitted in no time."""
    bundle, rng = load_bundle("tiny"), np.random.default_rng(0)
    copied = stand / "bundles" / "tiny"
    shutil.copytree(bundle.path, copied)
    rows = np.unique(bundle.space.sample(40, rng), axis=0)
    images = len(load_dataset(str(bundle.header["data"]["spec"])).search)
    accuracy = bundle.accuracy_predictor().predict(rows)
    bits = rng.random((len(rows), images, 1)) < accuracy[:, None, None]
    write_accuracy(copied / ACCURACY, bundle.space, AccuracySet.of_bits(rows, bits, ["train"] * len(rows)))
    quickened(monkeypatch)


def quickened(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = FitOptions(imitation=ImitationOptions(rows=500, steps=50))
    monkeypatch.setattr("nas_edge.training.fitting.accuracy_fit.FitOptions", lambda: quick)
    monkeypatch.setattr("nas_edge.pipeline.searching.refining.ROUNDS", 2)


@pytest.fixture
def unmeasured(stand: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle as imported weights are: with images, without measured subnets and predictor."""
    copied = shutil.copytree(load_bundle("tiny").path, stand / "bundles" / "tiny")
    (copied / PREDICTOR).unlink()
    quickened(monkeypatch)
    monkeypatch.setattr("nas_edge.pipeline.zero_cost._SCORED", 40)
    return copied


def without_times(path: Path) -> dict[str, object]:
    data = json.loads((path / "result.json").read_text())
    return {key: value for key, value in data.items() if key not in ("run", "wall_s")}


def test_the_bound_is_as_wide_as_the_jackknifes_standard_error() -> None:
    bundle = load_bundle("trashnet")
    predictor = bundle.accuracy_predictor()
    rows = bundle.space.sample(50, np.random.default_rng(0))
    members = np.stack(
        [
            replace(
                predictor,
                weights=tuple(w[m : m + 1] for w in predictor.weights),
                biases=tuple(b[m : m + 1] for b in predictor.biases),
                linear=predictor.linear[m : m + 1],
            ).predict(rows)
            for m in range(predictor.members)
        ]
    )
    count = len(members)
    error = np.sqrt((count - 1) / count * ((members - members.mean(axis=0)) ** 2).sum(axis=0))
    bound = UpperBound(predictor, 1.5).predict(rows)
    assert bound == pytest.approx(predictor.predict(rows) + 1.5 * error, rel=1e-5)


@pytest.mark.usefixtures("measured")
def test_a_search_that_was_cut_while_measuring_goes_on_to_the_same_in_workers() -> None:
    report = search_flow(REQUEST, spread=Spread(workers=1))
    assert any("4 subnets were measured where the search went" in note for note in report.notes)

    def cut(done: float, total: float, text: str) -> None:
        if "round 2" in text:
            raise KeyboardInterrupt

    so_far = search_flow(replace(REQUEST, out=Path("cut")), cut)
    assert so_far.exit_code == 130
    assert any("interrupted: the best so far" in note for note in so_far.notes)
    kept = len(Path("cut.unfinished/subnets.jsonl").read_text().splitlines())
    assert 0 < kept < MEASURED
    measured: list[str] = []

    def told(done: float, total: float, text: str) -> None:
        measured.append(f"{done:g} {text}")

    search_flow(unfinished_request(Path("cut")), told, Spread(workers=2))
    assert not any(text.startswith("0 measuring") and "round 1" in text for text in measured)
    assert without_times(Path("cut")) == without_times(Path("mine"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "macs"}, "which nothing here asks for"),
        ({"precision": ("int8",)}, "no accuracy measured in int8"),
        ({"accuracy_predictor": "given.npz"}, "leave --accuracy-predictor out, or begin with a proxy"),
        ({"accuracy_predictor": "zero-cost:synflow"}, "corrected by 10 measured subnets or more"),
        ({"accuracy_predictor": "zero-cost:synflow", "space": "lite0", "bundle": "trashnet"}, "of a bundle in fp32"),
    ],
)
def test_what_true_evaluations_cannot_help_is_refused(stand: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search_flow(replace(REQUEST, **options))  # type: ignore[arg-type]


PRIOR = replace(REQUEST, accuracy_predictor="zero-cost:synflow", evaluate=20)


def test_a_proxy_chooses_the_first_subnets_and_is_the_prior_of_a_predictor(unmeasured: Path) -> None:
    report = search_flow(PRIOR)
    note = next(note for note in report.notes if "20 subnets were measured" in note)
    # What is told of the prior was judged on subnets that what predicts them has not seen.
    assert re.search(r"proxy synflow alone has Kendall's tau -?\d\.\d\d\. The predictor", note)
    assert re.search(r"has -?\d\.\d\d and is off by \d+\.\d\d points \(RMSE\), each of 20 subnets left out", note)
    assert report.accuracy.proxy == ""
    assert 0 < report.accuracy.predicted < 1
    stored = json.loads((report.run / "result.json").read_text())
    assert stored["accuracy_source"] == "fitted in the search"
    told = {row["figure"]: row["origin"] for row in report_flow(report.run).to_json()["figures"]}
    assert told["accuracy, predicted"].startswith("modelled: accuracy predictor fitted in the search, its prior zero")
    search_flow(replace(PRIOR, out=Path("again")))
    assert without_times(Path("again")) == without_times(Path("mine"))


def test_where_nothing_is_measured_yet_the_search_says_what_to_begin_with(unmeasured: Path) -> None:
    with pytest.raises(ConfigError, match=r"add --accuracy-predictor FILE, or .* zero-cost:naswot --evaluate 40"):
        search_flow(REQUEST)


def test_a_proxy_s_prior_that_is_cut_while_measuring_still_gives_the_best_by_score(unmeasured: Path) -> None:
    def cut(done: float, total: float, text: str) -> None:
        if "round 2" in text:
            raise KeyboardInterrupt

    so_far = search_flow(replace(PRIOR, out=Path("cut")), cut)
    assert so_far.exit_code == 130
    assert so_far.accuracy.proxy == "synflow"
    search_flow(PRIOR)
    search_flow(unfinished_request(Path("cut")))
    assert without_times(Path("cut")) == without_times(Path("mine"))


@pytest.mark.usefixtures("measured")
def test_subnets_that_were_measured_before_are_learnt_from_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_edge.pipeline.zero_cost._SCORED", 40)
    known = len(read_accuracy(Path("bundles/tiny") / ACCURACY, load_bundle("tiny").space))
    report = search_flow(replace(PRIOR, evaluate=10))
    assert any(f"each of {known + 10} subnets left out" in note for note in report.notes)


def test_the_first_subnets_are_the_proxy_s_best_and_some_along_all_scores() -> None:
    pool = np.arange(40, dtype=np.int8)[:, None]

    class Scores:
        def check(self, space: SearchSpace) -> None: ...

        def predict(self, population: np.ndarray) -> np.ndarray:
            return population[:, 0].astype(np.float64)

    chosen = refining._along_scores(pool, Scores(), 10)[:, 0].tolist()
    assert chosen[:5] == [39, 38, 37, 36, 35]
    assert (chosen[5], chosen[-1], len(set(chosen))) == (34, 0, 10)
    assert len(refining._along_scores(pool[:3], Scores(), 10)) == 3
    assert len(refining._along_scores(pool[:0], Scores(), 10)) == 0


def test_workers_without_true_evaluations_are_refused(stand: Path) -> None:
    with pytest.raises(ConfigError, match="they go with --evaluate"):
        search_flow(replace(REQUEST, evaluate=0), spread=Spread(workers=2))
