import numpy as np
import pytest

from nas_edge.errors import BudgetError
from nas_edge.search import AdditiveMetric, Constraint, FunctionMetric, search
from nas_edge.search.infeasible import figure


@pytest.mark.parametrize(
    ("name", "unit", "value", "shown"),
    [
        ("accuracy", "", 0.9285, "92.85 %"),
        ("accuracy", "", 76.28, "76.28"),
        ("accuracy", "%", 76.28, "76.28 %"),
        ("accuracy", "%", 0.5, "0.5 %"),
        ("latency", "ms", 9.0, "9.00 ms"),
    ],
)
def test_figures_are_shown_in_their_own_unit(name, unit, value, shown):
    metric = FunctionMetric(name, unit, lambda rows: np.zeros(len(rows)), name == "accuracy")
    assert figure(metric, value) == shown


def test_a_limit_on_the_objective_itself_is_not_called_slack(tiny_space):
    macs = AdditiveMetric("macs", "MACs", tiny_space.costs(lambda block: block.macs, 4))
    params = AdditiveMetric("params", "parameters", tiny_space.costs(lambda block: block.params, 4))
    rows = tiny_space.enumerate()
    limits = [Constraint(m.name, "<=", 2 * float(m(rows).max())) for m in (macs, params)]
    result = search(tiny_space, {"macs": macs, "params": params}, limits, objective="macs")
    assert [slack.constraint.metric for slack in result.slack] == ["params"]


def test_limits_on_one_metric_that_exclude_each_other_are_told_before_anything_is_searched(tiny_space):
    macs = AdditiveMetric("macs", "MACs", tiny_space.costs(lambda block: block.macs, 4))
    least = float(macs(tiny_space.enumerate()).min())
    limits = [Constraint("macs", "<=", 2 * least), Constraint("macs", ">=", 3 * least)]
    with pytest.raises(BudgetError, match=r"macs >= .* and macs <= .* exclude each other, by .* MACs"):
        search(tiny_space, {"macs": macs}, limits, objective="macs")


@pytest.mark.parametrize(("share", "told"), [(0.5, r"100\.0% off"), (0.001, "1,000 times as much")])
def test_a_limit_far_below_all_is_missed_by_a_multiple(tiny_space, share, told):
    macs = AdditiveMetric("macs", "MACs", tiny_space.costs(lambda block: block.macs, 4))
    limit = Constraint("macs", "<=", share * float(macs(tiny_space.enumerate()).min()))
    with pytest.raises(BudgetError, match=told):
        search(tiny_space, {"macs": macs}, [limit], objective="macs")
