"""True evaluations in the loop: what is measured, the bound that chooses it, and going on after a cut."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_edge.accuracy import AccuracySet
from nas_edge.accuracy.dataset import write_accuracy
from nas_edge.data import load_dataset
from nas_edge.errors import ConfigError
from nas_edge.pipeline.bundle import ACCURACY, load_bundle
from nas_edge.pipeline.searching.flow import search_flow
from nas_edge.pipeline.searching.refining import UpperBound
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.pipeline.searching.state import unfinished_request
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
    quick = FitOptions(imitation=ImitationOptions(rows=500, steps=50))
    monkeypatch.setattr("nas_edge.training.fitting.accuracy_fit.FitOptions", lambda: quick)
    monkeypatch.setattr("nas_edge.pipeline.searching.refining.ROUNDS", 2)


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
        ({"accuracy_predictor": "zero-cost:synflow"}, "leave --accuracy-predictor out"),
    ],
)
def test_what_true_evaluations_cannot_help_is_refused(stand: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search_flow(replace(REQUEST, **options))  # type: ignore[arg-type]


def test_workers_without_true_evaluations_are_refused(stand: Path) -> None:
    with pytest.raises(ConfigError, match="they go with --evaluate"):
        search_flow(replace(REQUEST, evaluate=0), spread=Spread(workers=2))
