"""Search: metrics, constraints, strategies (ask and tell), Pareto front, result. Numpy only."""

from nas_edge.search.constraints import Constraint
from nas_edge.search.extremes import Extreme, extreme
from nas_edge.search.metrics import (
    AdditiveMetric,
    FunctionMetric,
    Metric,
    MetricContext,
    Monotone,
    TargetSources,
    build_metrics,
    metric_names,
    register_metric,
)
from nas_edge.search.pareto import pareto_front
from nas_edge.search.problem import Problem
from nas_edge.search.result import SearchResult, Slack
from nas_edge.search.run import search
from nas_edge.search.strategies import Strategy, make_strategy, register_strategy, strategy_names

__all__ = [
    "AdditiveMetric", "Constraint", "Extreme", "FunctionMetric", "Metric", "MetricContext", "Monotone", "Problem",
    "SearchResult", "Slack", "Strategy", "TargetSources", "build_metrics", "extreme", "make_strategy", "metric_names",
    "pareto_front", "register_metric", "register_strategy", "search", "strategy_names",
]  # fmt: skip
