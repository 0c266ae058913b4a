import numpy as np
import pytest

from nas_edge.accuracy import FeatureLayout
from nas_edge.errors import SpaceError
from nas_edge.spaces import SearchSpace, preset_names


@pytest.mark.parametrize("name", preset_names())
def test_each_present_gene_sets_exactly_one_feature_and_an_absent_one_none(name):
    space = SearchSpace.named(name)
    population = space.sample(50, np.random.default_rng(0))
    layout = FeatureLayout.of(space)
    one_hot = layout.one_hot(population)
    assert one_hot.dtype == np.float32
    assert one_hot.shape == (50, layout.size)
    column, value = layout.columns
    for gene in range(population.shape[1]):
        mine = one_hot[:, column == gene]
        assert (mine.sum(axis=1) == (population[:, gene] > 0)).all()
        assert ((mine * value[column == gene]).sum(axis=1) == population[:, gene]).all()


def test_a_restricted_space_has_the_layout_of_the_whole_one():
    space = SearchSpace.named("lite0")
    assert FeatureLayout.of(space.restrict(resolutions=(64,))) == FeatureLayout.of(space)


@pytest.mark.parametrize(("other", "dimension"), [("mcu", "'r' stands where"), ("ofa-mbv3-w1.0", "r is one of 64, 80")])
def test_another_space_is_refused_naming_the_dimension(other, dimension):
    layout = FeatureLayout.of(SearchSpace.named("lite0"))
    with pytest.raises(SpaceError, match=dimension):
        layout.check(SearchSpace.named(other), "the predictor")
