import numpy as np
import pytest

from nas_edge.errors import QuantityError
from nas_edge.search import Constraint, pareto_front
from nas_edge.search.constraints import order, total_violation


def test_excess_is_relative_and_signed_on_either_side():
    values = np.array([5.0, 10.0, 12.0])
    assert Constraint("latency", "<=", 10.0).excess(values) == pytest.approx([-0.5, 0.0, 0.2])
    assert Constraint("accuracy", ">=", 10.0).excess(values) == pytest.approx([0.5, 0.0, -0.2])


def test_violations_add_up_and_room_does_not_make_up_for_them():
    assert total_violation(np.array([[0.2, -0.9], [0.1, 0.3], [-1.0, 0.0]])) == pytest.approx([0.2, 0.4, 0.0])


def test_feasible_comes_before_infeasible_whatever_its_gain():
    assert order(np.array([1.0, 9.0, 2.0, 8.0]), np.array([0.0, 0.5, 0.0, 0.1])).tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize(("op", "limit"), [("<", 1.0), ("<=", 0.0), ("<=", float("nan")), (">=", float("inf"))])
def test_a_constraint_that_means_nothing_is_refused(op, limit):
    with pytest.raises(QuantityError):
        Constraint("latency", op, limit)


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_nothing_dominates(seed):
    rng = np.random.default_rng(seed)
    gain, cost = rng.integers(0, 12, (2, 60)).astype(float)
    front = pareto_front(gain, cost)
    dominated = [
        any((gain[j] >= gain[i] and cost[j] <= cost[i]) and (gain[j] > gain[i] or cost[j] < cost[i]) for j in range(60))
        for i in range(60)
    ]
    best = {(gain[i], cost[i]) for i in range(60) if not dominated[i]}
    assert {(gain[i], cost[i]) for i in front} == best
    assert len(front) == len(best)
    assert (np.diff(cost[front]) > 0).all()


def test_the_front_of_nothing_is_empty():
    assert len(pareto_front(np.zeros(0), np.zeros(0))) == 0
