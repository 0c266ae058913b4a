"""A prior fitted to whole networks: where no block was ever measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_edge.errors import TableError
from nas_edge.latency import LatencyPredictor, LatencyTable, TableHeader
from nas_edge.latency.importers.ncnn_networks import NETWORKS
from nas_edge.latency.parametric import prior_model
from nas_edge.latency.prior import RUNTIME_LOG_ERROR, NetworkPrior, fit_network_prior, header_prior
from nas_edge.origin import Origin, OriginKind
from nas_edge.spaces import SearchSpace

TRUE = NetworkPrior(0.05, 20.0, 0.4)


def test_the_networks_have_the_sizes_that_their_papers_state() -> None:
    """Million multiply-adds and parameters, of EfficientNet's squeezes less."""
    sizes = {
        name: (sum(b.macs for b in blocks) / 1e6, sum(b.params for b in blocks) / 1e6)
        for name, blocks in NETWORKS.items()
    }
    for name, macs, params in [
        ("mobilenet_v2", 300, 3.5), ("mobilenet_v3", 219, 5.4), ("mnasnet", 315, 4.4), ("efficientnet_b0", 390, 5.3),
    ]:  # fmt: skip
        assert sizes[name][0] == pytest.approx(macs, rel=0.13)
        if name != "efficientnet_b0":
            assert sizes[name][1] == pytest.approx(params, rel=0.06)


def test_networks_that_follow_the_model_give_its_coefficients_back() -> None:
    ms = {name: (blocks, float(TRUE.predict(blocks).sum())) for name, blocks in NETWORKS.items()}
    found = fit_network_prior(ms, "gpu")
    assert (found.ms_per_launch, found.gmacs_per_s) == (pytest.approx(0.05, rel=1e-3), pytest.approx(20.0, rel=1e-3))
    assert found.log_error == pytest.approx(RUNTIME_LOG_ERROR, abs=1e-3)


def test_networks_that_scatter_give_a_factor_on_the_class_and_a_wider_error() -> None:
    """Five noisy networks do not support two coefficients: left-out ones are predicted better by one."""
    rng = np.random.default_rng(2)
    of_class = prior_model("mobile-cpu")
    ms = {name: (b, 3.0 * float(of_class.predict(b).sum() * rng.lognormal(0, 0.2))) for name, b in NETWORKS.items()}
    found = fit_network_prior(ms, "mobile-cpu")
    assert found.ms_per_launch * found.gmacs_per_s == pytest.approx(0.01 * 8.0)
    assert found.log_error > RUNTIME_LOG_ERROR + 0.02
    with pytest.raises(TableError, match="needs 3 networks"):
        fit_network_prior({"one": next(iter(ms.values()))}, "cpu")


def test_a_header_s_prior_prices_a_table_without_blocks_and_survives_json() -> None:
    assert NetworkPrior.from_json(TRUE.to_json()) == TRUE
    header = TableHeader("board", "toy", device={"class": "gpu"}, origin=Origin(OriginKind.MODELLED))
    space = SearchSpace.named("mcu")
    row = space.largest()[None]
    ours = LatencyPredictor.of(LatencyTable(replace(header, prior=TRUE.to_json()), {}), space, 10).predict(row)
    assert ours.point == pytest.approx(TRUE.predict(space.lower(row[0], 10)).sum())
    assert ours.high > ours.point * np.exp(1.28 * 0.4)
    of_class = LatencyPredictor.of(LatencyTable(header, {}), space, 10).predict(row)
    assert of_class.high / of_class.point > ours.high / ours.point
    assert header_prior(header).source == "prior"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ms_per_launch": -1}, "ms_per_launch = -1"),
        ({"gmacs_per_s": 0}, "gmacs_per_s = 0"),
        ({"log_error": float("nan")}, "log_error = nan"),
        ({"log_error": "wide"}, "needs the figure 'log_error', not 'wide'"),
        ({"scale": 2}, "does not know 'scale'"),
        ({"fitted_to": [1]}, "must be a mapping"),
    ],
)
def test_a_prior_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(TableError, match=message):
        NetworkPrior.from_json(TRUE.to_json() | change)
