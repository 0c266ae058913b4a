"""The weight-sharing network: its subnets, extracted, compute the same; Once-for-All's names and answers."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas_edge.errors import FormatError
from nas_edge.spaces import SearchSpace, Stage, Stem, Tail, Template, preset, preset_names
from nas_edge.supernet.supernet import Supernet
from nas_edge.supernet.weights import load_weights, save_weights, to_stored_precision

OFFICIAL = ("ofa-mbv3-w1.0", "ofa-mbv3-w1.2", "ofa-proxyless-w1.3")


def randomised(net: nn.Module, seed: int = 0) -> nn.Module:
    """Neutral norms and identity matrices would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator) if tensor.is_floating_point() else None
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif name.endswith(("running_mean", "bias")):
                tensor.copy_(0.1 * noise)
            elif name.endswith("_matrix"):
                tensor.add_(0.05 * noise)
    return net.eval()


@pytest.mark.parametrize("name", preset_names())
def test_an_extracted_subnet_computes_what_the_supernet_computes(name: str) -> None:
    space = SearchSpace.named(name)
    net = randomised(Supernet(preset(name), 10))
    population = np.concatenate([[space.smallest(), space.largest()], space.sample(3, np.random.default_rng(1))])
    for arch in population:
        image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            shared, alone = net(image, arch), net.extract(arch)(image)
        scale = float(shared.abs().max())
        assert float((shared - alone).abs().max()) <= 1e-5 * max(1.0, scale)


@pytest.mark.parametrize("name", preset_names())
def test_a_subnet_has_the_parameters_that_its_blocks_say(name: str) -> None:
    space = SearchSpace.named(name)
    net = Supernet(preset(name), 7)
    population = space.sample(3, np.random.default_rng(3))
    counted = [sum(p.numel() for p in net.extract(arch).parameters()) for arch in population]
    assert counted == space.params(population, 7).tolist()


def test_macs_of_blocks_agree_with_torch_own_counter() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    space = SearchSpace.named("ofa-mbv3-w1.0").restrict(resolutions=[128])
    net = Supernet(space.template, 10).eval()
    arch = space.sample(1, np.random.default_rng(5))[0]
    subnet = net.extract(arch)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        subnet(torch.zeros(1, 3, 128, 128))
    assert counter.get_total_flops() == 2 * space.macs(arch[None], 10)[0]


@pytest.fixture(scope="module")
def reference(shared_dir: Path) -> dict:
    return json.loads((shared_dir / "data" / "ofa" / "reference_outputs.json").read_text())


def official_weights(shapes: list) -> dict[str, torch.Tensor]:
    """The recipe that the reference file describes."""
    state = {}
    for key, shape in shapes:
        a = np.random.default_rng([7, zlib.crc32(key.encode())]).standard_normal(shape).astype(np.float32)
        if key.endswith("running_var"):
            a = 0.5 + np.abs(a)
        elif key.endswith(("running_mean", "bias")):
            a = 0.1 * a
        elif "bn" in key and key.endswith("weight"):
            a = 1 + 0.1 * a
        elif "matrix" in key:
            a = np.eye(shape[0], dtype=np.float32) + 0.05 * a
        else:
            a = a * np.float32(np.sqrt(2 / max(1, np.prod(shape[1:]))))
        state[key] = torch.from_numpy(a)
    return state


@pytest.mark.parametrize("name", OFFICIAL)
def test_keys_shapes_and_outputs_are_once_for_alls(name: str, reference: dict) -> None:
    net = Supernet(preset(name), 1000)
    own = {k: list(v.shape) for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert own == dict(reference[name]["state_dict"])
    net.load_state_dict(official_weights(reference[name]["state_dict"]), strict=False)
    net.eval()
    case = reference[name]["cases"][2]
    arch = net.space.from_json({**case, "r": 128})
    image = np.random.default_rng(case["input_seed"]).standard_normal((4, 3, case["r"], case["r"]))
    with torch.no_grad():
        logits = net(torch.from_numpy(image.astype(np.float32)), arch)
    expected = torch.tensor(case["eval_logits_first16"])
    assert float((logits[:, :16] - expected).abs().max() / expected.abs().max()) < 1e-4


@pytest.mark.parametrize(("name", "count"), [("ofa-mbv3-w1.0", 7_678_880), ("ofa-mbv3-w1.2", 10_715_752)])
def test_the_supernets_have_the_published_parameter_counts(name: str, count: int) -> None:
    assert sum(p.numel() for p in Supernet(preset(name), 1000).parameters()) == count


TINY = Template(
    name="tiny",
    stem=Stem(8),
    first=Stage(8, 1),
    stages=(Stage(16, 2, (1, 2), (3, 5), (2, 3)),),
    tail=Tail(32, dropout=0.0),
    resolutions=(16, 24),
)


def test_widths_share_weights_too() -> None:
    space = SearchSpace.named("mcu")
    net = randomised(Supernet(space.template, 4))
    arch = space.largest()
    arch[space.columns["w"]] = 1
    stem = net.extract(arch).blocks[0]
    kept = stem.conv.weight.shape[0]
    assert kept == net.first_conv.conv.weight.shape[0] // 3  # 0.5 of 1.5
    assert torch.equal(stem.conv.weight, net.first_conv.conv.weight[:kept])


def test_weights_survive_the_file_after_the_cast(tmp_path: Path) -> None:
    net = to_stored_precision(randomised(Supernet(TINY, 3)))
    save_weights(net, tmp_path / "w.safetensors")
    other = Supernet(TINY, 3)
    load_weights(other, tmp_path / "w.safetensors")
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_a_truncated_file_and_another_space_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(Supernet(TINY, 3), path)
    with pytest.raises(FormatError, match=r"'classifier\.linear\.weight' has shape \(3, 32\), expected \(4, 32\)"):
        load_weights(Supernet(TINY, 4), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="not a whole safetensors file"):
        load_weights(Supernet(TINY, 3), path)
