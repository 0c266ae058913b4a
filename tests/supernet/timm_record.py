"""What timm's own networks compute with weights made by a recipe: `timm.json`, written by this module.

    pip install timm && python -m tests.supernet.timm_record

Of each network: names and shapes of its state dict, and the first logits of two images. The bias of MobileNetV3's last
head is zero, for it is the one thing that has no place in a supernet. Of all published weights of these families: how
images are normalised for them, in units of 0..1, and the file that they were released as.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

RECORD = Path(__file__).parent / "timm.json"
MODELS = (
    "mobilenetv3_large_100",
    "mobilenetv3_small_100",
    "tf_efficientnet_lite0",
    "tf_efficientnet_lite2",
    "mobilenetv2_100",
    "mobilenetv3_small_075",
    "tf_mobilenetv3_small_minimal_100",
)
FAMILIES = ("mobilenetv3", "tf_mobilenetv3", "efficientnet_lite", "tf_efficientnet_lite", "mobilenetv2", "mnasnet")
LOGITS = 16


def weights(shapes: Sequence[tuple[str, Sequence[int]]]) -> dict[str, Tensor]:
    """A state dict in which no two channels are alike and signals neither die nor explode."""
    state = {}
    for number, (name, shape) in enumerate(shapes):
        rng = np.random.default_rng([7, number])
        if name == "conv_head.bias":
            values = np.zeros(shape)
        elif name.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1 and name.endswith("weight"):
            values = rng.uniform(0.6, 1.4, shape)
        elif len(shape) == 1:
            values = rng.uniform(-0.3, 0.3, shape)
        else:
            values = rng.standard_normal(shape) * np.sqrt(1.6 / np.prod(shape[1:]))
        state[name] = torch.from_numpy(np.asarray(values, np.float32))
    return state


def images() -> Tensor:
    """float32 [2, 3, 96, 96]."""
    return torch.from_numpy(np.random.default_rng(3).standard_normal((2, 3, 96, 96)).astype(np.float32))


def computed(model: Any) -> dict[str, Any]:
    """Names and shapes of a network of timm, and its logits with weights by the recipe."""
    shapes = [(k, list(v.shape)) for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")]
    model.load_state_dict(weights(shapes), strict=False)
    with torch.no_grad():
        logits = model.eval()(images())[:, :LOGITS]
    return {"shapes": shapes, "logits": [[round(float(value), 6) for value in row] for row in logits]}


def configurations() -> dict[str, dict[str, Any]]:
    """Mean, deviation and file of timm's published weights, by name and tag."""
    from timm.models import efficientnet, mobilenetv3

    found = {}
    for name, default in {**mobilenetv3.default_cfgs, **efficientnet.default_cfgs}.items():
        for tag, each in default.cfgs.items():
            if name.startswith(FAMILIES) and tag != "untrained":
                file = (each.url or "").rpartition("/")[2]
                found[f"{name}.{tag}"] = {"mean": list(each.mean), "std": list(each.std), "file": file}
    return found


def main() -> None:
    """Write the record."""
    import timm

    found = {name: computed(timm.create_model(name)) for name in MODELS} | {"configurations": configurations()}
    lines = [f"{json.dumps(name)}: {json.dumps(content)}" for name, content in found.items()]
    header = f'{{"format": 1,\n"timm": "{timm.__version__}",\n'
    RECORD.write_text(header + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
