"""Evaluating subnets as work that can be spread: all that a worker needs, sent to it once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from nas_edge.data import Preprocess, Split
from nas_edge.data.portable import PortableSplit
from nas_edge.spaces import Population, Precision, Template
from nas_edge.spaces.onnx_quantise import QdqForm
from nas_edge.supernet.supernet import Supernet
from nas_edge.training.measuring.evaluate import Evaluator, View


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch, and ONNX Runtime as it is opened here, on one thread: sums are then the same wherever they are made."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class OpenSubnets:
    """Evaluates subnets of a supernet in this process; `Work` for executors that do not leave it.

    Attributes:
        net: with its weights, in evaluation mode.
        evaluator: recalibrates and evaluates.
        split, views, precision: see `training.measuring.subnets.answers_of_subnets`.
    """

    net: Supernet
    evaluator: Evaluator
    split: Split
    views: tuple[View, ...]
    precision: Precision

    @property
    def shape(self) -> tuple[int, int]:
        """Images and views of an answer."""
        return len(self.split), len(self.views)

    def answers(self, arch: Population) -> NDArray[np.bool_]:
        """Right and wrong answers of one architecture (int8 [genes]): bool [images, views]."""
        subnet = self.evaluator.recalibrated(self.net, arch)
        found = self.evaluator.evaluate(subnet, subnet.resolution, self.split, self.views, self.precision)
        return found.correct

    @contextmanager
    def opened(self) -> Iterator[Callable[[Population], NDArray[np.bool_]]]:
        """See `Work`."""
        with one_thread():
            yield self.answers

    def __reduce__(self) -> tuple[Callable[[SentSubnets], OpenSubnets], tuple[SentSubnets]]:
        """Sent to another process it goes as data: weights as a safetensors file, pictures by where they lie."""
        return SentSubnets.loaded, (SentSubnets.of(self, along=False),)

    def elsewhere(self) -> SentSubnets:
        """See `Work`: pictures are sent along."""
        return SentSubnets.of(self, along=True)


@dataclass(frozen=True)
class SentSubnets:
    """`OpenSubnets` as plain data.

    Attributes:
        template, num_classes: of the supernet.
        weights: its tensors as a safetensors file.
        calibration: training images that batch norms are recalibrated on.
        preprocess, form, split, views, precision: see `Evaluator` and `OpenSubnets`.
    """

    template: Template
    num_classes: int
    weights: bytes
    calibration: PortableSplit
    preprocess: Preprocess
    form: QdqForm
    split: PortableSplit
    views: tuple[View, ...]
    precision: Precision

    @classmethod
    def of(cls, work: OpenSubnets, *, along: bool) -> SentSubnets:
        """What is sent of a work; `along`: see `PortableSplit`. Raises DataError."""
        net, evaluator = work.net, work.evaluator
        tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
        return cls(
            net.template, net.num_classes, save(tensors), PortableSplit.of(evaluator.calibration, along=along),
            evaluator.preprocess, evaluator.form, PortableSplit.of(work.split, along=along), work.views,
            work.precision,
        )  # fmt: skip

    def loaded(self) -> OpenSubnets:
        """The work, ready to be opened."""
        net = Supernet(self.template, self.num_classes)
        net.load_state_dict(load(self.weights))
        evaluator = Evaluator(self.calibration.split(), self.preprocess, self.form)
        return OpenSubnets(net.eval(), evaluator, self.split.split(), self.views, self.precision)

    @contextmanager
    def opened(self) -> Iterator[Callable[[Population], NDArray[np.bool_]]]:
        """See `Work`."""
        with one_thread():
            yield self.loaded().answers

    def elsewhere(self) -> SentSubnets:
        """See `Work`: it is for elsewhere already."""
        return self
