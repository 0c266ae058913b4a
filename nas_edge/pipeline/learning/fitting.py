"""A recipe fitted to how many images there are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_edge.training.recipe import Recipe


def fitting_batch(recipe: Recipe, images: int) -> Recipe:
    """The recipe, with smaller batches (the next power of two) where the training images do not fill one of its own."""
    if images >= recipe.batch_size:
        return recipe
    return replace(recipe, batch_size=max(2 * recipe.accumulate, 1 << (max(images, 2).bit_length() - 1)))
