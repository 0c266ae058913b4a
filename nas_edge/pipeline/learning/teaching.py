"""A bundle as a teacher: which of its measured networks a smaller supernet learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_edge.errors import DataError
from nas_edge.pipeline.bundle import ACCURACY, Bundle, load_bundle
from nas_edge.pipeline.networks import bundle_preprocess, subnet_of_bundle
from nas_edge.spaces import Population, SearchSpace, Template

if TYPE_CHECKING:
    from nas_edge.data import Preprocess
    from nas_edge.training.objectives.teacher import Teacher

_COST = 1.5  # of the student's largest network, in MACs: asking costs about half a step of learning


@dataclass(frozen=True)
class BundleTeacher:
    """A network of a bundle that teaches.

    Attributes:
        bundle: where its weights are.
        arch: int8 [genes].
        accuracy: on the bundle's search split, 0..1.
    """

    bundle: Bundle
    arch: Population
    accuracy: float

    @property
    def preprocess(self) -> Preprocess:
        """From pictures to the numbers that the teacher sees."""
        return bundle_preprocess(self.bundle)

    def check(self, classes: tuple[str, ...], preprocess: Preprocess) -> None:
        """Raise DataError where the images to be learnt have other classes than the teacher, or look otherwise."""
        if classes != self.bundle.classes:
            theirs = ", ".join(self.bundle.classes)
            raise DataError(f"teacher {self.bundle.name!r} knows {theirs}; the images are of {', '.join(classes)}")

        if preprocess != self.preprocess:
            raise DataError(f"teacher {self.bundle.name!r} was trained with another preprocessing than the start's")

    def network(self) -> Teacher:
        """The network, recalibrated and ready to be asked (imports torch)."""
        from nas_edge.training.objectives.teacher import teacher_of

        return teacher_of(subnet_of_bundle(self.bundle, self.arch))

    def to_dict(self) -> dict[str, Any]:
        """What `bundle.yaml` of the student says of it."""
        return {
            "bundle": self.bundle.name,
            "arch": self.bundle.space.to_json(self.arch),
            "accuracy": round(self.accuracy, 5),
            "init": self.bundle.header.get("init"),
        }


def find_teacher(bundle: str, student: Template) -> BundleTeacher:
    """The most accurate measured network of a bundle among those that cost at most 1.5 times the student's largest.

    Raises:
        UnknownNameError: no such bundle. DataError: none of its networks is measured, or cheap enough.
    """
    from nas_edge.accuracy import read_accuracy

    found = load_bundle(bundle)
    if not (found.path / ACCURACY).is_file():
        raise DataError(f"teacher {found.name!r}: none of its networks is measured; take a bundle by 'nas-edge train'")
    space = SearchSpace(student)
    limit = _COST * float(space.macs(space.largest()[None], found.num_classes)[0])
    measured = read_accuracy(found.path / ACCURACY, found.space).of_precision("fp32")
    cheap = measured.select(found.space.macs(measured.population, found.num_classes) <= limit)
    if not len(cheap):
        raise DataError(
            f"teacher {found.name!r}: no measured network costs at most {limit / 1e6:.0f} M MACs, 1.5 times the"
            " student's largest"
        )
    best = int(np.argmax(cheap.accuracy))
    return BundleTeacher(found, cheap.population[best], float(cheap.accuracy[best]))
