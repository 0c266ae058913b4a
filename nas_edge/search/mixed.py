"""Metrics over a space whose first gene is the precision of the whole network: each row is judged in its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import SpaceError
from nas_edge.search.metrics import FunctionMetric, Metric, MetricContext, build_metrics
from nas_edge.spaces import Population, Precision, SearchSpace

Float = NDArray[np.float64]


def build_mixed_metrics(
    names: Iterable[str], contexts: Mapping[Precision, MetricContext], space: SearchSpace
) -> dict[str, Metric]:
    """As `build_metrics`, for a space with a precision gene.

    Args:
        names: of metrics.
        contexts: for each precision of the space, over `space.base`: its own accuracy and latency predictors. What a
            network of one precision scores or takes never stands for another precision.
        space: with the gene.

    Raises:
        SpaceError: a precision of the space has no context. Others as `build_metrics`.

    """
    lacking = [precision.value for precision in space.precisions if precision not in contexts]
    if lacking:
        raise SpaceError(f"nothing is known of networks in {', '.join(lacking)}; leave that precision out")
    names = list(dict.fromkeys(names))
    parts = [build_metrics(names, contexts[precision]) for precision in space.precisions]
    return {name: _joined(space, [part[name] for part in parts]) for name in names}


def _joined(space: SearchSpace, metrics: list[Metric]) -> Metric:
    first = metrics[0]
    return FunctionMetric(first.name, first.unit, _by_gene(space, metrics), first.maximise)


def _by_gene(space: SearchSpace, metrics: list[Metric]) -> Callable[[Population], Float]:
    def figures(population: Population) -> Float:
        rows, result = space.of_base(population), np.empty(len(population), np.float64)
        for value, metric in enumerate(metrics, 1):
            mine = population[:, 0] == value
            if mine.any():
                result[mine] = metric(rows[mine])
        return result

    return figures
