"""Random search at equal evaluations beside a run's own strategy, on the same surrogates, over a few seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nas_edge.errors import NasEdgeError
from nas_edge.files import read_json, write_json
from nas_edge.pipeline.comparing.analysis import Analysis, analyse
from nas_edge.pipeline.comparing.problem import ComparedProblem, NoiseFloor
from nas_edge.pipeline.comparing.runs import RunKey, run_once
from nas_edge.pipeline.reporting.facts import RunFacts
from nas_edge.progress import Progress
from nas_edge.search.constraints import Constraint

FILE = "random_search.json"
SEEDS = 6  # the fewest that can give a p below 0.05
_BASELINE = "random"


@dataclass(frozen=True)
class Chance:
    """How a run's strategy does against random search.

    Attributes:
        value: what is compared.
        strategy: with its options.
        evaluations: of each search.
        seeds: of both.
        median, random_median: None where less than half of the searches found anything.
        wins, ties, losses: seed by seed, of the run's strategy.
        p: two-sided, Wilcoxon's signed-rank test.

    """

    value: str
    strategy: str
    evaluations: int
    seeds: int
    median: float | None
    random_median: float | None
    wins: int
    ties: int
    losses: int
    p: float

    def text(self) -> str:
        """One sentence for a person."""
        return (
            f"{self.value}, median of {self.seeds} seeds at {self.evaluations:,} evaluations each: {self.strategy} "
            f"{_shown(self.median)}, random {_shown(self.random_median)}; won {self.wins}, tied {self.ties}, lost "
            f"{self.losses}, p = {self.p:.2g} (Wilcoxon signed-rank, two-sided)"
        )


def against_chance(facts: RunFacts, progress: Progress) -> Chance | str:
    """Search again, with the run's strategy and by chance; what was found before is taken from the run.

    Both search on the surrogates as they are now, with nothing measured: budgets that were verified on a device are
    held by prediction here, and a predictor that was refined in the loop is the bundle's again.

    Returns:
        The comparison, or why there is none.

    """
    stored = facts.path / FILE
    if stored.is_file():
        data = read_json(stored)
        if isinstance(data, dict) and data.get("format") == 1:
            return Chance(**{key: value for key, value in data.items() if key != "format"})
    if facts.request is None:
        return "the run kept no request"
    if facts.strategy == _BASELINE:
        return "the run itself was a random search"
    if facts.request.accuracy_predictor.startswith("zero-cost:"):
        return "each evaluation of a zero-cost proxy builds a network: it was not searched again"
    try:
        problem, constraints = _problem(facts)
        found = _compared(facts, problem, constraints, progress)
    except NasEdgeError as error:
        return f"it cannot be searched again: {error}"
    write_json(stored, {"format": 1, **asdict(found)})
    return found


def _problem(facts: RunFacts) -> tuple[ComparedProblem, Sequence[Constraint]]:
    assert facts.request is not None
    request = replace(facts.request, verify=False, host="", serial="")
    if facts.is_table:
        from nas_edge.search.tabular import tabular_metrics, tabular_objective
        from nas_edge.spaces.tabular import TabularSpace

        table = TabularSpace.read(Path(request.space))
        objectives = request.pareto or (request.objective or tabular_objective(table),)
        limits = [Constraint(name, "<=" if op == "<=" else ">=", limit) for name, op, limit in request.limits]
        return ComparedProblem(table, tabular_metrics(table), objectives, None, {}, {}), limits
    from nas_edge.pipeline.searching.task import prepare

    task = prepare(request)
    noise = NoiseFloor.of(facts.predictor_figures)
    problem = ComparedProblem(task.source.space, task.metrics(), task.objectives, noise, {}, {})
    return problem, task.constraints()


def _compared(
    facts: RunFacts, problem: ComparedProblem, constraints: Sequence[Constraint], progress: Progress
) -> Chance:
    assert facts.request is not None
    options = "".join(f":{name}={value}" for name, value in facts.request.options.items())
    strategy = facts.strategy + options
    evaluations = min(facts.request.evaluations, problem.space.size())
    seeds = range(facts.request.seed, facts.request.seed + SEEDS)
    records = {}
    keys = [RunKey(s, "", seed) for seed in seeds for s in (strategy, _BASELINE)]
    for number, key in enumerate(keys):
        progress(number, len(keys), f"random search beside {strategy}, at equal evaluations")
        records[key] = run_once(problem, constraints, key, evaluations, _quiet)
    analysis: Analysis = analyse(problem, (strategy, _BASELINE), _BASELINE, {"": None}, list(seeds), records)
    mine, random = analysis.rows
    assert mine.against is not None
    return Chance(
        analysis.value, strategy, evaluations, SEEDS, mine.spread.median, random.spread.median, mine.against.wins,
        mine.against.ties, mine.against.losses, mine.against.p,
    )  # fmt: skip


def _quiet(done: float, total: float, text: str) -> None:
    """Searches of a fraction of a second: the count of them is shown."""


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"
