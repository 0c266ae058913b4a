"""Training for int8: the network that is trained computes what the int8 file will."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from nas_edge.data import Preprocess
from nas_edge.spaces import SearchSpace, Template
from nas_edge.spaces.onnx_quantise import CANONICAL, QdqForm
from nas_edge.supernet.fold import fold
from nas_edge.training.measuring.answers import int8_model, ranges_of
from nas_edge.training.single.fake_quantised import FakeQuantised, rounded, unfold
from tests.export.nets import lively, noise, rows


def images(side: int) -> torch.Tensor:
    return torch.from_numpy(Preprocess().normalise(noise(12, side)))


@pytest.mark.parametrize("form", [CANONICAL, QdqForm(weight_bits=7)], ids=["8 bits", "7 bits"])
def test_it_computes_what_onnx_runtime_makes_of_the_int8_file(tiny_template: Template, form: QdqForm) -> None:
    for row in rows(SearchSpace(tiny_template), 2):
        net = lively(tiny_template, row)
        x = images(net.resolution)
        session = onnxruntime.InferenceSession(int8_model(net, [x], form).SerializeToString())
        wanted = session.run(None, {"image": x.numpy()})[0]
        with torch.no_grad():
            found = FakeQuantised(net, ranges_of(net, [x]), form)(x).numpy()
            plain = net(x).numpy()
        lost = np.abs(wanted - plain).mean()
        assert np.abs(found - wanted).mean() < 0.4 * lost  # sums at the middle of two codes fall either way
        assert np.abs(found - plain).mean() == pytest.approx(lost, rel=0.3)


def test_gradients_pass_the_rounding_and_stop_where_a_value_was_cut_off() -> None:
    x = torch.tensor([-1.0, 0.26, 0.74, 3.0], requires_grad=True)
    y = rounded(x, torch.tensor(0.5), 0, 4)
    assert y.tolist() == [0.0, 0.5, 0.5, 2.0]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_every_weight_learns(tiny_template: Template) -> None:
    net = lively(tiny_template, SearchSpace(tiny_template).largest())
    x = images(net.resolution)
    trained = FakeQuantised(net, ranges_of(net, [x]))
    torch.nn.functional.cross_entropy(trained(x), torch.arange(12) % 5).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained.parameters())


def test_folded_weights_go_back_into_a_network_and_come_out_again(tiny_template: Template) -> None:
    space = SearchSpace(tiny_template)
    net, other = (lively(tiny_template, space.largest(), seed=seed) for seed in (0, 1))
    wanted = fold(other)
    unfold(net, wanted)
    found = fold(net)
    assert all((np.abs(found[name] - wanted[name]) <= 1e-6 * np.abs(wanted[name]).max()).all() for name in wanted)
    x = images(net.resolution)
    with torch.no_grad():
        np.testing.assert_allclose(net(x), other(x), atol=1e-4)
