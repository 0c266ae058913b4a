import numpy as np
import pytest
from scipy.stats import kendalltau

from nas_edge.accuracy import kendall_tau, noise_ceiling


@pytest.mark.parametrize("ties", [False, True])
def test_tau_agrees_with_scipy(ties):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 80))
    b += a
    if ties:
        a, b = np.round(a * 2), np.round(b * 2)
    assert kendall_tau(a, b) == pytest.approx(kendalltau(a, b).statistic)


def test_tau_of_a_constant_is_zero():
    assert kendall_tau(np.ones(5), np.arange(5)) == 0.0


def test_the_ceiling_is_the_tau_that_the_truth_reaches_on_noisy_labels():
    rng = np.random.default_rng(0)
    truth = rng.normal(0.8, 0.03, 300)
    answers = rng.random((300, 400)) < truth[:, None]
    ceiling = noise_ceiling(answers)
    assert ceiling.tau == pytest.approx(kendall_tau(truth, answers.mean(axis=1)), abs=0.04)
    assert ceiling.rmse == pytest.approx(np.std(answers.mean(axis=1) - truth), rel=0.15)
    assert ceiling.half_tau < ceiling.tau


def test_views_of_one_image_do_not_count_as_more_images():
    rng = np.random.default_rng(0)
    answers = rng.random((50, 100)) < rng.normal(0.8, 0.05, 50)[:, None]
    once, thrice = noise_ceiling(answers), noise_ceiling(np.repeat(answers[:, :, None], 3, axis=2))
    assert once == thrice


def test_too_little_for_a_ceiling_is_an_error():
    with pytest.raises(ValueError, match="at least 3 subnets"):
        noise_ceiling(np.ones((2, 100), bool))
