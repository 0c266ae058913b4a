"""What strategies propose is held against the space: their defects are told, not searched on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from nas_edge.errors import StrategyError
from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, extreme, register_strategy, search
from nas_edge.search.checking import checked
from nas_edge.search.strategies import base
from nas_edge.spaces import SearchSpace


def metrics(space):
    macs = AdditiveMetric("macs", "MACs", space.costs(lambda block: block.macs, 4))
    return {"accuracy": FunctionMetric("accuracy", "", macs, maximise=True), "macs": macs}


@dataclass(frozen=True)
class Nothing:
    """No options."""


def proposing(rows):
    """The name of a registered strategy that proposes what it is given, again and again."""

    class Stubborn:
        def __init__(self, problem, options, rng):
            pass

        def ask(self, limit):
            return rows

        def tell(self, population, objectives, violation):
            pass

    register_strategy("stubborn", Nothing)(Stubborn)
    return "stubborn"


@pytest.fixture(autouse=True)
def strategies_as_before(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(base, "_ENTRIES", dict(base._ENTRIES))


@pytest.fixture
def lite():
    return SearchSpace.named("lite0")


def broken(space, gene, value):
    rows = np.repeat(space.largest()[None], 3, axis=0)
    rows[1, space.columns[gene]] = value
    return rows


@pytest.mark.parametrize(
    ("gene", "value", "words"),
    [
        ("s2.1.k", 9, r"s2.1.k is 9, not one of 1, 2"),
        ("s2.1.k", -1, r"s2.1.k is -1, not one of"),
        ("r", 0, r"r is 0, not one of"),
        ("s2.1.k", 0, "its blocks do not make up stages"),
    ],
)
def test_rows_that_are_not_in_the_space_are_one_clear_error(lite, gene, value, words):
    rows = broken(lite, gene, value)
    with pytest.raises(StrategyError, match=rf"'stubborn' proposed 1 of 3 architectures that are not in .*{words}"):
        search(lite, metrics(lite), [Constraint("macs", "<=", 1e8)], strategy=proposing(rows), evaluations=100)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.zeros((2, 3), np.int8), r"int8 \(2, 3\) where int8 \[n, \d+\] is expected"),
        (np.zeros((2, 40), np.int64), "int64"),
        ([[1, 2]], "list where"),
        (None, "NoneType where"),
    ],
)
def test_what_is_no_population_is_one_clear_error(lite, rows, words):
    with pytest.raises(StrategyError, match=words):
        search(lite, metrics(lite), [], strategy=proposing(rows), evaluations=100)


def test_more_rows_than_were_asked_for_are_refused(lite):
    rows = lite.sample(200, np.random.default_rng(0))
    with pytest.raises(StrategyError, match="proposed 200 architectures where at most 98 were asked for"):
        search(lite, metrics(lite), [], strategy=proposing(rows), evaluations=100)


def test_it_is_no_mistake_of_the_user(lite):
    assert StrategyError.exit_code == 1


def test_rows_that_a_table_does_not_list_are_told(tmp_path):
    from nas_edge.spaces.tabular import TabularSpace

    path = tmp_path / "table.csv"
    path.write_text("gene.a,gene.b,metric.accuracy\n1,1,0.5\n2,2,0.6\n")
    space = TabularSpace.read(path)
    with pytest.raises(StrategyError, match="it is not listed"):
        checked(space, "mine", np.array([[1, 2]], np.int8), 5)


def test_looks_for_extremes_are_held_to_it_as_well(lite, monkeypatch):
    name = proposing(broken(lite, "s2.1.k", 9))
    monkeypatch.setattr("nas_edge.search.extremes.fitting_strategy", lambda problem: name)
    peaks = FunctionMetric("odd", "", lambda rows: rows.sum(axis=1).astype(float))
    with pytest.raises(StrategyError, match="stubborn"):
        extreme(lite, "odd", peaks, least=True)
