"""How zero-cost proxies rank subnets against their measured accuracies, and what they are worth as a prior.

Printed: `pytest -m benchmark -s`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nas_edge
from nas_edge.accuracy import AccuracySet, kendall_tau, read_accuracy, rmse
from nas_edge.errors import DataError
from nas_edge.pipeline.bundle import ACCURACY, Bundle, load_bundle
from nas_edge.pipeline.zero_cost import zero_cost_of_bundle
from nas_edge.spaces import Population
from nas_edge.training.fitting.gaussian_process import GaussianProcess, Traits
from nas_edge.training.fitting.guided import GuidedProcess
from nas_edge.training.measuring.zero_cost import PROXIES, PROXIES_OF_IMAGES, ZeroCostScores
from tests.pipeline.cifar10 import real

pytestmark = pytest.mark.benchmark

SUBNETS, RESAMPLES = 40, 2000  # held-out subnets of each bundle; bootstrap samples
MEASURED, POOL, DRAWS = (10, 20, 40), 60, 10  # fits to so many of the pool's subnets, drawn so often
EMBEDDED = sorted(path.parent.name for path in Path(nas_edge.__file__).parent.glob(f"bundles/*/{ACCURACY}"))

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scored:
    """Some measured subnets of a bundle, and what proxies say of them; each is scored once."""

    bundle: Bundle

    @cached_property
    def held_out(self) -> AccuracySet:
        return self._some("holdout", SUBNETS)

    @cached_property
    def pool(self) -> AccuracySet:
        return self._some("train", POOL)

    def _some(self, role: str, count: int) -> AccuracySet:
        known = read_accuracy(self.bundle.path / ACCURACY, self.bundle.space).with_role(role).of_precision("fp32")
        keep = np.zeros(len(known), bool)
        keep[np.random.default_rng(0).permutation(len(known))[:count]] = True
        return known.select(keep)

    @cached_property
    def proxies(self) -> dict[str, ZeroCostScores]:
        return {name: zero_cost_of_bundle(name, self.bundle) for name in PROXIES}

    def macs(self, rows: Population) -> Float:
        return self.bundle.space.macs(rows, self.bundle.num_classes)


@pytest.fixture(scope="module", params=EMBEDDED)
def scored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scored]:
    """Of each embedded bundle; the data set of the one that ships no images is made of the shared pictures."""
    bundle = load_bundle(request.param)
    with pytest.MonkeyPatch.context() as patched:
        if not bundle.ships_images and bundle.header["data"]["spec"] == "cifar10":
            here = tmp_path_factory.mktemp("here")
            real(here / "data" / "cifar10", request.getfixturevalue("shared_dir"))
            patched.chdir(here)
        found = Scored(bundle)
        try:
            assert found.proxies
        except DataError as error:
            pytest.skip(f"{', '.join(PROXIES_OF_IMAGES)} need images: {error}")
        yield found


def interval(a: Float, b: Float) -> tuple[float, float]:
    """95 % interval of Kendall's tau: bootstrap over architectures."""
    rng = np.random.default_rng(0)
    taus = [kendall_tau(a[i], b[i]) for i in rng.integers(len(a), size=(RESAMPLES, len(a)))]
    return float(np.quantile(taus, 0.025)), float(np.quantile(taus, 0.975))


def test_rank_correlation_of_zero_cost_proxies_with_measured_accuracies(scored: Scored) -> None:
    bundle, rows, accuracy = scored.bundle, scored.held_out.population, scored.held_out.accuracy
    macs = scored.macs(rows)
    scores = {
        "accuracy predictor": (bundle.accuracy_predictor().predict(rows), 0.0),
        "MACs": (macs, 0.0),
        "parameters": (bundle.space.params(rows, bundle.num_classes), 0.0),
    }
    for name, proxy in scored.proxies.items():
        began = time.process_time()
        scores[name] = proxy.predict(rows), 1e3 * (time.process_time() - began) / len(rows)
    # What a proxy knows beyond size: ranks among networks of like MACs.
    rest = accuracy - np.polynomial.Polynomial.fit(np.log(macs), accuracy, 2)(np.log(macs))
    print(
        f"\nKendall's tau with the accuracy of {len(rows)} held-out subnets of {bundle.name}, 95 % bootstrap interval"
    )
    print(f"{'':<20}{'tau':>6}{'interval':>16}{'beyond MACs':>13}{'interval':>16}{'CPU ms':>9}")
    for name, (score, each_ms) in scores.items():
        low, high = interval(score, accuracy)
        line = f"{name:<20}{kendall_tau(score, accuracy):>6.2f}{f'{low:.2f} to {high:.2f}':>16}"
        if name != "MACs":
            beyond = score - np.polynomial.Polynomial.fit(np.log(macs), score, 2)(np.log(macs))
            rest_low, rest_high = interval(beyond, rest)
            line += f"{kendall_tau(beyond, rest):>13.2f}{f'{rest_low:.2f} to {rest_high:.2f}':>16}{each_ms:>9.0f}"
        print(line)


def test_what_a_prior_is_worth_where_few_subnets_are_measured(scored: Scored) -> None:
    """The processes that a search fits, to subnets drawn at random: nothing, MACs, and each proxy as the prior."""
    pool, held_out, traits = scored.pool, scored.held_out, Traits.of(scored.bundle.space, scored.pool.population)
    priors = {"MACs": lambda rows: np.log(scored.macs(rows))[:, None]}
    for name, proxy in scored.proxies.items():
        priors[name] = lambda rows, proxy=proxy: np.stack([proxy.predict(rows), np.log(scored.macs(rows))], axis=1)
    rng, sizes = np.random.default_rng(0), [size for size in MEASURED if size <= len(pool)]
    draws = {size: [rng.permutation(len(pool))[:size] for _ in range(DRAWS)] for size in sizes}

    def judged(prior: str, chosen: NDArray[np.int64]) -> tuple[float, float]:
        labels = pool.population[chosen], pool.accuracy[chosen]
        fitted = GuidedProcess.fit(traits, *labels, priors[prior]) if prior else GaussianProcess.fit(traits, *labels)
        predicted = fitted.predict(held_out.population)
        return kendall_tau(predicted, held_out.accuracy), 100 * rmse(predicted, held_out.accuracy)

    print(
        f"\n{scored.bundle.name}: Kendall's tau and RMSE in points on {len(held_out)} held-out subnets after so many "
        f"measured ones; means of {DRAWS} draws, and how often the error is below that of nothing, of MACs"
    )
    print(f"{'prior':<12}" + "".join(f"{size:>8} measured{'':>13}" for size in sizes))
    errors: dict[tuple[str, int], Float] = {}
    for prior in ("", *priors):
        line = f"{prior or 'nothing':<12}"
        for size in sizes:
            taus, found = np.array([judged(prior, chosen) for chosen in draws[size]]).T
            errors[prior, size] = found
            others = [other for other in ("", "MACs") if prior not in ("", other)]
            wins = ", ".join(f"{(found < errors[other, size]).sum():>2}" for other in others)
            won = f"({wins})" if wins else ""
            line += f"{taus.mean():>8.2f}{found.mean():>7.2f}{won:>10}{'':>5}"
        print(line)
