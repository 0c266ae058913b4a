"""How another device differs from one whose blocks are known, learned from a handful of whole networks.

First the parts that are known (the other device's times, and a launch for each layer; or launches, MACs and bytes
where nothing else is known) are put together, none of them negative. What that leaves over is a few corrections: for
large kernels, squeezes, swish, strides, high resolutions, wide layers, MACs and weights. Each is a feature of the
block, so that a network's correction is a sum over its blocks. Ten networks cannot support a dozen coefficients: they
are drawn to zero by a ridge whose strength is chosen by leaving networks out (Hoerl and Kennard, 1970). Strong enough,
nothing is left but the parts: few networks mean few parameters, and noisy ones fewer.

Where the devices differ by little but speed, even that is too much: one factor on the known times predicts better.
Both are kept, and mixed as they predict networks that are left out, the better one by far the more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas_edge.latency.nnls import nnls
from nas_edge.spaces import Activation, BlockSpec, Kind

Floats = NDArray[np.float64]

STRENGTHS = (np.inf, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
FEATURES = (
    "kernel 5", "kernel 7", "squeeze", "h-swish", "stride 2", "no inverted residual", "side", "channels", "launches",
    "macs", "weights", "moved",
)  # fmt: skip
_TIMED = 8  # of these are a share of the time
_FOLDS = 20
_LEAST_SHARE = 0.2  # of a block's first guess, below which no correction takes it
_LEAST_MS = 1e-6
_ROUNDS = 3  # of reweighting
_LEAST_LIMIT = 0.005
_POWER = 4
_NETWORKS_FOR_PARTS, _NETWORKS_FOR_CORRECTIONS = 5, 8


@dataclass(frozen=True)
class Carrying:
    """A learned difference between two devices.

    Attributes:
        shares: float64 [parts], none negative: what of each part makes the first guess.
        weights: float64 [features], corrections, of deviations from the mean network.
        means: float64 [features], the mean network's feature for each ms of the first guess.
        strength: of the ridge; infinite for no corrections.
        left_out_ms: float64 [m], each network predicted by a fit (its strength included) that did not see it.
        plain_share: of the mixture, what one factor on the first part alone makes; 0 to 1.
        plain_factor: that factor.

    """

    shares: Floats
    weights: Floats
    means: Floats
    strength: float
    left_out_ms: Floats
    plain_share: float = 0.0
    plain_factor: float = 1.0

    def block_ms(self, blocks: Sequence[BlockSpec], parts: Floats) -> Floats:
        """Milliseconds on the other device, float64 [n], of blocks whose parts (float64 [n, parts]) are given."""
        return self.priced(BlockFeatures.of(blocks), parts)

    def priced(self, features: BlockFeatures, parts: Floats) -> Floats:
        """The same where the blocks' features are at hand."""
        guess = np.maximum(parts @ self.shares, _LEAST_MS)
        design = features.at(guess) - self.means * guess[:, None]
        learned: Floats = np.maximum(guess + design @ self.weights, _LEAST_SHARE * guess)
        if not self.plain_share:
            return learned
        return (1 - self.plain_share) * learned + self.plain_share * self.plain_factor * parts[:, 0]


@dataclass(frozen=True)
class BlockFeatures:
    """What sums to a network's features: a share of each block's time, and what no time enters.

    Attributes:
        of_time: float64 [n, features], to be multiplied by the block's ms.
        fixed: float64 [n, features].

    """

    of_time: Floats
    fixed: Floats

    @classmethod
    def of(cls, blocks: Sequence[BlockSpec]) -> BlockFeatures:
        """Of `n` blocks."""
        rows = np.array([_features(block) for block in blocks], np.float64).reshape(len(blocks), len(FEATURES))
        timed = np.arange(len(FEATURES)) < _TIMED
        return cls(np.where(timed, rows, 0.0), np.where(timed, 0.0, rows))

    def at(self, ms: Floats) -> Floats:
        """float64 [n, features] for blocks that take `ms`, float64 [n]."""
        found: Floats = self.of_time * ms[:, None] + self.fixed
        return found


def block_features(blocks: Sequence[BlockSpec], known_ms: Floats) -> Floats:
    """float64 [n, features]: what sums to a network's features."""
    return BlockFeatures.of(blocks).at(known_ms)


def fit_carrying(
    networks: Sequence[Sequence[BlockSpec]], measured_ms: Floats, blocks: Sequence[BlockSpec], parts: Floats
) -> Carrying:
    """Learn from networks measured on the other device.

    Args:
        networks: blocks of each, one network or more.
        measured_ms: float64 [m], on the other device.
        blocks: every block of these networks, once.
        parts: float64 [blocks, parts] in ms, none negative: what is known of each of them.

    """
    row_of, known = {block: i for i, block in enumerate(blocks)}, BlockFeatures.of(blocks)
    counts = np.zeros((len(networks), len(blocks)))
    for i, network in enumerate(networks):
        for block in network:
            counts[i, row_of[block]] += 1
    measured = np.asarray(measured_ms, np.float64)
    m = len(measured)
    fold = np.arange(m) % min(m, _FOLDS)
    groups = int(fold.max()) + 1

    def fit(kept: NDArray[np.bool_]) -> tuple[Carrying, Floats]:
        """Without the rows that are not kept; and the prediction of all. Wild networks count less (Huber, 1964)."""
        trust = np.ones(m)
        for _ in range(_ROUNDS):
            carrying, predicted = fit_once(kept, trust)
            residual = np.abs(predicted / measured - 1.0)
            limit = max(1.345 * 1.4826 * float(np.median(residual[kept])), _LEAST_LIMIT)
            trust = np.minimum(1.0, limit / np.maximum(residual, 1e-12))
        return carrying, predicted

    def fit_once(kept: NDArray[np.bool_], trust: Floats) -> tuple[Carrying, Floats]:
        shares = _shares(counts[kept] @ parts / measured[kept][:, None], trust[kept])
        guess = np.maximum(parts @ shares, _LEAST_MS)
        sums = counts @ guess
        features = (counts @ known.at(guess)) / sums[:, None]
        means, spread = features[kept].mean(axis=0), features[kept].std(axis=0)
        spread[spread < 1e-9 * (np.abs(means) + 1e-300)] = np.inf  # what all networks share alike is no correction
        design, ratios = (features - means) / spread, measured / sums
        strength = np.inf
        if kept.sum() >= _NETWORKS_FOR_CORRECTIONS:
            strength = _strength(design, ratios, fold, [g for g in range(groups) if kept[fold == g].all()], trust)
        level, slopes = (part[0] for part in next(_ridges(design, ratios, (trust * kept)[None], (strength,))))
        weights = np.where(np.isfinite(spread), slopes / (spread * level), 0.0)
        carrying = Carrying(shares * level, weights, means / level, strength, np.zeros(0))
        return carrying, counts @ carrying.priced(known, parts)

    whole, predicted = fit(np.ones(m, bool))
    left_out = predicted.copy()
    for group in range(groups if m > 1 else 0):
        out = fold == group
        left_out[out] = fit(~out)[1][out]
    whole = replace(whole, left_out_ms=left_out)
    return whole if m == 1 or parts.shape[1] != 2 else _mixed(whole, counts @ parts[:, 0], measured, fold)


def _mixed(learned: Carrying, known_ms: Floats, measured_ms: Floats, fold: NDArray[np.int64]) -> Carrying:
    """With one factor on the known times (float64 [m]) beside it, each by the inverse fourth power of its error."""
    ratios = measured_ms / known_ms
    scaled = known_ms * np.array([np.median(ratios[fold != group]) for group in fold])
    errors = [max(1e-6, float(np.abs(np.log(ms / measured_ms)).mean())) for ms in (learned.left_out_ms, scaled)]
    share = errors[0] ** _POWER / (errors[0] ** _POWER + errors[1] ** _POWER)
    left_out = (1 - share) * learned.left_out_ms + share * scaled
    return replace(learned, left_out_ms=left_out, plain_share=share, plain_factor=float(np.median(ratios)))


def _shares(relative: Floats, trust: Floats) -> Floats:
    """What of each part makes a network, none negative; of two parts the first alone, unless both are worth it.

    Args:
        relative: float64 [m, parts], sums of the networks' parts over their measured ms.
        trust: float64 [m], how much each counts.

    """
    m, count = relative.shape
    aim = np.sqrt(trust)
    relative = relative * aim[:, None]
    both = nnls(relative, aim)
    if count != 2:
        return both
    alone = np.array([(relative[:, 0] * aim).sum() / (relative[:, 0] ** 2).sum(), 0.0])
    if m < _NETWORKS_FOR_PARTS:
        return alone
    errors, fold = [], np.arange(m) % min(m, _FOLDS)
    for columns in (1, 2):
        own = relative[:, :columns]
        fits = np.array([nnls(own[fold != k], aim[fold != k]) for k in range(int(fold.max()) + 1)])
        errors.append(float(np.abs((own * fits[fold]).sum(axis=1) - aim).mean()))
    return both if errors[1] < _worth(m) * errors[0] else alone


def _strength(design: Floats, ratios: Floats, fold: NDArray[np.int64], groups: Sequence[int], trust: Floats) -> float:
    """The ridge that predicts left-out networks best; a weaker one must be worth its parameters."""
    member = np.isin(fold, groups)
    inner = ((fold[None] != np.array(groups)[:, None]) & member) * trust
    row_of = np.zeros(int(fold.max()) + 1, np.int64)
    row_of[list(groups)] = np.arange(len(groups))
    mine, known, share = row_of[fold[member]], design[member], trust[member]
    errors = []
    for levels, slopes in _ridges(design, ratios, inner, STRENGTHS):
        predicted = np.maximum(levels[mine] + (known * slopes[mine]).sum(axis=1), _LEAST_SHARE)
        errors.append(float(np.abs(share * np.log(predicted / ratios[member])).mean()))
    best = int(np.argmin(errors))
    return STRENGTHS[best] if errors[best] < _worth(int(member.sum())) * errors[0] else STRENGTHS[0]


def _worth(networks: int) -> float:
    """What part of the left-out error may remain for more parameters: few networks flatter them by chance."""
    return 1.0 - 1.0 / float(np.sqrt(networks))


def _ridges(
    design: Floats, ratios: Floats, kept: Floats, strengths: Sequence[float]
) -> Iterator[tuple[Floats, Floats]]:
    """For each strength: level [rows] and slopes [rows, features] for each row of weights; the level is not drawn to
    zero.
    """
    features = design.shape[1]
    count = kept.sum(axis=1)
    level, centre = kept @ ratios / count, kept @ design / count[:, None]
    outer = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    gram = (kept @ outer).reshape(-1, features, features)
    gram -= count[:, None, None] * centre[:, :, None] * centre[:, None, :]
    right = kept @ (design * ratios[:, None]) - (count * level)[:, None] * centre
    for strength in strengths:
        if not np.isfinite(strength):
            yield level, np.zeros((len(kept), features))
            continue
        slopes = np.linalg.solve(gram + strength * np.eye(features), right[:, :, None])[:, :, 0]
        yield level - (centre * slopes).sum(axis=1), slopes


def _features(block: BlockSpec) -> tuple[float, ...]:
    """In the order of `FEATURES`; the first `_TIMED` for each ms that the block takes."""
    inside, outside = block.height * block.width, block.out_height * block.out_width
    layers = 2 + block.expands if block.kind is Kind.INVERTED_RESIDUAL else 1
    moved = inside * (block.in_channels + block.mid_channels) + outside * (block.mid_channels + block.out_channels)
    return (
        block.kernel == 5, block.kernel >= 7, block.se, block.activation is Activation.H_SWISH, block.stride > 1,
        block.kind is not Kind.INVERTED_RESIDUAL, 0.5 * float(np.log(inside)), float(np.log(block.mid_channels)),
        layers + 3.0 * block.se, block.macs / 1e6, block.weight_bytes / 1e6, moved / 1e6,
    )  # fmt: skip
