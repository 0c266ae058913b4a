"""Architectures as people give them to a command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nas_edge.errors import ArchitectureError
from nas_edge.files import read_json
from nas_edge.spaces import Population, SearchSpace

NAMED = ("smallest", "largest")


def read_architecture(space: SearchSpace, text: str) -> Population:
    """int8 [genes] of "largest", "smallest", a JSON file, or JSON itself: {"r": ..., "d": [...]} or a list of genes.

    Raises:
        ArchitectureError: not a point of the space. FormatError: no such file, or not JSON.
    """
    if text in NAMED:
        return space.largest() if text == "largest" else space.smallest()
    if not text.lstrip().startswith(("{", "[")):
        return space.from_json(read_json(Path(text)), text)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArchitectureError(f"architecture {text!r}: is not JSON ({error.msg})") from None
    return _of_genes(space, data) if isinstance(data, list) else space.from_json(data)


def _of_genes(space: SearchSpace, genes: list[object]) -> Population:
    count = len(space.genes)
    if len(genes) != count or not all(type(gene) is int and 0 <= gene < 127 for gene in genes):
        raise ArchitectureError(f"architecture: space {space.name!r} has {count} genes, small numbers, not {genes!r}")
    row = np.array(genes, np.int8)
    if not space.is_valid(row[None])[0]:
        raise ArchitectureError(f"architecture: {genes!r} are no genes of space {space.name!r}")
    return row
