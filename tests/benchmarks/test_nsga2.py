"""NSGA-II beside pymoo's: hypervolume and time, on two real problems. Printed, not asserted: `pytest -m benchmark -s`.

Both start from the same populations, have as many survivors, children and evaluations, and call the same surrogates
(latency and accuracy of a whole population at once). pymoo has its vectorised `Problem`, integer variables, a repair to
canonical rows, no duplicates (its default), and two sets of operators: those that its documentation gives for integers,
and uniform crossover with random choices, which are nearest to ours. Compared are the last populations.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest

from nas_edge.search import Problem, make_strategy
from nas_edge.search.hypervolume import hypervolume
from nas_edge.search.strategies.variants import spread
from tests.benchmarks import problems

pytestmark = pytest.mark.benchmark

POPULATION, EVALUATIONS, SEEDS = 100, 10_000, 10


@dataclass
class Outcome:
    """Hypervolume of the last population; seconds in all, and without those of the surrogates."""

    volume: float
    wall_s: float
    own_s: float


class Timed:
    """A problem whose surrogates are timed."""

    def __init__(self, problem):
        self.problem, self.seconds = problem, 0.0

    def gains(self, rows):
        began = time.perf_counter()
        gains = self.problem.gains(rows)
        self.seconds += time.perf_counter() - began
        return gains


def ours(problem, first, seed):
    timed, began = Timed(problem), time.perf_counter()
    strategy = make_strategy("nsga2", problem, np.random.default_rng(seed), {"population": POPULATION})
    # The first population is given, so that it is the peer's too.
    rows, left = first, EVALUATIONS
    while len(rows):
        strategy.tell(rows, timed.gains(rows), np.zeros(len(rows)))
        left -= len(rows)
        rows = strategy.ask(left) if left else rows[:0]
    wall = time.perf_counter() - began
    return problem.gains(strategy.survivors), wall, wall - timed.seconds


def theirs(operators):
    def run(problem, first, seed):
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem as Vectorised
        from pymoo.core.repair import Repair
        from pymoo.optimize import minimize

        timed, space = Timed(problem), problem.space

        class Canonical(Repair):
            def _do(self, _, values, **kwargs):
                return space.repair(np.rint(values).astype(np.int64)).astype(np.int64)

        class Population(Vectorised):
            def __init__(self):
                greatest = np.array([values[-1] for values in space.layout.values])
                super().__init__(n_var=len(greatest), n_obj=len(problem.objectives), xl=0, xu=greatest, vtype=int)

            def _evaluate(self, values, out, *args, **kwargs):
                out["F"] = -timed.gains(values.astype(np.int8))

        began = time.perf_counter()
        algorithm = NSGA2(pop_size=len(first), sampling=first.astype(np.int64), repair=Canonical(), **operators())
        result = minimize(Population(), algorithm, ("n_eval", EVALUATIONS), seed=seed)
        wall = time.perf_counter() - began
        return -result.pop.get("F"), wall, wall - timed.seconds

    return run


def simulated_binary():
    """As https://pymoo.org/customization/discrete.html has it."""
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair

    options = {"prob": 1.0, "eta": 3.0, "vtype": float, "repair": RoundingRepair()}
    return {"crossover": SBX(**options), "mutation": PM(**options)}


def uniform():
    from pymoo.core.mutation import Mutation
    from pymoo.operators.crossover.ux import UniformCrossover

    class Choice(Mutation):
        def _do(self, problem, values, random_state=None, **kwargs):
            drawn = random_state.integers(problem.xl.astype(int), problem.xu.astype(int) + 1, values.shape)
            return np.where(random_state.random(values.shape) < 1 / problem.n_var, drawn, values)

    return {"crossover": UniformCrossover(), "mutation": Choice()}


RUNS = {
    "nas-edge": ours,
    "pymoo, SBX and PM rounded": theirs(simulated_binary),
    "pymoo, uniform and choice": theirs(uniform),
}


@pytest.mark.parametrize("name", ["once-for-all", "trashnet"])
def test_hypervolume_and_time_beside_pymoo(name, shared_dir):
    pytest.importorskip("pymoo")
    space, metrics = problems.trashnet() if name == "trashnet" else problems.once_for_all(shared_dir)
    problem = Problem(space, metrics, ("accuracy", "latency"), ())
    reference = problem.gains(np.stack([space.smallest(), space.largest()])).min(axis=0)
    outcomes: dict[str, list[Outcome]] = {run: [] for run in RUNS}
    for seed in range(SEEDS):
        first = spread(space, POPULATION, np.random.default_rng(seed))
        for run, search in RUNS.items():
            points, wall, own = search(problem, first, seed)
            outcomes[run].append(Outcome(hypervolume(points, reference), wall, own))
    print(f"\n{name}: population {POPULATION}, {EVALUATIONS:,} evaluations, {SEEDS} seeds")
    print("                             hypervolume: median   lowest  highest  won of 10    s in all   s of its own")
    for run, found in outcomes.items():
        volumes = np.array([outcome.volume for outcome in found])
        won = sum(a.volume > b.volume for a, b in zip(outcomes["nas-edge"], found, strict=True))
        wall, own = (float(np.median([getattr(o, part) for o in found])) for part in ("wall_s", "own_s"))
        print(
            f"  {run:27s} {np.median(volumes):19.5f} {volumes.min():8.5f} {volumes.max():8.5f} "
            f"{'' if run == 'nas-edge' else won:>10} {wall:11.3f} {own:14.3f}"
        )
    mine = [(o.wall_s, o.own_s) for o in outcomes["nas-edge"]]
    for run, found in outcomes.items():
        if run != "nas-edge":
            ratios = np.array([(o.wall_s, o.own_s) for o in found]) / np.array(mine)
            whole, own = np.median(ratios, axis=0)
            print(f"  {run}: {whole:.1f} times as long in all, {own:.1f} times without the surrogates")
