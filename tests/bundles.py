"""A bundle made in a second: seeded weights, and an accuracy predictor that likes large networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nas_edge.accuracy.features import FeatureLayout
from nas_edge.accuracy.predictor import AccuracyPredictor
from nas_edge.data import Preprocess, load_dataset
from nas_edge.data.calibration import choose_calibration, write_calibration
from nas_edge.files import write_yaml
from nas_edge.pipeline.bundle import CALIBRATION, HEADER, PREDICTOR, SPACE, WEIGHTS
from nas_edge.spaces import SearchSpace, Template
from nas_edge.supernet.supernet import Supernet
from nas_edge.supernet.weights import save_weights

CLASSES = ("apple", "brick", "cloud")


def make_images(directory: Path, side: int = 48, train: int = 16, others: int = 8) -> Path:
    """Pictures of three colours in train, val and test folders of class folders."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", others), ("test", others)):
        for number, name in enumerate(CLASSES):
            folder = directory / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 80, (side, side, 3), dtype=np.uint8)
                pixels[..., number] += 120
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return directory


def make_bundle(directory: Path, template: Template, data: str, seed: int = 0) -> Path:
    """A bundle of a template over a data set; its predicted accuracy is 0.5 plus what MACs add, linear in genes."""
    dataset, space = load_dataset(data), SearchSpace(template)
    classes = len(dataset.classes)
    torch.manual_seed(seed)
    directory.mkdir(parents=True)
    save_weights(Supernet(template, classes), directory / WEIGHTS)
    write_yaml(directory / SPACE, template.to_dict())
    write_calibration(choose_calibration(dataset.train, seed, 64), dataset.classes, directory / CALIBRATION)

    layout = FeatureLayout.of(space)
    rows = space.sample(2000, np.random.default_rng(seed))
    one_hot = np.concatenate([layout.one_hot(rows), np.ones((len(rows), 1))], axis=1)
    gain = np.log(space.macs(rows, classes))
    gain = 0.5 + 0.4 * (gain - gain.min()) / (gain.max() - gain.min())
    linear = np.linalg.lstsq(one_hot, gain, rcond=None)[0].astype(np.float32)
    predictor = AccuracyPredictor(
        layout, (np.zeros((1, layout.size, 1), np.float32),), (linear[-1:].reshape(1, 1),), linear[None, :-1]
    )
    predictor.write(directory / PREDICTOR)
    header = {
        "format": 1,
        "name": directory.name,
        "classes": list(dataset.classes),
        "preprocess": Preprocess().to_dict(),
        "data": {"spec": data, "seed": 0, "summary": "made for tests"},
    }
    write_yaml(directory / HEADER, header)
    return directory
