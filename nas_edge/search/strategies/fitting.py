"""The strategy for a problem, by what the problem shows of itself."""

from __future__ import annotations

from nas_edge.search.problem import Problem
from nas_edge.search.strategies.epsilon import suits_epsilon
from nas_edge.search.strategies.islands import suits_islands
from nas_edge.search.strategies.lagrangian import suits_lagrangian
from nas_edge.search.strategies.least import suits_least


def fitting_strategy(problem: Problem) -> str:
    """The name of the best strategy for a problem: each of the first ones needs to see more than the next.

    Sums over blocks throughout are a matter of prices, a derivative makes children good guesses; where neither is
    there, evolution needs figures only. For several objectives that is a matter of searches under one budget after
    another, or of NSGA-II.
    """
    if len(problem.objectives) > 1:
        return "epsilon" if suits_epsilon(problem) else "nsga2"
    if suits_lagrangian(problem):
        return "lagrangian"
    if suits_least(problem):
        return "least"
    return "islands" if suits_islands(problem) else "evolution"
