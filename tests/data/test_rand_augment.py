"""RandAugment: its operations against Pillow's, seeded, in range."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from nas_edge.data import Preprocess
from nas_edge.data.augment import Augmentation
from nas_edge.data.rand_augment import OPERATIONS, rand_augment
from nas_edge.errors import ConfigError

from .pictures import picture

SIDE = 24


def pixels(number: int = 0) -> Image.Image:
    noise = np.random.default_rng(number).integers(20, 220, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image.blend(picture(number, (SIDE, SIDE)).convert("RGB"), Image.fromarray(noise), 0.4)


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()


def applied(name: str, image: Image.Image, strength: float, sign: float = 1.0) -> np.ndarray:
    result = OPERATIONS[name](tensor(image), strength, torch.tensor([sign]))
    return result[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("name", "enhancer"),
    [
        ("colour", ImageEnhance.Color),
        ("contrast", ImageEnhance.Contrast),
        ("brightness", ImageEnhance.Brightness),
        ("sharpness", ImageEnhance.Sharpness),
    ],
)
def test_enhancements_are_pillows(name: str, enhancer, sign: float) -> None:
    expected = np.asarray(enhancer(pixels()).enhance(1 + sign * 0.9 * 0.5), np.float64)
    assert np.abs(applied(name, pixels(), 0.5, sign) - expected).max() <= 2  # Pillow rounds at each step


@pytest.mark.parametrize(
    ("name", "strength", "expected"),
    [
        ("autocontrast", 0.5, ImageOps.autocontrast),
        ("equalise", 0.5, ImageOps.equalize),
        ("posterise", 0.5, lambda image: ImageOps.posterize(image, 6)),
        ("solarise", 0.5, lambda image: ImageOps.solarize(image, 128)),
    ],
)
def test_operations_on_values_are_pillows(name: str, strength: float, expected) -> None:
    for number in range(3):
        found, wanted = applied(name, pixels(number), strength), np.asarray(expected(pixels(number)), np.float64)
        assert np.abs(found - wanted).max() <= 1


def test_shifts_and_turns_move_the_picture() -> None:
    image = torch.zeros(1, 3, 20, 20)
    image[:, :, 8:12, 8:12] = 255
    right = OPERATIONS["translate_x"](image, 0.2 / 0.45, torch.tensor([-1.0]))  # a fifth of 20 pixels
    assert torch.allclose(right[:, :, 8:12, 12:16], torch.full((1, 3, 4, 4), 255.0), atol=1e-2)
    down = OPERATIONS["translate_y"](image, 0.2 / 0.45, torch.tensor([-1.0]))
    assert torch.allclose(down, right.transpose(2, 3), atol=1e-2)
    for name in ("rotate", "shear_x", "shear_y"):
        for sign in (1.0, -1.0):
            turned = OPERATIONS[name](image, 1.0, torch.tensor([sign]))
            assert 200 < float(turned[0, 0, 9:11, 9:11].mean()) <= 255.5  # the centre stays
            assert not torch.allclose(turned, image)
    assert torch.allclose(OPERATIONS["rotate"](image, 0.0, torch.tensor([1.0])), image, atol=1e-2)


def test_every_operation_keeps_shape_and_range_and_a_seed_repeats() -> None:
    batch = torch.cat([tensor(pixels(number % 3)) for number in range(64)])
    first = rand_augment(batch, 3, 0.7, torch.Generator().manual_seed(0))
    again = rand_augment(batch, 3, 0.7, torch.Generator().manual_seed(0))
    assert first.shape == batch.shape
    assert float(first.min()) >= 0
    assert float(first.max()) <= 255
    assert torch.equal(first, again)
    assert not torch.equal(first, rand_augment(batch, 3, 0.7, torch.Generator().manual_seed(1)))


def test_a_batch_is_augmented_where_it_is_asked_for() -> None:
    images = np.stack([np.asarray(pixels(number)) for number in range(8)])
    still = {"area": (1.0, 1.0), "aspect": (1.0, 1.0), "horizontal_flip": False}
    plain, changed = (
        Augmentation(**still, brightness=0, contrast=0, saturation=0, random_ops=ops, magnitude=0.9).apply(
            images, SIDE, Preprocess(), torch.Generator().manual_seed(0)
        )
        for ops in (0, 2)
    )
    assert ((plain - changed).abs().amax((1, 2, 3)) > 0.05).sum() >= 6
    with pytest.raises(ConfigError, match="magnitude within"):
        Augmentation(magnitude=1.5)
