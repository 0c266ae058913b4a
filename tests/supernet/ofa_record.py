"""What Once-for-All's own code computes for more subnets than one meets by hand: `ofa.json`, written by this module.

    pip install --no-deps --target DIRECTORY ofa==0.1.0.post202307202001
    python -m tests.supernet.ofa_record DIRECTORY

Of each of the three networks, with weights by the recipe of `test_supernet.official_weights`: the first logits of two
images for subnets at the ends, of every kernel and ratio, and drawn ones; each with its running figures, and with those
that Once-for-All's recalibration finds. And the checkpoint before the first phase: names and logits of a plain network.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .test_supernet import official_weights

RECORD = Path(__file__).parent / "ofa.json"
LOGITS = 16
NETS = {"ofa-mbv3-w1.0": (20, 1.0), "ofa-mbv3-w1.2": (20, 1.2), "ofa-proxyless-w1.3": (21, 1.3)}  # slots, width


def archs(slots: int) -> list[dict[str, Any]]:
    """Subnets as Once-for-All's `sample_active_subnet` writes them, one depth a stage, each with a side in pixels."""
    rng = np.random.default_rng(11)
    stages = slots // 4 + slots % 4
    turning = {"r": 132, "ks": [(3, 5, 7)[i % 3] for i in range(slots)], "e": [(6, 3, 4)[i % 3] for i in range(slots)]}
    drawn = [
        {
            "r": side,
            "ks": rng.choice([3, 5, 7], slots).tolist(),
            "e": rng.choice([3, 4, 6], slots).tolist(),
            "d": rng.choice([2, 3, 4], stages).tolist(),
        }
        for side in (128, 160, 188)
    ]
    return [
        {"r": 128, "ks": [3] * slots, "e": [3] * slots, "d": [2] * stages},
        {"r": 144, "ks": [5] * slots, "e": [4] * slots, "d": [3] * stages},
        turning | {"d": [(4, 2, 3)[i % 3] for i in range(stages)]},
        *drawn,
    ]


def images(seed: int, count: int, side: int) -> Tensor:
    """float32 [count, 3, side, side]."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, 3, side, side)).astype(np.float32))


def calibration(side: int) -> list[Tensor]:
    """Batches of unequal sizes."""
    return [images(100 + count, count, side) for count in (6, 3)]


def _imported(directory: Path) -> tuple[Any, Any, Any, Any]:
    """Its networks without its data loaders, which need packages and torch's insides of its day."""
    for name in ("ofa", "ofa.imagenet_classification", "ofa.imagenet_classification.elastic_nn", "ofa.utils"):
        package = types.ModuleType(name)
        package.__path__ = [str(directory / name.replace(".", "/"))]
        sys.modules[name] = package
    for name in ("torchvision", "torchprofile", "tqdm"):
        sys.modules.setdefault(name, types.ModuleType(name))
    utils = sys.modules["ofa.utils"]
    for part in ("common_tools", "my_modules", "pytorch_modules", "pytorch_utils"):
        vars(utils).update({k: v for k, v in vars(importlib.import_module(f"ofa.utils.{part}")).items() if k[0] != "_"})
    networks = "ofa.imagenet_classification"
    return (
        importlib.import_module(f"{networks}.elastic_nn.networks.ofa_mbv3").OFAMobileNetV3,
        importlib.import_module(f"{networks}.elastic_nn.networks.ofa_proxyless").OFAProxylessNASNets,
        importlib.import_module(f"{networks}.networks.mobilenet_v3").MobileNetV3Large,
        importlib.import_module(f"{networks}.elastic_nn.utils").set_running_statistics,
    )


def _filled(net: torch.nn.Module) -> list[Any]:
    """Fill a network by the recipe; its names and shapes."""
    shapes = [[k, list(v.shape)] for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")]
    torch.nn.Module.load_state_dict(net, official_weights(shapes), strict=False)
    net.eval()
    return shapes


def _logits(net: torch.nn.Module, seed: int, side: int) -> list[list[float]]:
    with torch.no_grad():
        return [[round(float(v), 7) for v in row] for row in net(images(seed, 2, side))[:, :LOGITS]]


def main(directory: Path) -> None:
    """Write the record."""
    mobile, proxyless, plain, set_running_statistics = _imported(directory)
    record: dict[str, Any] = {"nets": {}}
    for name, (slots, width) in NETS.items():
        kind = proxyless if "proxyless" in name else mobile
        choices = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
        net = kind(dropout_rate=0, width_mult=width, **choices)
        _filled(net)
        cases = []
        for seed, arch in enumerate(archs(slots)):
            net.set_active_subnet(ks=arch["ks"], e=arch["e"], d=arch["d"])
            found = {"running": _logits(net, seed, arch["r"])}
            subnet = net.get_active_subnet(preserve_weight=True).eval()
            set_running_statistics(subnet, [(batch, None) for batch in calibration(arch["r"])])
            cases.append(found | {"recalibrated": _logits(subnet.eval(), seed, arch["r"])})
        record["nets"][name] = cases
    first = plain(n_classes=1000, dropout_rate=0, width_mult=1.0, ks=7, expand_ratio=6, depth_param=4)
    first.set_bn_param(momentum=0.1, eps=1e-5)
    record["plain"] = {"shapes": _filled(first), "logits": _logits(first, 0, 128)}
    RECORD.write_text(json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
