"""What every reader of a data set format keeps. A new format subclasses `ReaderContract` and gives `listing`."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.data import Preprocess
from nas_edge.data.listing import Listing, build_dataset, order_classes


class ReaderContract:
    """Subclasses define the fixture `listing`: a small set of at least two classes, read by the reader."""

    @pytest.fixture
    def listing(self) -> Listing:
        pytest.fail("a subclass of ReaderContract defines the fixture `listing`")

    def test_every_picture_has_a_label_a_split_and_a_name_of_its_own(self, listing: Listing):
        count = len(listing.source)
        assert count > 0
        assert len(listing.labels) == len(listing.splits) == count
        assert len(listing.groups) in (0, count)
        assert len({listing.source.name(index) for index in range(count)}) == count

    def test_splits_are_given_for_all_pictures_or_for_none(self, listing: Listing):
        assert set(listing.splits) <= {"train", "search", "test"} or set(listing.splits) == {""}

    def test_labels_are_among_the_classes(self, listing: Listing):
        classes = listing.classes or order_classes(set(listing.labels))
        assert len(set(classes)) == len(classes) > 1
        assert set(listing.labels) <= set(classes)

    def test_pictures_become_arrays_in_the_order_of_the_labels(self, listing: Listing):
        dataset = build_dataset("contract", listing, seed=0, fractions=(0.7, 0.15, 0.15))
        number = {listing.source.name(index): label for index, label in enumerate(listing.labels)}
        for split in dataset.splits.values():
            images = split.images(Preprocess(), 8)
            assert images.shape == (len(split), 8, 8, 3)
            assert images.dtype == np.uint8
            assert [number[name] for name in split.names] == [dataset.classes[label] for label in split.labels]
            assert np.array_equal(images[-1], Preprocess().resize(split.open(len(split) - 1), 8))
        assert sum(len(split) for split in dataset.splits.values()) == len(listing.source)
