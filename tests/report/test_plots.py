"""Plots are files that are the same for the same data."""

from __future__ import annotations

import numpy as np
import pytest

from nas_edge.errors import MissingExtraError
from nas_edge.report.plots import Curve, Panel, plot_anytime


def panel(title: str, line: bool) -> Panel:
    steps = np.array([1.0, 10.0, 100.0])
    nothing_yet = np.array([np.nan, 0.5, 0.6])
    return Panel(
        title, [Curve("a", steps, nothing_yet, nothing_yet - 0.1, nothing_yet + 0.1)], (0.7, "best") if line else None
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_panels_become_files_of_the_kind_their_name_says(tmp_path, count):
    pytest.importorskip("matplotlib")
    paths = [tmp_path / "p.png", tmp_path / "p.svg"]
    panels = [panel(f"{n} ms", n == 0) for n in range(count)]
    plot_anytime(panels, "accuracy", paths)
    first = [path.read_bytes() for path in paths]
    assert first[0].startswith(b"\x89PNG")
    assert b"<svg" in first[1]
    plot_anytime(panels, "accuracy", paths)
    assert [path.read_bytes() for path in paths] == first


def test_curves_without_a_single_figure_are_drawn_as_nothing(tmp_path):
    pytest.importorskip("matplotlib")
    empty = np.full(3, np.nan)
    plot_anytime(
        [Panel("none", [Curve("a", np.array([1.0, 2.0, 3.0]), empty, empty, empty)])], "x", [tmp_path / "e.png"]
    )
    assert (tmp_path / "e.png").stat().st_size > 1000


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("nas_edge.report.plots.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nas-edge\[report\]'"):
        plot_anytime([panel("a", False)], "accuracy", [tmp_path / "p.png"])
