"""How long measuring subnets will take is told beforehand, and a short time limit gets fewer views."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_edge.data import Dataset, Preprocess, load_dataset
from nas_edge.errors import FormatError
from nas_edge.pipeline.learning import measuring
from nas_edge.pipeline.learning.measuring import JOURNAL, PLAN, forget_measuring, plan_measuring
from nas_edge.spaces import Template, preset
from tests.bundles import make_images


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory):
    return load_dataset(make_images(tmp_path_factory.mktemp("images")))


def planned(dataset, template: Template, work: Path, budget_s: float | None, subnets: int = 100, cores: int = 2):
    return plan_measuring(template, dataset, Preprocess(), subnets, budget_s, cores, work)


def test_without_a_limit_small_splits_are_seen_in_eight_views(dataset, tiny_template: Template, tmp_path: Path) -> None:
    plan = planned(dataset, tiny_template, tmp_path, None)
    assert (plan.views, plan.subnets) == (8, 100)
    assert plan.seconds == pytest.approx(100 * plan.subnet_s / 2)
    assert "after training about" in plan.describe(None, None)
    assert "100 subnets, each image in 8 views" in plan.describe(None, None)


def test_a_single_search_image_is_enough_to_tell_the_time(dataset, tmp_path: Path) -> None:
    parts = {**dataset.splits, "search": dataset.search.subset([0])}
    single = Dataset(dataset.name, dataset.classes, parts)
    mcu = preset("mcu").with_resolutions((32,))  # whose last features are one pixel
    assert planned(single, mcu, tmp_path, None).subnet_s > 0


def test_a_budget_without_room_gets_fewer_views_down_to_one(
    dataset, tiny_template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_timed", lambda *_: (0.5, 0.01))  # seconds of a recalibration and of an image
    half_s = (0.5 + 4 * 24 * 0.01) * 80 / 2  # 80 subnets on two cores, each of 24 images in four views
    roomy, half, tight = (planned(dataset, tiny_template, tmp_path, s) for s in (1e6, half_s, 1e-6))
    assert (roomy.views, half.views, tight.views) == (8, 4, 1)
    assert (roomy.subnet_s, tight.subnet_s) == pytest.approx((0.5 + 8 * 24 * 0.01, 0.5 + 24 * 0.01))
    assert "within 1 min 00 s: at most 45 s of training" in tight.describe(60.0, 45.0)
    assert "in 1 view" in tight.describe(60.0, 45.0)


def test_until_a_subnet_is_measured_each_sitting_plans_anew(dataset, tiny_template: Template, tmp_path: Path) -> None:
    assert planned(dataset, tiny_template, tmp_path, 1e-6).views == 1
    later = planned(dataset, tiny_template, tmp_path, None, subnets=40, cores=3)
    assert (later.views, later.subnets, later.cores) == (8, 40, 3)


def test_once_subnets_are_measured_views_stay_and_all_else_is_as_asked(
    dataset, tiny_template: Template, tmp_path: Path
) -> None:
    first = planned(dataset, tiny_template, tmp_path, 1e-6)
    (tmp_path / JOURNAL).touch()
    later = planned(dataset, tiny_template, tmp_path, None, subnets=40, cores=3)
    assert (later.views, later.subnet_s) == (1, first.subnet_s)
    assert (later.subnets, later.cores) == (40, 3)
    assert "measure 40 subnets, each image in 1 view" in later.describe(None, None)
    (tmp_path / PLAN).write_text('{"format": 1, "views": 8}')
    with pytest.raises(FormatError, match="is no plan of measuring"):
        planned(dataset, tiny_template, tmp_path, None)


def test_what_was_planned_and_measured_for_another_training_is_dropped(
    dataset, tiny_template: Template, tmp_path: Path
) -> None:
    planned(dataset, tiny_template, tmp_path, 1e-6)
    (tmp_path / JOURNAL).touch()
    for _ in range(2):  # there need not be any
        forget_measuring(tmp_path)
    assert list(tmp_path.iterdir()) == []
