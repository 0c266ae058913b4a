"""How long measuring subnets will take is told beforehand, and a short time limit gets fewer views."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_edge.data import Preprocess, load_dataset
from nas_edge.errors import FormatError
from nas_edge.pipeline.learning.measuring import plan_measuring
from nas_edge.spaces import Template
from tests.bundles import make_images


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory):
    return load_dataset(make_images(tmp_path_factory.mktemp("images")))


def planned(dataset, template: Template, path: Path, budget_s: float | None):
    return plan_measuring(template, dataset, Preprocess(), 100, budget_s, 2, path)


def test_without_a_limit_small_splits_are_seen_in_eight_views(dataset, tiny_template: Template, tmp_path: Path) -> None:
    plan = planned(dataset, tiny_template, tmp_path / "plan.json", None)
    assert (plan.views, plan.subnets) == (8, 100)
    assert plan.seconds == pytest.approx(100 * plan.subnet_s / 2)
    assert "after training about" in plan.describe(None, None)
    assert "100 subnets" in plan.describe(None, None)


def test_a_budget_without_room_gets_fewer_views_down_to_one(dataset, tiny_template: Template, tmp_path: Path) -> None:
    roomy = planned(dataset, tiny_template, tmp_path / "roomy.json", 1e6)
    tight = planned(dataset, tiny_template, tmp_path / "tight.json", 1e-6)
    assert (roomy.views, tight.views) == (8, 1)
    assert tight.subnet_s < roomy.subnet_s
    assert "within 1 min 00 s: at most 45 s of training" in tight.describe(60.0, 45.0)
    assert "in 1 view" in tight.describe(60.0, 45.0)


def test_a_run_that_goes_on_keeps_its_views(dataset, tiny_template: Template, tmp_path: Path) -> None:
    first = planned(dataset, tiny_template, tmp_path / "plan.json", 1e-6)
    assert planned(dataset, tiny_template, tmp_path / "plan.json", None) == first
    (tmp_path / "plan.json").write_text('{"format": 1, "views": 8}')
    with pytest.raises(FormatError, match="is no plan of measuring"):
        planned(dataset, tiny_template, tmp_path / "plan.json", None)
