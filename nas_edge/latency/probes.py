"""Blocks beyond the spaces that a table is measured for: other widths, other input sizes, other families.

A model fitted to one space's blocks knows that space's channel counts and sides. Asked for others it goes beyond what
was measured, and what kernels do with widths that fill no vector, or with inputs that leave a cache, it cannot know.
Some hundred blocks of random networks, chosen to be far from what is measured and from each other, tell it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nas_edge.latency.residual import places
from nas_edge.spaces import BlockSpec, Precision, SearchSpace

PROBES = 320
"""As many as cost half a minute, beside the minute or two of a space's own blocks."""

FAMILIES = ("lite0", "ofa-mbv3-w1.0", "ofa-proxyless-w1.3", "mbv3-32")
_WIDTHS = (0.5, 1.75)
_SMALLER, _LARGER = 0.7, 1.5  # than the family's least and greatest input
_LARGEST_SIDE = 288
_NETWORKS = 60  # of each family; a network has about twenty blocks
_CLASSES = (2, 1000)


def probe_blocks(
    measured: Sequence[BlockSpec], count: int = PROBES, precision: Precision = Precision.FP32, seed: int = 0
) -> tuple[BlockSpec, ...]:
    """Blocks to be measured beside others, farthest first (Gonzalez, 1985).

    Args:
        measured: what is measured anyway; none of it is chosen.
        count: how many; fewer where there are no more.
        precision: of the blocks.
        seed: of the networks that they are drawn from.

    """
    rng = np.random.default_rng(seed)
    known = set(measured)
    drawn = (block for name in FAMILIES for block in _drawn(name, precision, rng))
    pool = [block for block in dict.fromkeys(drawn) if block not in known]
    return tuple(pool[i] for i in _farthest(places(pool), places(list(measured)), min(count, len(pool))))


def _drawn(name: str, precision: Precision, rng: np.random.Generator) -> Iterable[BlockSpec]:
    """Blocks of random networks of a family's stages, at random widths and sides."""
    template = SearchSpace.named(name).template
    sides = _SMALLER * template.resolutions[0], min(_LARGER * template.resolutions[-1], _LARGEST_SIDE)
    for _ in range(_NETWORKS):
        width, side, classes = (_log_uniform(rng, *ends) for ends in (_WIDTHS, sides, _CLASSES))
        space = SearchSpace(replace(template, widths=(round(width, 3),), resolutions=(round(side),)))
        yield from space.lower(space.sample(1, rng)[0], round(classes), precision)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _farthest(pool: NDArray[np.float64], known: NDArray[np.float64], count: int) -> list[int]:
    """Rows of the pool, each the farthest from what is known and from those before it."""
    nearest = np.full(len(pool), np.inf)
    for place in known:
        np.minimum(nearest, np.abs(pool - place).sum(axis=1), out=nearest)
    chosen = []
    for _ in range(count):
        best = int(np.argmax(nearest))
        chosen.append(best)
        np.minimum(nearest, np.abs(pool - pool[best]).sum(axis=1), out=nearest)
    return chosen
