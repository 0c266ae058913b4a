"""A handful of photographs trains as well."""

from __future__ import annotations

import pytest

from nas_edge.pipeline.learning.fitting import fitting_batch
from nas_edge.training.recipe import Recipe


@pytest.mark.parametrize(("images", "batch"), [(5000, 64), (64, 64), (63, 32), (48, 32), (5, 4), (1, 2)])
def test_batches_are_as_large_as_the_images_fill(images: int, batch: int) -> None:
    assert fitting_batch(Recipe(), images).batch_size == batch


def test_parts_of_a_batch_keep_two_images_each() -> None:
    assert fitting_batch(Recipe(accumulate=4), 10).batch_size == 8
    assert fitting_batch(Recipe(accumulate=4), 5).batch_size == 8  # too few to train on, and told so
