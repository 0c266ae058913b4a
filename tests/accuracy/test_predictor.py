import itertools
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_edge.accuracy import AccuracyPredictor, FeatureLayout
from nas_edge.errors import FormatError, SpaceError
from nas_edge.spaces import SearchSpace

SPACE = SearchSpace.named("lite0")


def random_predictor(space=SPACE, hidden=(16, 8), members=3, seed=0):
    layout, rng = FeatureLayout.of(space), np.random.default_rng(seed)
    sizes = [layout.size, *hidden, 1]
    return AccuracyPredictor(
        layout,
        tuple(rng.normal(0, 0.3, (members, a, b)).astype(np.float32) for a, b in itertools.pairwise(sizes)),
        tuple(rng.normal(0, 0.3, (members, b)).astype(np.float32) for b in sizes[1:]),
        rng.normal(0, 0.3, (members, layout.size)).astype(np.float32),
        figures={"tau": 0.9},
    )


def by_hand(predictor, row):
    """Member by member, layer by layer, in float64."""
    x = predictor.layout.one_hot(row[None])[0].astype(np.float64)
    outputs = []
    for m in range(predictor.members):
        hidden = x
        for i, (weight, bias) in enumerate(zip(predictor.weights, predictor.biases, strict=True)):
            hidden = (np.maximum(hidden, 0) if i else hidden) @ weight[m] + bias[m]
        outputs.append(hidden[0] + predictor.linear[m] @ x)
    return np.mean(outputs), np.std(outputs)


@pytest.mark.parametrize("hidden", [(16,), (16, 8), (8, 8, 8)])
def test_predictions_equal_those_by_hand_across_chunks(hidden):
    predictor = random_predictor(hidden=hidden)
    population = SPACE.sample(1500, np.random.default_rng(1))
    mean, deviation = predictor.predict(population), predictor.predict_std(population)
    assert mean.shape == (1500,)
    assert mean.dtype == np.float64
    for i in (0, 1023, 1024, 1499):
        assert (mean[i], deviation[i]) == pytest.approx(by_hand(predictor, population[i]), abs=1e-5)
    assert len(predictor.predict(population[:0])) == 0


def test_the_gradient_is_the_slope_also_between_choices():
    predictor = random_predictor()
    rng = np.random.default_rng(2)
    x = rng.random((4, predictor.layout.size))
    value, gradient = predictor.gradient(x)
    step = 1e-3
    for feature in range(0, predictor.layout.size, 7):
        moved = x.copy()
        moved[:, feature] += step
        assert (predictor.gradient(moved)[0] - value) / step == pytest.approx(gradient[:, feature], abs=2e-2)


def test_the_gradient_s_value_is_the_prediction():
    predictor = random_predictor()
    population = SPACE.sample(20, np.random.default_rng(1))
    value, _ = predictor.gradient(predictor.layout.one_hot(population))
    assert value == pytest.approx(predictor.predict(population), abs=1e-5)


def test_what_is_written_is_read_back_and_bytes_repeat(tmp_path):
    predictor, path = random_predictor(), tmp_path / "accuracy_predictor.npz"
    predictor.write(path)
    again = AccuracyPredictor.read(path, SPACE)
    population = SPACE.sample(20, np.random.default_rng(1))
    assert np.array_equal(again.predict(population), predictor.predict(population))
    assert (again.layout, again.precision, again.figures) == (predictor.layout, "fp32", {"tau": 0.9})
    first = path.read_bytes()
    again.write(path)
    assert path.read_bytes() == first


def test_a_predictor_of_another_space_is_refused(tmp_path):
    path = tmp_path / "accuracy_predictor.npz"
    random_predictor().write(path)
    with pytest.raises(SpaceError, match="is of space 'lite0', not of 'mbv3-32': r is one of 64"):
        AccuracyPredictor.read(path, SearchSpace.named("mbv3-32"))


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "accuracy_predictor.npz"
    random_predictor().write(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(FormatError, match=r"accuracy_predictor.npz: "):
        AccuracyPredictor.read(path)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_is_no_crash(tmp_path_factory, at, change):
    path = tmp_path_factory.mktemp("changed") / "accuracy_predictor.npz"
    random_predictor().write(path)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= change
    path.write_bytes(data)
    with suppress(FormatError):  # where the byte is of no consequence it is read
        AccuracyPredictor.read(path)


def test_pickled_objects_and_broken_weights_are_refused(tmp_path):
    path = tmp_path / "accuracy_predictor.npz"
    np.savez(path, header=np.array([{"format": 1}], object))
    with pytest.raises(FormatError):
        AccuracyPredictor.read(path)
    predictor = random_predictor()
    predictor.linear[0, 0] = np.nan
    predictor.write(path)
    with pytest.raises(FormatError, match="finite"):
        AccuracyPredictor.read(path)
    with pytest.raises(FormatError, match="cannot be read"):
        AccuracyPredictor.read(tmp_path / "none.npz")


def test_a_population_of_another_width_is_refused():
    with pytest.raises(ValueError, match="columns here"):
        random_predictor().predict(np.zeros((3, 4), np.int8))
