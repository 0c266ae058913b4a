"""A search that is cut goes on to the same result."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import ConfigError, FormatError
from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, search
from nas_edge.search.journal import SearchJournal
from nas_edge.spaces import SearchSpace

SPACE = SearchSpace.named("lite0")
MACS = AdditiveMetric("macs", "MACs", SPACE.costs(lambda block: block.macs, 6))
LIMIT = (Constraint("macs", "<=", 60e6),)


class Counted:
    """An accuracy that remembers how often it was asked, and fails or is interrupted once when told to."""

    def __init__(self, until=np.inf, error=RuntimeError):
        self.asked, self.until, self.error = 0, until, error

    def __call__(self, population):
        if self.asked + len(population) > self.until:
            self.until = np.inf
            raise self.error
        self.asked += len(population)
        return np.sqrt(MACS(population)) * (1 + 0.1 * np.sin(population.sum(axis=1)))


def metrics(counted):
    return {"accuracy": FunctionMetric("accuracy", "", counted, maximise=True), "macs": MACS}


def find(counted, journal=None, evaluations=6000):
    return search(SPACE, metrics(counted), LIMIT, evaluations=evaluations, seed=2, journal=journal)


def described(result):
    return {key: value for key, value in result.to_json().items() if key != "wall_s"}


@pytest.mark.parametrize("until", [10, 2500, 5000])
def test_a_search_that_failed_goes_on_to_the_same_result_without_evaluating_twice(tmp_path, until):
    with pytest.raises(RuntimeError):
        find(Counted(until), SearchJournal(tmp_path / "state", {"seed": 2}, save_every_s=0))
    journal = SearchJournal(tmp_path / "state", {"seed": 2})
    rest, whole = Counted(), Counted()
    known = journal.known
    assert known <= until
    result = find(rest, journal)
    assert described(result) == described(find(whole))
    assert rest.asked == whole.asked - known


def test_an_interrupted_search_gives_the_best_so_far(tmp_path):
    result = find(Counted(4000, KeyboardInterrupt))
    assert result.interrupted
    assert 0 < result.evaluations <= 4000
    assert result.figures["macs"] <= 60e6


def test_interrupted_before_anything_was_feasible_it_has_no_answer():
    with pytest.raises(KeyboardInterrupt):
        find(Counted(0, KeyboardInterrupt))


def test_the_state_of_another_search_is_refused_with_what_differs(tmp_path):
    find(Counted(), SearchJournal(tmp_path, {"seed": 2, "space": "lite0"}, save_every_s=0))
    with pytest.raises(ConfigError, match="seed was 2, is 3"):
        SearchJournal(tmp_path, {"seed": 3, "space": "lite0"})


def test_a_course_that_differs_and_damaged_parts_are_refused(tmp_path):
    find(Counted(), SearchJournal(tmp_path, {}, save_every_s=0))
    other = SearchJournal(tmp_path, {})
    with pytest.raises(FormatError, match="another course"):
        other.recall(SPACE.smallest()[None])
    part = sorted(tmp_path.glob("part-*.npz"))[0]
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(FormatError, match="damaged"):
        SearchJournal(tmp_path, {})
