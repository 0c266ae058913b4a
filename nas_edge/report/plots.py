"""Plots as files: the same data gives the same bytes with the same matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import MissingExtraError
from nas_edge.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float = NDArray[np.float64]

_SETTINGS: Any = {"svg.hashsalt": "nas-edge", "svg.fonttype": "path", "font.size": 9, "figure.dpi": 120}
_NO_DATES: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_ACROSS = 3


@dataclass(frozen=True, eq=False)
class Curve:
    """A median with its quartiles, NaN where there is nothing to show.

    Attributes:
        label: for the legend.
        evaluations, median, low, high: float64 [n]; values hold from their number of evaluations on.

    """

    label: str
    evaluations: Float
    median: Float
    low: Float
    high: Float


@dataclass(frozen=True, eq=False)
class Panel:
    """One plot among several.

    Attributes:
        title: above it.
        curves: each in its own colour, the same one in all panels.
        line: a level to be drawn across, with what it is; None for none.

    """

    title: str
    curves: Sequence[Curve]
    line: tuple[float, str] | None = None


def require_matplotlib() -> None:
    """Raise MissingExtraError where matplotlib is not installed: before hours of work, not after them."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "report", "a plot")


def plot_anytime(panels: Sequence[Panel], ylabel: str, paths: Sequence[Path], title: str = "") -> None:
    """Best value so far over evaluations (logarithmic), medians with bands from quartile to quartile.

    Args:
        panels: side by side, at most three in a row.
        ylabel: what the values are.
        paths: files to write; the ending is the format (png, svg, pdf).
        title: above all of them.

    Raises:
        MissingExtraError: matplotlib is not installed. ConfigError, StorageError: not writable.

    """
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        across = min(len(panels), _ACROSS)
        down = -(-len(panels) // across)
        figure = Figure(figsize=(4.2 * across, 3.1 * down + 0.4), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for axis, panel in zip(axes, panels, strict=False):
            _draw(axis, panel)
            axis.set_ylabel(ylabel)
        for axis in axes[len(panels) :]:
            axis.remove()
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False)
        if title:
            figure.suptitle(title, fontsize="medium")
        for path in paths:
            kind = path.suffix.removeprefix(".")

            def write(temporary: Path, kind: str = kind) -> None:
                figure.savefig(temporary, format=kind, metadata=_NO_DATES.get(kind))

            write_atomic(path, write)


def _draw(axis: Axes, panel: Panel) -> None:
    for number, curve in enumerate(panel.curves):
        colour = f"C{number % 10}"
        axis.plot(curve.evaluations, curve.median, color=colour, drawstyle="steps-post", label=curve.label)
        axis.fill_between(curve.evaluations, curve.low, curve.high, color=colour, step="post", alpha=0.2, linewidth=0)
    if panel.line is not None:
        level, what = panel.line
        axis.axhline(level, color="black", linestyle="--", linewidth=0.8, label=what)
    low, high = _interesting(panel)
    if low < high:
        axis.set_ylim(low, high)
    axis.set_xscale("log")
    most = max(float(curve.evaluations[-1]) for curve in panel.curves)
    axis.set_xlim(max(1.0, most / 200), most)
    axis.set_title(panel.title)
    axis.set_xlabel("evaluations")
    axis.grid(alpha=0.3, linewidth=0.5)


def _interesting(panel: Panel) -> tuple[float, float]:
    """The range of values, the first twentieth of the evaluations left out: where all curves begin tells nothing."""
    shown = []
    for curve in panel.curves:
        late = curve.evaluations >= curve.evaluations[-1] / 20
        shown += [curve.low[late], curve.high[late]]
    values = np.concatenate(shown)
    values = np.append(values[np.isfinite(values)], [panel.line[0]] if panel.line else [])
    if not len(values):
        return 0.0, 0.0
    margin = 0.06 * float(np.ptp(values))
    return float(values.min()) - margin, float(values.max()) + margin
