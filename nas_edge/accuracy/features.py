"""Architectures as numbers: one column for each choice of each gene."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_edge.errors import FormatError, SpaceError
from nas_edge.spaces import Population, SearchSpace


@dataclass(frozen=True)
class FeatureLayout:
    """The one-hot columns of a space. Two spaces with equal layouts have populations that mean the same.

    Attributes:
        space: name of the space.
        genes: (name, choices) of each gene, in the order of a population's columns.

    """

    space: str
    genes: tuple[tuple[str, tuple[float, ...]], ...]

    @classmethod
    def of(cls, space: SearchSpace) -> FeatureLayout:
        """The layout of a space; restrictions of the space do not change it."""
        return cls(space.name, tuple((gene.name, gene.choices) for gene in space.genes))

    @cached_property
    def columns(self) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
        """(gene column, gene value) of each feature, both [features]."""
        counts = [len(choices) for _, choices in self.genes]
        values = [np.arange(1, count + 1, dtype=np.int8) for count in counts]
        return np.repeat(np.arange(len(counts)), counts), np.concatenate(values)

    @property
    def size(self) -> int:
        """Number of features."""
        return sum(len(choices) for _, choices in self.genes)

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """What each feature's choice stands for (3, 5, 7; pixels; ratios): float64 [features]."""
        return np.array([choice for _, choices in self.genes for choice in choices], np.float64)

    def one_hot(self, population: Population) -> NDArray[np.float32]:
        """float32 [n, features] of int8 [n, genes]; an absent gene is all zeros."""
        column, value = self.columns
        encoded: NDArray[np.float32] = (population[:, column] == value).astype(np.float32)
        return encoded

    @property
    def fingerprint(self) -> str:
        """Hash of gene names and choices, 16 hexadecimal digits; the space's name does not enter."""
        return hashlib.sha256(json.dumps(self.genes).encode()).hexdigest()[:16]

    def check(self, space: SearchSpace, what: str) -> None:
        """Hold this layout against a space; `what` names the thing that was made for it.

        Raises:
            SpaceError: another space; the first dimension that differs is named.

        """
        other = FeatureLayout.of(space)
        if self.genes == other.genes:
            return
        for (name, choices), (found, have) in zip(self.genes, other.genes, strict=False):
            if name != found:
                difference = f"its gene {name!r} stands where this space has {found!r}"
                break
            if choices != have:
                difference = f"{name} is one of {_numbers(choices)} there, of {_numbers(have)} here"
                break
        else:
            difference = f"it has {len(self.genes)} genes, this space {len(other.genes)}"
        raise SpaceError(f"{what} is of space {self.space!r}, not of {space.name!r}: {difference}")

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps({"space": self.space, "genes": self.genes})

    @classmethod
    def from_json(cls, text: str, where: str) -> FeatureLayout:
        """The inverse of `to_json`. Raises FormatError."""
        try:
            data: Any = json.loads(text)
            genes = tuple((str(name), tuple(float(choice) for choice in choices)) for name, choices in data["genes"])
            return cls(str(data["space"]), genes)
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{where}: does not say which genes it is for ({error})") from error


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
