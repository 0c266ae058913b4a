"""Once-for-All's checkpoints: old and new names, intermediate ones, and files that would run code."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nas_edge.errors import FormatError
from nas_edge.spaces import preset
from nas_edge.supernet.official import classes_of, load_official, read_checkpoint
from nas_edge.supernet.recalibrate import recalibrate
from nas_edge.supernet.supernet import Supernet

from . import ofa_record
from .test_supernet import OFFICIAL, official_weights, randomised, reference

__all__ = ["reference"]  # a fixture


def old_names(key: str) -> str:
    """As checkpoints of 2019 have them."""
    key = key.replace(".conv.inverted_bottleneck", ".mobile_inverted_conv.inverted_bottleneck")
    key = key.replace(".conv.depth_conv", ".mobile_inverted_conv.depth_conv")
    key = key.replace(".conv.point_linear", ".mobile_inverted_conv.point_linear")
    return key.replace(".bn.bn.", ".bn.").replace("classifier.linear.", "classifier.linear.linear.")


@pytest.mark.parametrize("name", OFFICIAL)
@pytest.mark.parametrize("renamed", [False, True])
def test_every_case_of_the_original_is_computed(name: str, renamed: bool, reference: dict, tmp_path: Path) -> None:
    state = official_weights(reference[name]["state_dict"])
    path = tmp_path / "ofa_checkpoint"
    torch.save({"state_dict": {(old_names(key) if renamed else key): tensor for key, tensor in state.items()}}, path)
    read = read_checkpoint(path)
    assert classes_of(read, "x") == 1000
    net = Supernet(preset(name), 1000)
    load_official(net, read, "x")
    for case in reference[name]["cases"]:
        arch = net.space.from_json({**case, "r": 128})
        pixels = np.random.default_rng(case["input_seed"]).standard_normal((4, 3, case["r"], case["r"]))
        images = torch.from_numpy(pixels.astype(np.float32))
        for mode in ("eval", "train"):
            again = Supernet(preset(name), 1000)
            again.load_state_dict(net.state_dict())
            again.train(mode == "train")
            with torch.no_grad():
                logits = again(images, arch)
            expected = torch.tensor(case[f"{mode}_logits_first16"])
            assert float((logits[:, :16] - expected).abs().max() / expected.abs().max()) < 1e-4
            norms = torch.tensor(case[f"{mode}_norm"])
            assert float(((logits.norm(dim=1) - norms) / norms).abs().max()) < 1e-4


def test_the_first_intermediate_checkpoint_has_no_kernel_matrices(tmp_path: Path) -> None:
    source = randomised(Supernet(preset("ofa-mbv3-w1.0"), 10))
    state = {key: tensor for key, tensor in source.state_dict().items() if not key.endswith("_matrix")}
    save_file(state, tmp_path / "D4_E6_K7.safetensors")
    net = Supernet(preset("ofa-mbv3-w1.0"), 10)
    load_official(net, read_checkpoint(tmp_path / "D4_E6_K7.safetensors"), "x")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net.eval()(images, net.space.largest()), source(images, source.space.largest()))
    assert torch.equal(net.get_parameter("blocks.1.conv.depth_conv.conv.7to5_matrix"), torch.eye(25))


def deviation(found: torch.Tensor, expected: list) -> float:
    """Largest, over the largest of what is expected."""
    theirs = torch.tensor(expected)
    return float((found[:, : ofa_record.LOGITS] - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("name", OFFICIAL)
def test_more_subnets_compute_what_once_for_alls_code_computes_with_and_without_recalibration(name: str) -> None:
    net = Supernet(preset(name), 1000)
    shapes = [(k, v.shape) for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")]
    load_official(net, official_weights(shapes), "x")
    recorded = json.loads(ofa_record.RECORD.read_text(encoding="utf-8"))["nets"][name]
    cases = ofa_record.archs(ofa_record.NETS[name][0])
    for seed, (case, expected) in enumerate(zip(cases, recorded, strict=True)):
        subnet = net.extract(net.space.from_json(case)).eval()
        seen = ofa_record.images(seed, 2, case["r"])
        with torch.no_grad():
            assert deviation(subnet(seen), expected["running"]) < 1e-4
            recalibrate(subnet, ofa_record.calibration(case["r"]))
            assert deviation(subnet(seen), expected["recalibrated"]) < 1e-4


def test_the_plain_network_before_the_first_phase_is_the_largest_of_the_space(tmp_path: Path) -> None:
    recorded = json.loads(ofa_record.RECORD.read_text(encoding="utf-8"))["plain"]
    net = Supernet(preset("ofa-mbv3-w1.0"), 1000)
    torch.save({"state_dict": official_weights(recorded["shapes"])}, tmp_path / "ofa_D4_E6_K7")
    load_official(net, read_checkpoint(tmp_path / "ofa_D4_E6_K7"), "x")
    with torch.no_grad():
        found = net.eval()(ofa_record.images(0, 2, 128), net.space.largest())
    assert deviation(found, recorded["logits"]) < 1e-4


class Evil:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_with_code_in_it_is_refused_and_nothing_runs(tmp_path: Path, write) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "ran"
    write({"state_dict": {"a": torch.zeros(1)}, "more": Evil(mark)}, path)
    with warnings.catch_warnings(action="error"), pytest.raises(FormatError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: is refused, nothing in it was run: it ")
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    # Loaded unsafely for once, and only what this test made: the trap works, so that not having sprung means something.
    pickle.loads(pickle.dumps(Evil(mark)))
    assert mark.exists()


def test_a_whole_model_is_refused_with_what_to_save_instead(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(FormatError, match=r"it names torch\.nn\..*\.Linear, and .* save its state_dict\(\)$"):
        read_checkpoint(tmp_path / "model.pth")


@pytest.mark.parametrize("name", ["w.pth", "before_1.6.pth", "w.safetensors"])
def test_a_file_cut_anywhere_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    weights, older = {"a": torch.zeros(100), "b": torch.ones(3)}, name.startswith("before")
    if name.endswith("pth"):
        torch.save(weights, tmp_path / name, _use_new_zipfile_serialization=not older)
    else:
        save_file(weights, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for length in range(0, len(whole), 1 if older else 17):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(FormatError) as caught:
            read_checkpoint(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: is ")
        assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_named_by_key_and_shape(tmp_path: Path) -> None:
    wide = dict(Supernet(preset("ofa-mbv3-w1.2"), 10).state_dict())
    narrow = Supernet(preset("ofa-mbv3-w1.0"), 10)
    with pytest.raises(FormatError, match=r"w: 'first_conv\.conv\.weight' has shape \(24, 3, 3, 3\), not the \(16,"):
        load_official(narrow, wide, "w")
    state = dict(narrow.state_dict())
    with pytest.raises(FormatError, match=r"w: has 'blocks\.99\.weight', which is not of space 'ofa-mbv3-w1\.0'"):
        load_official(narrow, state | {"blocks.99.weight": torch.zeros(1)}, "w")
    del state["first_conv.bn.bias"]
    with pytest.raises(FormatError, match=r"lacks 1 tensors of space 'ofa-mbv3-w1\.0', first 'first_conv\.bn\.bias'"):
        load_official(narrow, state, "w")


def test_files_that_are_no_checkpoints_are_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_checkpoint(tmp_path / "absent")
    (tmp_path / "cut").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(FormatError, match="cut: is"):
        read_checkpoint(tmp_path / "cut")
    torch.save([1, 2, 3], tmp_path / "list")
    with pytest.raises(FormatError, match="holds no state dict"):
        read_checkpoint(tmp_path / "list")
    with pytest.raises(FormatError, match="has no classifier"):
        classes_of({"a": torch.zeros(1)}, "x")
