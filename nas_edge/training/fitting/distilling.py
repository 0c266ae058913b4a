"""Networks that imitate smooth functions of architectures: fast to evaluate by the million, with a gradient.

A function that was found from few labels gives as many labels as wanted. First a linear fit, then small ReLU networks
for what that leaves over, by Adam (Kingma and Ba, ICLR 2015) on random rows, its rate falling to zero along a cosine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_edge.progress import Progress, silent
from nas_edge.spaces import Population, SearchSpace

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Layers = list[tuple[Float32, Float32]]

_RIDGE = 1e-6  # of the mean square of the inputs: choices of a gene sum to one


@dataclass(frozen=True)
class ImitationOptions:
    """How networks imitate.

    Attributes:
        hidden: units of the hidden layers.
        rows: architectures that are imitated on.
        steps, batch: of Adam.
        learning_rate: at its peak.

    """

    hidden: tuple[int, ...] = (64,)
    rows: int = 12_000
    steps: int = 4000
    batch: int = 256
    learning_rate: float = 1e-2


def wide_population(space: SearchSpace, count: int, rng: np.random.Generator) -> Population:
    """Architectures of every size, int8 [count, genes]: uniform ones, and children of them with the two extremes.

    Uniform sampling alone would leave out the corners, where searches end.
    """
    parts = [space.sample(-(-count // 5), rng)]
    for extreme in (space.smallest(), space.largest()):
        towards = parts[0]
        for _ in range(2):
            towards = space.crossover(towards, np.broadcast_to(extreme, towards.shape), rng)
            parts.append(towards)
    joined: Population = np.concatenate(parts)[rng.permutation(5 * len(parts[0]))[:count]]
    return joined


def fit_lines(x: Float, targets: Float) -> tuple[Float, Float]:
    """Slopes [members, inputs] and offsets [members] of least squares; x is [n, inputs], targets [members, n]."""
    mean, centre = x.mean(axis=0), targets.mean(axis=1)
    centred = x - mean
    gram = centred.T @ centred
    gram += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    slope: Float = np.linalg.solve(gram, centred.T @ (targets - centre[:, None]).T).T
    return slope, centre - slope @ mean


def fit_networks(
    x: Float, targets: Float, options: ImitationOptions, rng: np.random.Generator, progress: Progress = silent
) -> list[tuple[Float, Float]]:
    """Weights [members, inputs, outputs] and biases [members, outputs] of each layer; arguments as `fit_lines`.

    Targets should have a spread of about one.
    """
    members, inputs = len(targets), x.shape[1]
    length = float(np.sqrt((x**2).sum(axis=1).mean())) or 1.0
    rows, aims = (x / length).astype(np.float32), targets.astype(np.float32)
    sizes = [inputs, *options.hidden, 1]
    # Rows of length one: the first layer needs no division by its number of inputs to give units of variance one.
    spreads = [1.0, *(math.sqrt(2 / size) for size in sizes[1:])]
    layers: Layers = [
        (rng.normal(0, spread, (members, a, b)).astype(np.float32), np.zeros((members, b), np.float32))
        for a, b, spread in zip(sizes, sizes[1:], spreads, strict=False)
    ]
    moments = [[np.zeros((2, *p.shape), np.float32) for p in layer] for layer in layers]
    for step in range(options.steps):
        if step % 100 == 0:
            progress(step, options.steps, "fitting the accuracy predictor")
        chosen = rng.integers(len(rows), size=options.batch)
        rate = options.learning_rate * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        for layer, slopes, kept in zip(layers, _gradients(layers, rows[chosen], aims[:, chosen]), moments, strict=True):
            for parameter, slope, moment in zip(layer, slopes, kept, strict=True):
                _adam(parameter, slope, moment, step + 1, rate)
    wide = [(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]
    return [(wide[0][0] / length, wide[0][1]), *wide[1:]]


def _gradients(layers: Layers, rows: Float32, aims: Float32) -> Layers:
    """Of half the mean square error, for each layer's weights and biases."""
    outputs = [np.broadcast_to(rows, (len(aims), *rows.shape))]
    for i, (weight, bias) in enumerate(layers):
        inner = np.matmul(outputs[-1], weight) + bias[:, None]
        outputs.append(np.maximum(inner, 0) if i < len(layers) - 1 else inner)
    slope = (outputs[-1] - aims[:, :, None]) / len(rows)
    found: Layers = []
    for i in reversed(range(len(layers))):
        found.append((np.matmul(outputs[i].transpose(0, 2, 1), slope), slope.sum(axis=1)))
        if i:
            slope = np.matmul(slope, layers[i][0].transpose(0, 2, 1)) * (outputs[i] > 0)
    return found[::-1]


def _adam(parameter: Float32, slope: Float32, moment: Float32, step: int, rate: float) -> None:
    """One step, in place."""
    moment[0] += 0.1 * (slope - moment[0])
    moment[1] += 0.001 * (slope**2 - moment[1])
    parameter -= rate / (1 - 0.9**step) * moment[0] / (np.sqrt(moment[1] / (1 - 0.999**step)) + 1e-8)
