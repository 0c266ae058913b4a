"""Where a search's networks and their accuracy come from: a bundle, a space with a predictor of its own, or a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError
from nas_edge.pipeline.bundle import (
    ACCURACY,
    EMBEDDED,
    HEADER,
    PREDICTOR,
    WEIGHTS,
    Bundle,
    load_bundle,
    predictor_file,
)
from nas_edge.pipeline.searching.request import ZERO_COST, SearchRequest
from nas_edge.spaces import Precision, SearchSpace
from nas_edge.spaces.fixing import fixed

if TYPE_CHECKING:
    from nas_edge.search.metrics import AccuracySource

DEFAULT_CLASSES = 1000


@dataclass(frozen=True, eq=False)
class Source:
    """The networks of a search.

    Attributes:
        space: restricted as asked for; with a precision gene where several precisions are searched.
        num_classes: of the classifier.
        accuracy: of each precision.
        bundle: with trained weights; None for a space with an external predictor.
        files: what the accuracy rests on, by role.
        notes: what a user should be told.
        proxy: name of the zero-cost proxy in the place of the accuracy, "" for accuracies; a proxy that is a prior
            stands there until enough is measured.

    """

    space: SearchSpace
    num_classes: int
    accuracy: Mapping[Precision, AccuracySource]
    bundle: Bundle | None
    files: Mapping[str, Path]
    notes: tuple[str, ...] = field(default=())
    proxy: str = ""

    def with_accuracy(self, precision: Precision, accuracy: AccuracySource) -> Source:
        """The same with another predictor of one precision."""
        return replace(self, accuracy={**self.accuracy, precision: accuracy})

    def describe(self) -> dict[str, Any]:
        """What was searched, as plain data."""
        about: dict[str, Any] = {"space": self.space.name, "num_classes": self.num_classes}
        return about if self.bundle is None else {"bundle": self.bundle.name, **about}


def is_table(space: str) -> bool:
    """Whether `--space` names a table of architectures."""
    return space.endswith((".csv", ".csv.gz"))


def open_source(request: SearchRequest, precisions: tuple[Precision, ...]) -> Source:
    """The networks that a request is about.

    Args:
        request: not of a table of architectures.
        precisions: that the search may choose from, one or more.

    Raises:
        UnknownNameError, FormatError: no such bundle or space, or a damaged file. ConfigError: a space without an
        accuracy predictor, or no accuracy measured in a precision. SpaceError: a predictor of another space,
        resolutions or genes that the space does not have.

    """
    bundle = None if request.space else load_bundle(request.bundle)
    space = SearchSpace.named(request.space) if bundle is None else bundle.space
    classes = (request.num_classes or DEFAULT_CLASSES) if bundle is None else bundle.num_classes
    if request.resolutions is not None:
        space = space.restrict(resolutions=request.resolutions)
    if len(precisions) > 1:
        space = space.with_precisions(precisions)
    space = fixed(space, request.fix)
    if request.accuracy_predictor:
        return _external(request, space, classes, precisions, bundle)
    if bundle is None:
        raise ConfigError(
            f"space {space.name!r} has no weights to judge its networks by: add --accuracy-predictor FILE (an .npz of "
            "nas-edge, or Once-for-All's .pth), or search a bundle"
        )
    if Precision.FP32 in precisions and not (bundle.path / PREDICTOR).is_file():
        raise ConfigError(
            f"bundle {bundle.name!r} has no accuracy predictor: add --accuracy-predictor FILE, or measure some of its "
            f"subnets in the search: --accuracy-predictor {ZERO_COST}naswot --evaluate 40"
        )
    accuracy: dict[Precision, AccuracySource] = {p: bundle.accuracy_predictor(p.value) for p in precisions}
    names = (HEADER, WEIGHTS, ACCURACY, *(predictor_file(p.value) for p in precisions))
    origin = bundle.header.get("accuracy_predictor")
    notes = (f"the accuracy is that of a published predictor ({origin['source']})",) if origin else ()
    return Source(space, classes, accuracy, bundle, {name: bundle.path / name for name in names}, notes)


def _external(
    request: SearchRequest,
    space: SearchSpace,
    classes: int,
    precisions: tuple[Precision, ...],
    bundle: Bundle | None,
) -> Source:
    name = request.accuracy_predictor
    if len(precisions) > 1:
        raise ConfigError(f"accuracy predictor {name!r} knows one precision: choose one with --precision")
    if name.startswith(ZERO_COST):
        return _zero_cost(request, space, classes, precisions[0], bundle)
    from nas_edge.accuracy.once_for_all import load_accuracy_predictor

    space, notes = _told_apart(Path(name), space)
    predictor = load_accuracy_predictor(Path(name), space.base)
    if predictor.precision != precisions[0].value:
        raise ConfigError(
            f"{name}: predicts accuracy in {predictor.precision}, which never stands for {precisions[0].value}; "
            f"add --precision {predictor.precision}"
        )
    note = "the accuracy is the given predictor's: a figure to rank by, not one measured on your images"
    files = {"accuracy predictor": Path(name)}
    return Source(space, classes, {precisions[0]: predictor}, bundle, files, (note, *notes))


def _told_apart(predictor: Path, space: SearchSpace) -> tuple[SearchSpace, tuple[str, ...]]:
    """The resolutions that a predictor knows, and a note, where nobody has said which are wanted."""
    from nas_edge.accuracy.once_for_all import resolutions_known

    known = resolutions_known(predictor, space)
    if "r" in dict(space.allowed) or not known or known == space.resolutions:
        return space, ()
    sides = ",".join(map(str, known))
    return space.restrict(resolutions=known), (f"the predictor knows resolutions {sides}: others were left out",)


def _zero_cost(
    request: SearchRequest, space: SearchSpace, classes: int, precision: Precision, bundle: Bundle | None
) -> Source:
    from nas_edge.pipeline.zero_cost import zero_cost_of_bundle, zero_cost_of_space

    proxy = request.proxy
    if request.min_accuracy is not None or any(metric == "accuracy" for metric, _, _ in request.limits):
        raise ConfigError(
            f"figures of the zero-cost proxy {proxy!r} are no accuracies, which could be bounded; give a budget instead"
        )
    if bundle is not None:
        scores = zero_cost_of_bundle(proxy, bundle, request.seed)
    else:
        scores = zero_cost_of_space(proxy, space.base, classes, load_bundle(EMBEDDED), request.seed)
    note = (
        f"the zero-cost proxy {proxy} of untrained networks is the prior of the accuracy predictor"
        if request.evaluate
        else f"ranked by the zero-cost proxy {proxy} of untrained networks, whose figures are no accuracies"
    )
    return Source(space, classes, {precision: scores}, bundle, {}, (note,), proxy)
