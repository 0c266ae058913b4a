"""Once-for-All's published accuracy predictor (`acc_predictor.pth`), and any predictor by its content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.accuracy.features import FeatureLayout
from nas_edge.accuracy.predictor import AccuracyPredictor
from nas_edge.accuracy.torch_file import is_torch_file, read_state_dict
from nas_edge.errors import FormatError, SpaceError
from nas_edge.spaces import SearchSpace

BLOCKS = 20
KERNELS, RATIOS = (3.0, 5.0, 7.0), (3.0, 4.0, 6.0)
RESOLUTIONS = tuple(range(112, 225, 16))
FEATURES = BLOCKS * len(KERNELS) + BLOCKS * len(RATIOS) + len(RESOLUTIONS)

_WHAT = "Once-for-All's accuracy predictor"


def load_accuracy_predictor(path: Path, space: SearchSpace) -> AccuracyPredictor:
    """An accuracy predictor for a space: our `accuracy_predictor.npz`, or Once-for-All's `.pth`, by its content.

    Raises:
        FormatError: missing, damaged, or weights that are not finite or of other shapes.
        SpaceError: a predictor of another space; the dimension that differs is named.

    """
    return read_once_for_all(path, space) if is_torch_file(path) else AccuracyPredictor.read(path, space)


def resolutions_known(path: Path, space: SearchSpace) -> tuple[int, ...]:
    """Those of a space's resolutions that a predictor can tell apart: all of them but for Once-for-All's `.pth`."""
    return tuple(r for r in space.resolutions if r in RESOLUTIONS) if is_torch_file(path) else space.resolutions


def read_once_for_all(path: Path, space: SearchSpace) -> AccuracyPredictor:
    """The predictor of Cai et al. (Once-for-All, 2020) for one of their MobileNetV3 spaces.

    A network 128 - 400 - 400 - 400 - 1 over one-hot kernels (3, 5, 7) and expand ratios (3, 4, 6) of 20 blocks, zeros
    where a block is absent, and resolutions of 112 to 224 pixels in steps of 16. Its first layer is put into the order
    of the space's genes; the figures stay the same. What it was fitted to is one supernet on ImageNet: for another
    width or data set it is at best good for ranking, which no file can tell.

    Args:
        path: of the state dict that torch saved.
        space: restricted to resolutions that the predictor knows.

    Raises:
        FormatError: damaged, weights that are not finite, or of other shapes than a predictor's.
        SpaceError: another space, or resolutions that it cannot tell apart.

    """
    weights, biases = _layers(read_state_dict(path), path)
    _check_space(space, path)
    layout = FeatureLayout.of(space)
    weights[0] = weights[0][_rows(layout)]
    return AccuracyPredictor(
        layout,
        tuple(np.ascontiguousarray(weight)[None] for weight in weights),
        tuple(bias[None] for bias in biases),
        np.zeros((1, layout.size), np.float32),
    )


def _layers(state: dict[str, NDArray[Any]], path: Path) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Weights [inputs, outputs] and biases [outputs] of all layers, first to last."""
    names = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    weights, biases, inputs = [], [], FEATURES
    for name in names:
        try:
            weight, bias = (np.asarray(state[f"{name}.{part}"], np.float32) for part in ("weight", "bias"))
        except KeyError as error:
            raise FormatError(f"{path}: is no accuracy predictor: {error} is missing") from error
        if weight.ndim != 2 or weight.shape[1] != inputs or bias.shape != weight.shape[:1]:
            what = f"takes {weight.shape[1]} inputs where {inputs}" if weight.ndim == 2 else f"has shape {weight.shape}"
            what = what if bias.shape == weight.shape[:1] else f"has a bias {bias.shape} that its weight {weight.shape}"
            raise FormatError(f"{path}: is not {_WHAT}: layer {name!r} {what} are expected")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise FormatError(f"{path}: weights of layer {name!r} are not finite; copy the file again")
        weights.append(weight.T)
        biases.append(bias)
        inputs = len(bias)
    if not weights or inputs != 1:
        raise FormatError(f"{path}: is not {_WHAT}: it gives {inputs} figures where one is expected")
    return weights, biases


def _check_space(space: SearchSpace, path: Path) -> None:
    """Raise SpaceError naming the first dimension that the predictor does not have."""
    blocks = [gene for gene in space.genes if gene.name.endswith(".k")]
    where = f"{path}: {_WHAT} does not fit space {space.name!r}"
    others = [gene.name for gene in space.genes if gene.name != "r" and not gene.name.endswith((".k", ".e"))]
    if others:
        raise SpaceError(f"{where}: it knows no gene {others[0]!r}")
    if len(blocks) != BLOCKS:
        raise SpaceError(f"{where}: it is for {BLOCKS} blocks, the space has {len(blocks)}")
    for gene in space.genes:
        known = {"k": KERNELS, "e": RATIOS}.get(gene.name.rpartition(".")[2], gene.choices)
        if gene.choices != known:
            raise SpaceError(f"{where}: {gene.name} is one of {_list(known)} there, of {_list(gene.choices)} here")
    unknown = [r for r in space.resolutions if r not in RESOLUTIONS]
    if unknown:
        usable = [r for r in space.resolutions if r in RESOLUTIONS]
        hint = f"--resolutions {','.join(map(str, usable))}" if usable else "another predictor"
        raise SpaceError(
            f"{where}: it tells resolutions of {_list(RESOLUTIONS)} pixels apart, not {_list(unknown)}; use {hint}"
        )


def _rows(layout: FeatureLayout) -> NDArray[np.intp]:
    """Which of the 128 inputs each of our features is, [features]."""
    rows, block = [], -1
    for name, choices in layout.genes:
        block += name.endswith(".k")
        for i, choice in enumerate(choices):
            if name == "r":
                # Resolutions that no row of the restricted space has go where their encoding puts them.
                place = min(max((int(choice) - RESOLUTIONS[0]) // 16, 0), len(RESOLUTIONS) - 1)
                rows.append(FEATURES - len(RESOLUTIONS) + place)
            else:
                rows.append((0 if name.endswith(".k") else BLOCKS * len(KERNELS)) + 3 * block + i)
    return np.array(rows, np.intp)


def _list(values: tuple[float, ...] | tuple[int, ...] | list[int]) -> str:
    return ", ".join(f"{value:g}" for value in values)
