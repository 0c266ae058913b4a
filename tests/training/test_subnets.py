"""Choosing and measuring subnets: spread over MACs, distinct, resumable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas_edge.data import Preprocess
from nas_edge.errors import FormatError
from nas_edge.spaces import SearchSpace
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.measuring.evaluate import PLAIN, Evaluator
from nas_edge.training.measuring.subnets import choose_subnets, measure_subnets


def test_chosen_subnets_are_distinct_and_spread_over_macs() -> None:
    space = SearchSpace.named("lite0")
    population = choose_subnets(space, 6, 200, seed=0)
    assert len(np.unique(population, axis=0)) == len(population) >= 195
    size = np.log(space.macs(population, 6))
    counts, _ = np.histogram(size, bins=5)
    assert counts.min() > 20
    assert (population == choose_subnets(space, 6, 200, seed=0)).all()


def test_measuring_goes_on_where_it_was_killed(dataset, striped_template, tmp_path: Path) -> None:
    net = Supernet(striped_template, 2).eval()
    evaluator = Evaluator(dataset.train, Preprocess())
    population = choose_subnets(net.space, 2, 6, seed=1)
    journal = tmp_path / "subnets.jsonl"
    whole = measure_subnets(net, evaluator, dataset.search, population, 2, PLAIN, tmp_path / "other.jsonl")
    measure_subnets(net, evaluator, dataset.search, population[:3], 0, PLAIN, journal)
    journal.write_text(journal.read_text()[:-20])  # killed while the third was written
    resumed = measure_subnets(net, evaluator, dataset.search, population, 2, PLAIN, journal)
    assert (resumed.bits == whole.bits).all()
    assert resumed.roles[-2:] == ("holdout", "holdout")


def test_a_journal_of_other_images_is_refused(dataset, striped_template, tmp_path: Path) -> None:
    net = Supernet(striped_template, 2).eval()
    evaluator = Evaluator(dataset.train, Preprocess())
    population = choose_subnets(net.space, 2, 3, seed=1)
    journal = tmp_path / "subnets.jsonl"
    measure_subnets(net, evaluator, dataset.search, population, 0, PLAIN, journal)
    with pytest.raises(FormatError, match="other images or views"):
        measure_subnets(net, evaluator, dataset.test, population, 0, PLAIN, journal)
