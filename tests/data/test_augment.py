"""Augmentation: seeded, in range, and neutral where nothing is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from nas_edge.data import Preprocess
from nas_edge.data.augment import Augmentation, cutmix, mixup, to_batch
from nas_edge.data.preprocess import to_rgb
from nas_edge.errors import ConfigError

from .pictures import picture

NEUTRAL = Augmentation(
    area=(1.0, 1.0), aspect=(1.0, 1.0), horizontal_flip=False, brightness=0, contrast=0, saturation=0
)


def batch(count: int = 6, side: int = 24) -> np.ndarray:
    return np.stack([np.asarray(to_rgb(picture(number, (side, side)))) for number in range(count)])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_seed_gives_the_same_batch_and_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    augmentation = Augmentation(vertical_flip=True, rotation_degrees=15, cutout=0.3)
    first = augmentation.apply(batch(), 20, Preprocess(), generator(3))
    again = augmentation.apply(batch(), 20, Preprocess(), generator(3))
    assert torch.equal(first, again)
    assert not torch.equal(first, augmentation.apply(batch(), 20, Preprocess(), generator(4)))
    assert torch.equal(before, torch.get_rng_state())


def test_the_result_is_scaled_in_range_and_channels_last():
    result = Augmentation(rotation_degrees=15).apply(batch(), 20, Preprocess(), generator())
    assert result.shape == (6, 3, 20, 20)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert -1 <= float(result.min()) < float(result.max()) <= 1


def test_nothing_asked_for_changes_nothing():
    pixels = batch()
    result = NEUTRAL.apply(pixels, 24, Preprocess(), generator())
    assert np.allclose(result.numpy(), Preprocess().normalise(pixels), atol=1e-4)
    assert np.allclose(to_batch(pixels, Preprocess()).numpy(), Preprocess().normalise(pixels), atol=1e-6)


def test_shrinking_much_is_antialiased_as_in_evaluation():
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    assert float(NEUTRAL.apply(stripes, 16, Preprocess(), generator()).abs().max()) < 0.15


def test_flips_turn_some_pictures_and_rotation_keeps_right_angles():
    pixels = batch(32)
    flipped = Augmentation(area=(1, 1), aspect=(1, 1), brightness=0, contrast=0, saturation=0).apply(
        pixels, 24, Preprocess(), generator()
    )
    plain = torch.from_numpy(Preprocess().normalise(pixels))
    same = (flipped - plain).abs().amax((1, 2, 3)) < 1e-3
    turned = (flipped - plain.flip(3)).abs().amax((1, 2, 3)) < 1e-3
    assert 5 < int(same.sum()) < 27
    assert bool((same | turned).all())
    warp = Augmentation(area=(1, 1), aspect=(1, 1), vertical_flip=True, rotation_degrees=30)
    matrix = warp._transforms(32, generator())[:, :, :2]
    assert torch.allclose(matrix @ matrix.transpose(1, 2), torch.eye(2).expand(32, 2, 2), atol=1e-5)


def test_cutout_greys_a_square():
    result = Augmentation(
        area=(1, 1), aspect=(1, 1), horizontal_flip=False, brightness=0, contrast=0, saturation=0, cutout=0.5
    ).apply(np.full((8, 24, 24, 3), 255, np.uint8), 24, Preprocess(), generator())
    grey = (result == 0).all(1).float().mean((1, 2))
    assert 0 < float(grey.min()) <= float(grey.max()) <= 0.26


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_cutout_covers_what_a_square_around_a_random_point_does(share):
    still = {"area": (1, 1), "aspect": (1, 1), "horizontal_flip": False, "brightness": 0, "contrast": 0}
    augmentation = Augmentation(**still, saturation=0, cutout=share)
    result = augmentation.apply(np.full((2000, 32, 32, 3), 255, np.uint8), 32, Preprocess(), generator())
    grey = (result == 0).all(1)
    assert bool((grey.any(2).sum(1) <= share * 32).all())
    assert bool((grey.any(1).sum(1) <= share * 32).all())
    # A side of length s around a point that is uniform along the picture lies inside it by s - s^2 / 4 on average.
    assert float(grey.float().mean()) == pytest.approx((share - share**2 / 4) ** 2, rel=0.05)
    whole = grey.float().mean((1, 2)) == share**2
    assert float(whole.float().mean()) == pytest.approx((1 - share) ** 2, abs=0.08)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_weights_of_mixup_follow_the_beta_distribution(alpha):
    blended = [mixup(torch.eye(2), torch.eye(2), alpha, generator(seed))[1] for seed in range(600)]
    weights = [float(t[0, 0]) for t in blended if 0 < float(t[0, 0]) < 1]  # the pictures that were given another
    assert len(weights) > 200
    assert stats.kstest(weights, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_boxes_of_cutmix_are_square_and_leave_a_share_that_follows_the_beta_distribution():
    pictures, kept = torch.stack([torch.zeros(1, 200, 200), torch.ones(1, 200, 200)]), []
    for seed in range(1200):
        box = cutmix(pictures, torch.eye(2), 1.0, generator(seed))[0][0, 0] > 0
        rows, columns = box.any(1).nonzero().flatten(), box.any(0).nonzero().flatten()
        if len(rows) and rows.min() > 0 and rows.max() < 199 and columns.min() > 0 and columns.max() < 199:
            assert abs(len(rows) - len(columns)) <= 1
            kept.append(1 - len(rows) * len(columns) / 200**2)
    # Beta(1, 1) is uniform; a box that leaves a share x lies within the picture with probability (1 - sqrt(1 - x))^2.
    x = np.linspace(0, 1, 20001)
    cumulative = np.cumsum((1 - np.sqrt(1 - x)) ** 2)
    assert len(kept) > 60
    assert stats.kstest(kept, lambda value: np.interp(value, x, cumulative / cumulative[-1])).pvalue > 0.01


def test_cutmix_pastes_a_box_and_blends_targets_by_its_area():
    pictures = torch.arange(4.0)[:, None, None, None].expand(4, 3, 20, 20)
    targets = torch.eye(4)
    shares = []
    for seed in range(60):
        mixed, blended = cutmix(pictures, targets, 1.0, generator(seed))
        assert torch.allclose(blended.sum(1), torch.ones(4))
        for number in range(4):
            foreign = mixed[number] != number
            rows, columns = foreign[0].any(1).nonzero().flatten(), foreign[0].any(0).nonzero().flatten()
            assert foreign.float().mean() == pytest.approx(float(1 - blended[number, number]), abs=1e-6)
            if len(rows):  # a whole rectangle of one other picture
                box = mixed[number, :, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                assert box.unique().numel() == 1
                assert blended[number, int(box.unique())] > 0
        shares.append(float(1 - blended[0, 0]))
    assert 0.15 < np.mean(shares) < 0.5
    assert cutmix(pictures, targets, 0.0, generator())[0] is pictures


def test_mixup_blends_pictures_and_targets_alike():
    pictures, targets = torch.eye(4), torch.eye(4)
    mixed, blended = mixup(pictures, targets, 0.8, generator())
    assert torch.equal(mixed, blended)
    assert torch.allclose(blended.sum(1), torch.ones(4))
    assert mixup(pictures, targets, 0.0, generator())[0] is pictures


@pytest.mark.parametrize(
    "wrong", [{"area": (0, 1)}, {"area": (0.5, 1.5)}, {"aspect": (2, 1)}, {"cutout": 1.0}, {"contrast": -0.1}]
)
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Augmentation(**wrong)
