"""Fixtures for all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from nas_edge.spaces import Activation, Padding, SearchSpace, Stage, Stem, Tail, Template

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several workers share the cores: threads of each would wait for each other's. Before torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

pytest_plugins = ["tests.stand"]

# CI repeats the same examples, so that what fails there fails for everybody; elsewhere new ones are tried.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes or prints figures, unless asked for with -m."""
    if config.getoption("markexpr"):
        return
    skipped = [item for item in items if item.get_closest_marker("slow") or item.get_closest_marker("benchmark")]
    if skipped:
        config.hook.pytest_deselected(items=skipped)
        items[:] = [item for item in items if item not in skipped]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Data that is not part of the project: `../shared` beside the checkout. Skips where it is not there."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("needs the data in ../shared, which is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def tiny_template() -> Template:
    """A space small enough to be listed: two widths, two resolutions, two stages."""
    return Template(
        name="tiny",
        stem=Stem(8),
        first=Stage(8, 1),
        stages=(
            Stage(12, 2, (1, 2), (3, 5), (3, 4)),
            Stage(16, 2, (1, 2), (3,), (3, 6), activation=Activation.H_SWISH, se=True),
        ),
        tail=Tail(32),
        resolutions=(32, 48),
        widths=(0.5, 1.0),
        padding=Padding.SAME,
    )


@pytest.fixture(scope="session")
def tiny_space(tiny_template: Template) -> SearchSpace:
    """The space over `tiny_template`."""
    return SearchSpace(tiny_template)
