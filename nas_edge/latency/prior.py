"""A prior for a device of which only whole networks were published: launches and MACs, fitted to a handful of them.

A table's header holds it as plain data, and the predictor uses it where the table has no blocks to learn from:

    prior: {ms_per_launch: 0.0072, gmacs_per_s: 17.1, log_error: 0.43, fitted_to: {mnasnet: 12.93, ...}}

Its stated error is the greater part of what is known to go wrong: networks left out of the fit, and another runtime.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import TableError
from nas_edge.latency.nnls import nnls
from nas_edge.latency.parametric import PRIORS, ParametricModel, prior_model
from nas_edge.spaces import Activation, BlockSpec, Kind

if TYPE_CHECKING:
    from nas_edge.latency.table import TableHeader

Floats = NDArray[np.float64]

RUNTIME_LOG_ERROR = 0.39
"""What another runtime changes: root mean square of log(PyTorch Mobile / TFLite), 41 mobile networks on 11 cores of
five phones, one thread, float (github.com/qed-usc/mobile-ml-benchmark at 40ba833a)."""

FITTED = "prior fitted to whole networks"
_LEAST_NETWORKS = 3
_NO_LAUNCH = 1e-6  # ms: a pooling has no MACs, and no block takes no time


@dataclass(frozen=True)
class NetworkPrior:
    """Coefficients of the prior.

    Attributes:
        ms_per_launch: of each layer, activation that is not fused, shortcut, and of four for a squeeze.
        gmacs_per_s: thousand million multiply-adds a second.
        log_error: standard deviation of log(measured / predicted) of a network.
        fitted_to: milliseconds of each network of the fit, by name.

    """

    ms_per_launch: float
    gmacs_per_s: float
    log_error: float
    fitted_to: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain data: the header's `prior`."""
        return {
            "ms_per_launch": float(f"{self.ms_per_launch:.4g}"),
            "gmacs_per_s": float(f"{self.gmacs_per_s:.4g}"),
            "log_error": round(self.log_error, 3),
            "fitted_to": dict(self.fitted_to),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NetworkPrior:
        """The inverse of `to_json`. Raises TableError for a key that is missing, unknown, or no figure."""
        figures = {}
        for key, least in (("ms_per_launch", 0.0), ("gmacs_per_s", 1e-9), ("log_error", 1e-9)):
            value = data.get(key)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TableError(f"needs the figure {key!r}, not {value!r}")
            if not (math.isfinite(value) and value >= least):
                raise TableError(f"{key} = {value} is not a positive, finite figure")
            figures[key] = float(value)
        fitted = data.get("fitted_to", {})
        unknown = sorted(set(data) - {*figures, "fitted_to"})
        if unknown or not isinstance(fitted, Mapping):
            raise TableError(f"does not know {unknown[0]!r}" if unknown else "fitted_to must be a mapping")
        return cls(**figures, fitted_to={str(key): float(value) for key, value in fitted.items()})

    def predict(self, blocks: Sequence[BlockSpec]) -> Floats:
        """Milliseconds of each block, float64 [n]."""
        work = np.array([(_launches(b), b.macs / 1e6) for b in blocks], np.float64).reshape(len(blocks), 2)
        ms: Floats = work @ np.array([self.ms_per_launch, 1.0 / self.gmacs_per_s])
        return np.maximum(ms, _NO_LAUNCH)


def fit_network_prior(networks: Mapping[str, tuple[Sequence[BlockSpec], float]], device_class: str) -> NetworkPrior:
    """Fit to whole networks: both coefficients, or the class's prior times a factor, whichever predicts left-out
    networks better.

    Args:
        networks: blocks and milliseconds of each, by name.
        device_class: a key of `parametric.PRIORS`.

    Raises:
        TableError: fewer than three networks.

    """
    if len(networks) < _LEAST_NETWORKS:
        raise TableError(f"a prior needs {_LEAST_NETWORKS} networks whose blocks are known, not {len(networks)}")
    of_class = PRIORS.get(device_class, PRIORS["cpu"])
    scaled = np.array([[of_class.ms_per_layer, 1.0 / of_class.gmacs_per_s]])
    ms = np.array([value for _, value in networks.values()])
    work = np.array([_work(blocks) for blocks, _ in networks.values()])
    relative = work / ms[:, None]
    errors, fits = [], []
    for form in (scaled, np.eye(2)):
        design = relative @ form.T
        fits.append(nnls(design, np.ones(len(ms))) @ form)
        left_out = [nnls(np.delete(design, i, 0), np.ones(len(ms) - 1)) @ form for i in range(len(ms))]
        predicted = np.maximum((relative * np.array(left_out)).sum(axis=1), 1e-3)
        errors.append(float(np.sqrt(np.mean(np.log(predicted) ** 2))))
    best = int(np.argmin(errors))
    launch, mac = fits[best]
    return NetworkPrior(
        float(launch), float(1.0 / max(mac, 1e-9)), math.hypot(errors[best], RUNTIME_LOG_ERROR),
        {name: value for name, (_, value) in networks.items()},
    )  # fmt: skip


@dataclass(frozen=True)
class FittedPrior(ParametricModel):
    """A `NetworkPrior` where the pricing expects a model."""

    prior: NetworkPrior = field(default_factory=lambda: NetworkPrior(0.0, 1.0, 1.0))

    def predict(self, blocks: Sequence[BlockSpec]) -> Floats:
        """Milliseconds of each block, float64 [n]."""
        return self.prior.predict(blocks)

    def log_error(self, kind: Kind) -> float:
        """Stated error, the same for all kinds."""
        return self.prior.log_error


def header_prior(header: TableHeader) -> ParametricModel:
    """What to price blocks with where a table has none: its header's prior, else that of its device's class."""
    of_class = prior_model(str(header.device.get("class", "cpu")))
    if not header.prior:
        return of_class
    return FittedPrior(of_class.pooled, source=FITTED, prior=NetworkPrior.from_json(header.prior))


def _launches(block: BlockSpec) -> int:
    """Layers, activations that are not fused, the shortcut, and four for a squeeze-and-excitation."""
    layers = 2 + block.expands if block.kind is Kind.INVERTED_RESIDUAL else 1
    activations = max(layers - 1, 1) if block.activation is Activation.H_SWISH else 0
    return layers + activations + block.residual + 4 * block.se


def _work(blocks: Sequence[BlockSpec]) -> tuple[float, float]:
    return float(sum(map(_launches, blocks))), sum(block.macs for block in blocks) / 1e6
