"""Zero-cost proxies: what an untrained network's first reaction says about the accuracy it would be trained to.

One mini-batch, no training. They cost tens of milliseconds to a second a network: enough for a few hundred networks,
not for the tens of thousands that a trained predictor prices. How they rank networks against measured accuracies is
printed by `tests/benchmarks/test_zero_cost.py` for every embedded bundle, beside MACs, which a proxy should beat to be
of use. They are for spaces of which nothing is trained yet, and a prior where nothing is measured yet.

All take an extracted or a fresh network, leave it as it is, and give more for what promises more.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_edge.errors import SpaceError, UnknownNameError
from nas_edge.spaces import Activation, Kind, Population, SearchSpace
from nas_edge.supernet.layers import ConvNorm, SqueezeExcite, padded_conv
from nas_edge.supernet.static import StaticBlock, StaticNet
from nas_edge.supernet.supernet import initialise

PROXIES = ("naswot", "synflow", "zen", "grad_norm")
PROXIES_OF_IMAGES = ("naswot", "grad_norm")  # the others feed networks ones or noise

WORST = -1e30  # a search needs finite figures: two images that nothing tells apart are as bad as it gets

_ZEN_STEP = 0.01
_ZEN_BATCH, _ZEN_DRAWS = 8, 2  # the paper takes 16 and 32, on a GPU


def fresh_net(space: SearchSpace, arch: Population, num_classes: int, seed: int) -> StaticNet:
    """An architecture (int8 [genes]) with random weights (He), the same for the same seed; in evaluation mode."""
    template = space.template
    net = StaticNet(space.lower(arch, num_classes), template.bn_eps, template.bn_momentum)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        initialise(net)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
    return net.eval()


def zero_cost(name: str, net: StaticNet, images: Tensor, labels: Tensor, seed: int = 0) -> float:
    """A proxy by name.

    Args:
        name: one of `PROXIES`.
        net: any network.
        images: normalised, float [n, 3, r, r]; used by naswot and grad_norm.
        labels: int64 [n]; used by grad_norm.
        seed: of zen's random weights and inputs.

    Raises:
        UnknownNameError: no such proxy.

    """
    known: dict[str, Callable[[], float]] = {
        "naswot": lambda: naswot(net, images),
        "synflow": lambda: synflow(net),
        "zen": lambda: zen(net, seed),
        "grad_norm": lambda: grad_norm(net, images, labels),
    }
    if name not in known:
        raise UnknownNameError("zero-cost proxy", name, known)
    return known[name]()


# NASWOT ----------------------------------------------------------------------------------------------------------


def naswot(net: StaticNet, images: Tensor) -> float:
    """How differently the images switch the activations: log |K| of NASWOT (Mellor et al., ICML 2021).

    K[i, j] counts the activations that images i and j switch alike, on or off. Batch norms use the batch's own
    statistics. ReLU6 and hard swish count as on above 0, as ReLU does.

    Args:
        net: any network.
        images: normalised, float [n, 3, r, r].

    Returns:
        The log determinant; -inf where two images switch everything alike.

    """
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kernel.add_(alike((output > 0).flatten(1)))

    with _reacting(net) as reacting, torch.no_grad():
        for module in _rectified(reacting):
            module.register_forward_hook(count)
        reacting(images.contiguous(memory_format=torch.channels_last))
    return log_determinant(kernel)


def alike(codes: Tensor) -> Tensor:
    """How many bits each two rows share: float64 [n, n] of bool [n, bits]."""
    on = codes.to(torch.float32)
    # Counts stay exact in float32 below 2^24 bits a layer.
    return (on @ on.T + (1 - on) @ (1 - on).T).to(torch.float64)


def log_determinant(kernel: Tensor) -> float:
    """Logarithm of the determinant's size; -inf where it is 0."""
    return float(torch.linalg.slogdet(kernel).logabsdet)


def _rectified(net: nn.Module) -> Iterator[nn.Module]:
    """Modules whose output is above 0 exactly where the input of a rectifier is."""
    for module in net.modules():
        if isinstance(module, ConvNorm) and module.activation is not Activation.NONE:
            yield module
        elif isinstance(module, SqueezeExcite):
            yield module.reduce


# SynFlow ---------------------------------------------------------------------------------------------------------


def synflow(net: StaticNet) -> float:
    """Log of the synaptic flow of all weights (Tanaka et al., 2020; as a proxy: Abdelfattah et al., ICLR 2021).

    The sum of weight times gradient of R, where R is the sum of outputs for an input of ones with all weights made
    positive. Uses no data. Batch norms are passed by; activations too, as all that they see is positive (ReLU6 would
    clip it); squeeze-and-excitation is a gate of one. Within a chain each layer has the same flow, R.
    """
    flow, log_scale = synaptic_flow(net)
    return math.log(sum(float(f) for f in flow)) + log_scale if flow else -math.inf


def synaptic_flow(net: StaticNet) -> tuple[list[Tensor], float]:
    """Flow through each convolution and linear layer, float64 scalars, and the log of what all must be times."""
    weights: list[Tensor] = []

    def positive(weight: Tensor) -> Tensor:
        weights.append(weight.detach().abs().double().contiguous().requires_grad_())
        return weights[-1]

    def conv(module: ConvNorm, x: Tensor) -> Tensor:
        return padded_conv(x, positive(module.conv.weight), module.stride, module.groups, module.padding)

    side = net.resolution
    x = torch.ones(1, net.specs[0].in_channels, side, side, dtype=torch.float64)
    log_scale = 0.0
    for block in net.blocks:
        if isinstance(block, StaticBlock):
            y = conv(block.expand, x) if block.expand is not None else x
            y = conv(block.project, conv(block.depthwise, y))
            x = x + y if block.spec.residual else y
        elif isinstance(block, ConvNorm):
            x = conv(block, x)
        elif isinstance(block, nn.Linear):
            x = F.linear(x.flatten(1), positive(block.weight))
        else:
            x = block(x)
        # All flows are linear in what a block gives: a constant factor keeps deep networks within the range of floats.
        scale = float(x.detach().max())
        if scale > 0:
            x, log_scale = x / scale, log_scale + math.log(scale)
    gradients = torch.autograd.grad(x.sum(), weights)
    return [(w.detach() * g).sum() for w, g in zip(weights, gradients, strict=True)], log_scale


# Zen-score -------------------------------------------------------------------------------------------------------


def zen(net: StaticNet, seed: int = 0) -> float:
    """Zen-score (Lin et al., ICCV 2021): how expressive the architecture is, whatever its weights and the data.

    Mean over random weights and inputs, both standard normal, of `zen_score`.
    """
    generator = torch.Generator().manual_seed(seed)
    scores = []
    for _ in range(_ZEN_DRAWS):
        drawn = copy.deepcopy(net)
        for module in drawn.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.data.normal_(generator=generator)
                if module.bias is not None:
                    module.bias.data.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.data.fill_(1.0)
                module.bias.data.zero_()
        shape = (_ZEN_BATCH, net.specs[0].in_channels, net.resolution, net.resolution)
        inputs, noise = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
        scores.append(zen_score(drawn, inputs, noise))
    return float(np.mean(scores))


def zen_score(net: StaticNet, inputs: Tensor, noise: Tensor) -> float:
    """Log of how far a small change of the input moves the features before the pooling, batch norms taken out.

    Shortcuts and squeeze-and-excitation are left out. Batch norms keep the features in range and are compensated by
    the log of the deviations that they divide by: weights times c before one of them add log c, as if it were not
    there. Norms of features are Frobenius norms, as in the paper (its code takes sums of sizes).

    Args:
        net: with the weights that are meant.
        inputs: float [n, 3, r, r].
        noise: the direction of the change, alike.

    """
    log_scale = 0.0

    def compensate(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal log_scale
        variances = given[0].var((0, 2, 3), correction=0)
        log_scale += 0.5 * math.log(float(variances.mean()) + 1e-30)

    with _reacting(net) as reacting, torch.no_grad():
        norms = [m for m in reacting.modules() if isinstance(m, nn.BatchNorm2d)]
        handles = [norm.register_forward_pre_hook(compensate) for norm in norms]
        features = _features(reacting, inputs)
        for handle in handles:
            handle.remove()
        moved = _features(reacting, inputs + _ZEN_STEP * noise)
    distance = float((features - moved).flatten(1).norm(dim=1).mean())
    return math.log(distance + 1e-30) + log_scale


def _features(net: StaticNet, x: Tensor) -> Tensor:
    """What reaches the pooling, without shortcuts and gates."""
    for spec, block in zip(net.specs, net.blocks, strict=True):
        if spec.kind is Kind.POOLING:
            break
        if isinstance(block, StaticBlock):
            x = block.expand(x) if block.expand is not None else x
            x = block.project(block.depthwise(x))
        else:
            x = block(x)
    return x


# Gradient norm ---------------------------------------------------------------------------------------------------


def grad_norm(net: StaticNet, images: Tensor, labels: Tensor) -> float:
    """Sum over layers of the Euclidean norm of the loss's gradient (Abdelfattah et al., ICLR 2021).

    Cross-entropy of one batch, batch norms with its own statistics, no dropout; weights of convolutions and of the
    classifier count.

    Args:
        net: any network.
        images: normalised, float [n, 3, r, r].
        labels: int64 [n].

    """
    with _reacting(net) as reacting, torch.enable_grad():
        weights = [m.weight for m in reacting.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        gradients = torch.autograd.grad(F.cross_entropy(reacting(images), labels), weights)
    return float(sum(float(gradient.norm()) for gradient in gradients))


@contextmanager
def _reacting(net: StaticNet) -> Iterator[StaticNet]:
    """A copy whose batch norms use the batch's own statistics, all else being in evaluation mode."""
    reacting = copy.deepcopy(net).eval()
    for module in reacting.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    yield reacting


# Populations -----------------------------------------------------------------------------------------------------

Pictures = tuple[NDArray[np.float32], NDArray[np.int64]]


class ZeroCostScores:
    """A proxy of freshly initialised networks in the place of an accuracy predictor; each architecture is scored once.

    Args:
        name: one of `PROXIES`.
        space: of the populations; a precision gene changes nothing.
        num_classes: of the classifier.
        pictures: for `PROXIES_OF_IMAGES`: images, normalised, float32 [n, 3, s, s], resized to each network's
            resolution, and labels, int64 [n]. The other proxies never ask for them.
        seed: of weights and inputs, the same for all networks.

    Raises:
        UnknownNameError: no such proxy.

    """

    def __init__(
        self, name: str, space: SearchSpace, num_classes: int, pictures: Callable[[], Pictures], seed: int = 0
    ) -> None:
        if name not in PROXIES:
            raise UnknownNameError("zero-cost proxy", name, PROXIES)
        self._name, self._space, self._classes, self._seed = name, space, num_classes, seed
        none = np.empty((0, 3, 1, 1), np.float32), np.empty(0, np.int64)
        images, labels = pictures() if name in PROXIES_OF_IMAGES else none
        self._images, self._labels = torch.from_numpy(images), torch.from_numpy(labels)
        self._known: dict[bytes, float] = {}

    def check(self, space: SearchSpace) -> None:
        """Raise SpaceError where `space` has other genes."""
        if space.genes != self._space.genes:
            raise SpaceError(f"the proxy was made for space {self._space.name!r}, not for {space.name!r}")

    def predict(self, population: Population) -> NDArray[np.float64]:
        """Scores, float64 [n] of int8 [n, genes]: in the place of accuracies, but only their order means anything."""
        rows = self._space.of_base(population)
        return np.array([self._score(row) for row in rows], np.float64)

    def _score(self, row: Population) -> float:
        key = row.tobytes()
        if key not in self._known:
            net = fresh_net(self._space.base, row, self._classes, self._seed)
            images = self._images
            if len(images) and images.shape[-1] != net.resolution:
                images = F.interpolate(images, size=(net.resolution, net.resolution), mode="bilinear", antialias=True)
            score = zero_cost(self._name, net, images, self._labels, self._seed)
            self._known[key] = score if math.isfinite(score) else WORST
        return self._known[key]
