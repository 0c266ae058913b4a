"""Depthwise convolutions with gradients of their own against torch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_edge.supernet import depthwise
from nas_edge.supernet.depthwise import depthwise_conv


@settings(deadline=None)
@given(
    st.sampled_from([1, 3, 5, 7, 9]), st.sampled_from([1, 2]), st.integers(1, 20), st.integers(1, 9),
    st.integers(1, 9), st.integers(1, 3), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_values_and_gradients_are_those_of_torch(
    kernel: int, stride: int, channels: int, height: int, width: int, n: int, padded: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    edge = kernel // 2 if padded else 0
    height, width = (height, width) if padded else (height + kernel - 1, width + kernel - 1)
    x = torch.randn(n, channels, height, width).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(channels, 1, kernel, kernel, requires_grad=True)
    ours = depthwise_conv(x, weight, stride, edge)
    torchs = F.conv2d(x, weight, None, stride, edge, 1, channels)
    assert torch.equal(ours, torchs)
    gradient = torch.randn_like(torchs)
    expected = torch.autograd.grad(torchs.double(), (x, weight), gradient.double())
    for mine, other in zip(torch.autograd.grad(ours, (x, weight), gradient), expected, strict=True):
        assert torch.allclose(mine, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()) + 1e-6)


def test_a_slice_of_wider_weights_gets_its_gradient_there() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(8, 1, 7, 7, requires_grad=True)
    depthwise_conv(x, weight[:4, :, 1:6, 1:6], 1, 2).sum().backward()
    inside = torch.zeros(8, 1, 7, 7, dtype=torch.bool)
    inside[:4, :, 1:6, 1:6] = True
    assert torch.equal(weight.grad != 0, inside)


@pytest.mark.parametrize("change", ["no_grad", "frozen", "bfloat16", "contiguous"])
def test_where_it_would_not_pay_torch_does_it(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthwise._Depthwise, "apply", None)
    x = torch.randn(1, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(4, 1, 5, 5, requires_grad=change != "frozen")
    with torch.set_grad_enabled(change != "no_grad"), torch.autocast("cpu", enabled=change == "bfloat16"):
        out = depthwise_conv(x.contiguous() if change == "contiguous" else x, weight, 1, 2)
    assert out.dtype is (torch.bfloat16 if change == "bfloat16" else torch.float32)
