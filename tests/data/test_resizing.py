"""Arrays are resized as Pillow resizes them, bit for bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nas_edge.data.preprocess import Preprocess, Resize
from nas_edge.data.resizing import resize


@settings(deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 64), st.integers(0, 99))
def test_every_pixel_is_pillows(height: int, width: int, side: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
    found = resize(pixels, side, (0.0, 0.0, float(width), float(height)))
    if height <= width or height <= side:
        assert np.array_equal(found, expected)
    assert np.abs(found.astype(int) - expected).max() <= 1


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 48), st.floats(0.5, 1.0), st.sampled_from(Resize))
def test_a_picture_and_its_array_give_the_same(height: int, width: int, side: int, crop: float, mode: Resize) -> None:
    pixels = np.random.default_rng(height * 41 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    form = Preprocess(mode, crop)
    for array in (pixels, pixels[:, :, 0], pixels[:, :, :1]):
        picture = Image.fromarray(array if array.ndim == 2 or array.shape[2] == 3 else array[:, :, 0])
        found, expected = form.resize(array, side), form.resize(picture, side)
        assert np.abs(found.astype(int) - expected).max() <= 1
        if height == width and mode is Resize.SQUASH:
            assert np.array_equal(found, expected)
