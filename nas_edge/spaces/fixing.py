"""`--fix r=160 s2.d=3 k=3,5`: genes held to some of their values, as people write it."""

from __future__ import annotations

from collections.abc import Sequence

from nas_edge.errors import SpaceError, UnknownNameError
from nas_edge.spaces.space import BITS, SearchSpace

_EVERYWHERE = {"k": "kernel", "e": "expand ratio", "d": "depth"}


def fixed(space: SearchSpace, texts: Sequence[str]) -> SearchSpace:
    """A space in which genes have only the values given.

    Args:
        space: to be restricted.
        texts: "NAME=VALUE[,VALUE...]" each. NAME is a gene ("r", "w", "p", "s2.1.k", "s3.2.e"), a stage's depth
            ("s2.d"), or "k", "e", "d" for all stages; there a stage without any of the values is left as it is.

    Raises:
        SpaceError: not of that form, no such gene, or a value that it does not have.

    """
    for text in texts:
        name, sign, values = text.partition("=")
        name = name.strip()
        if not sign or not values.strip():
            raise SpaceError(f"--fix {text!r}: write it like r=160, k=3,5 or s2.d=3")
        numbers = [_number(space, name, value.strip(), text) for value in values.split(",")]
        space = _everywhere(space, name, numbers, text) if name in _EVERYWHERE else _one(space, name, numbers)
    return space


def _number(space: SearchSpace, name: str, value: str, text: str) -> float:
    if name == "p":
        known = {precision.value: bits for precision, bits in BITS.items() if precision in space.precisions}
        if value not in known:
            raise UnknownNameError("precision", value, known, f"(--fix {text})")
        return known[value]
    try:
        return float(value)
    except ValueError:
        raise SpaceError(f"--fix {text!r}: {value!r} is not a number") from None


def _one(space: SearchSpace, name: str, numbers: list[float]) -> SearchSpace:
    return space.restrict(None, **{name.replace(".", "_"): numbers})


def _everywhere(space: SearchSpace, name: str, numbers: list[float], text: str) -> SearchSpace:
    matched = False
    for number, stage in enumerate(space.template.stages, 1):
        have: Sequence[float] = {"k": stage.kernels, "e": stage.expands, "d": stage.depths}[name]
        wanted = [value for value in numbers if value in have]
        if not wanted:
            continue
        matched = True
        if name == "d":
            space = _one(space, f"s{number}.d", wanted)
            continue
        for slot in range(1, stage.slots + 1):
            space = _one(space, f"s{number}.{slot}.{name}", wanted)
    if not matched:
        raise SpaceError(f"--fix {text!r}: no stage of space {space.name!r} has such a {_EVERYWHERE[name]}")
    return space
