"""A teacher: a finished network whose answers a supernet learns from (Hinton et al. 2015).

It sees exactly the pictures that the student sees, cropped, recoloured and blended alike ("consistent teaching",
Beyer et al., Knowledge distillation: a good teacher is patient and consistent, CVPR 2022): that is what lets few
photographs teach for many epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from nas_edge.spaces.onnx_session import answering_session
from nas_edge.supernet.static import StaticNet
from nas_edge.training.measuring.answers import float_model
from nas_edge.training.objectives.batches import resize_batch
from nas_edge.training.running.device import present_device

if TYPE_CHECKING:
    import onnxruntime


class Teacher(Protocol):
    """What answers for a batch. It can be sent to another process, and answers for images on any device."""

    @property
    def side(self) -> int:
        """Resolution in pixels that it looks at."""

    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities, float [n, classes], of normalised images, float [n, 3, s, s] of any side."""


def teacher_of(net: StaticNet) -> Teacher:
    """A recalibrated network in evaluation mode as a teacher: through ONNX Runtime on a CPU that has it, else in torch.

    On a GPU, where the student will be, it answers in torch. It must take images normalised as the student takes them.
    """
    on_cpu = present_device().type == "cpu"
    return NetworkTeacher.of(net) if on_cpu and find_spec("onnxruntime") and find_spec("onnx") else TorchTeacher(net)


@dataclass(frozen=True)
class TorchTeacher:
    """A recalibrated network in evaluation mode that follows the images to their device, and answers there.

    Attributes:
        net: with its resolution.
    """

    net: StaticNet

    @property
    def side(self) -> int:
        """See `Teacher`."""
        return self.net.resolution

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """See `Teacher`."""
        if next(self.net.parameters()).device != images.device:
            self.net.to(images.device)
        logits: Tensor = self.net(resize_batch(images, self.side))
        return logits.float().softmax(dim=1)


@dataclass(frozen=True)
class NetworkTeacher:
    """A recalibrated network that answers through ONNX Runtime.

    Attributes:
        side: its resolution in pixels; batches of another are resized.
        model: its folded graph as an ONNX file.
    """

    side: int
    model: bytes

    @classmethod
    def of(cls, net: StaticNet) -> NetworkTeacher:
        """Ask a network in evaluation mode; it must take images normalised as the student takes them."""
        return cls(net.resolution, float_model(net).SerializeToString())

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """Opened when it is first asked, on as many threads as torch has in that process."""
        return answering_session(self.model, torch.get_num_threads())

    def __getstate__(self) -> dict[str, object]:
        return {"side": self.side, "model": self.model}  # a session cannot be sent

    def probabilities(self, images: Tensor) -> Tensor:
        """See `Teacher`."""
        batch = resize_batch(images, self.side).contiguous().cpu().numpy()
        logits = self.session.run(None, {self.session.get_inputs()[0].name: batch})[0]
        return torch.from_numpy(logits).to(images.device).softmax(dim=1)
