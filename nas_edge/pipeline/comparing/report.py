"""What a comparison says, to people and to programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_edge.pipeline.comparing.analysis import Analysis, Row
from nas_edge.pipeline.comparing.problem import ComparedProblem
from nas_edge.pipeline.comparing.request import CompareRequest
from nas_edge.pipeline.report import Success

_WIDE = 6


@dataclass(frozen=True, eq=False)
class CompareReport(Success):
    """A finished comparison.

    Attributes:
        request: what was asked for.
        problem: what was searched.
        analysis: the table.
        files: that were written.
        repeated: runs that were found finished and not repeated.
        done: runs in all.

    """

    request: CompareRequest
    problem: ComparedProblem
    analysis: Analysis
    files: tuple[Path, ...]
    repeated: int
    done: int

    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`: the same for the same runs, whatever the time they took."""
        request, analysis = self.request, self.analysis
        noise = self.problem.noise
        return {
            "problem": dict(self.problem.about),
            "value": analysis.value,
            "maximise": analysis.maximise,
            "evaluations": request.evaluations,
            "seeds": [request.seed + i for i in range(request.seeds)],
            "baseline": request.baseline,
            "test": "Wilcoxon signed-rank, two-sided, exact, paired by seed; Holm's correction over all rows",
            "optima": {
                budget: None if known is None else {"value": known.value, "exact": known.exact, "how": known.how}
                for budget, known in analysis.optima.items()
            },
            "noise": None if noise is None else {"rmse": noise.rmse, "label_noise": noise.label_noise},
            "rows": [row.to_json() for row in analysis.rows],
            "overall": [row.to_json() for row in analysis.overall],
            "notes": [*self.problem.notes, *analysis.notes],
        }

    def to_json(self) -> dict[str, Any]:
        """The summary, with files and times."""
        times = [{"strategy": r.strategy, "budget": r.budget, "wall_s": r.wall_s} for r in self.analysis.rows]
        return {"out": str(self.request.out), **self.summary(), "files": [str(f) for f in self.files], "times": times}

    def lines(self) -> list[str]:
        """For a person."""
        request, analysis = self.request, self.analysis
        about = self.problem.about
        lines = [
            f"{analysis.value} in {about['space']}, {'more' if analysis.maximise else 'less'} is better; "
            f"{request.seeds} seeds, {request.evaluations:,} evaluations each; tested against {request.baseline}",
        ]
        header = ("budget", "strategy", "median", "quartiles", "won/tied/lost", "p", "p (Holm)", "regret", "s")
        lines += _aligned([header, *(_cells(row) for row in (*analysis.rows, *analysis.overall))])
        for budget, known in analysis.optima.items():
            if known is not None:
                what = "optimum" if known.exact else "bound"
                lines.append(f"{what:<10} {budget or 'no budget'}: {known.value:.6g} ({known.how})")
        lines += [f"note       {text}" for text in (*self.problem.notes, *analysis.notes)]
        kept = f", {self.repeated} of them from before" if self.repeated else ""
        lines.append(f"runs       {self.done}{kept}")
        lines.append(f"files      {', '.join(str(f) for f in self.files)}")
        return lines


def _cells(row: Row) -> tuple[str, ...]:
    found, against = row.spread, row.against
    return (
        row.budget or "-",
        row.strategy,
        _number(found.median),
        f"{_number(found.low)} to {_number(found.high)}",
        "baseline" if against is None else f"{against.wins}/{against.ties}/{against.losses}",
        "" if against is None else f"{against.p:.2g}",
        "" if row.p_holm is None else f"{row.p_holm:.2g}",
        "" if row.regret is None else f"{row.regret:.2g}",
        f"{row.wall_s:.2f}" if row.wall_s else "",
    )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.{_WIDE}g}"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
