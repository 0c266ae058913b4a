"""What a supernet's weights begin with: published ones, or those of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge.errors import UnknownNameError
from nas_edge.pipeline.bundle import WEIGHTS, bundle_names, load_bundle
from nas_edge.pipeline.networks import bundle_preprocess
from nas_edge.spaces import Template

if TYPE_CHECKING:
    from nas_edge.data import Preprocess
    from nas_edge.supernet.source import Source
    from nas_edge.supernet.supernet import Supernet


@dataclass(frozen=True)
class Start:
    """Weights to begin with.

    Attributes:
        name: what `--init` calls it.
        source, licence: for notices and bundles.
        preprocess: that the weights were trained with.
        fill: puts them into a fresh supernet of the space that they were found for.
        file: they are read from, None for published ones, which their name says.
    """

    name: str
    source: str
    licence: str
    preprocess: Preprocess
    fill: Callable[[Supernet], object]
    file: Path | None = None


def find_start(init: str, template: Template) -> Start:
    """A start: published weights by name or from a file, or a bundle by name or directory (see `supernet.inherit`).

    What cannot start the space is told here, before images are read.

    Raises:
        UnknownNameError: neither; with near names. FormatError: a file that is damaged, or of other weights.
        TrainingError: of another kind of network. MissingExtraError: the weights' package is not installed.
    """
    from nas_edge.supernet.inherit import check_strides, inherit
    from nas_edge.supernet.official import read_checkpoint
    from nas_edge.supernet.pretrained import pretrained, pretrained_names, read_pretrained, read_weights
    from nas_edge.supernet.source import Source

    if init in pretrained_names():
        published = pretrained(init)
        return _published(init, published.source, published.licence, read_pretrained(published), template)
    file = Path(init)
    if file.is_file():
        weights = read_weights(read_checkpoint(file), str(file))
        return _published(file.name, f"file {file}", "", weights, template, file)
    try:
        bundle = load_bundle(init)
    except UnknownNameError:
        known = [*pretrained_names(), *bundle_names()]
        raise UnknownNameError("pretrained start", init, known, "(or a file, or a bundle's directory)") from None
    began = bundle.header.get("init") or {}
    origin = f"bundle {bundle.name!r} on {bundle.header.get('data', {}).get('source') or 'its own images'}"
    origin += f", which began with {began['source']}" if began.get("source") else ""
    weights = Source.of(bundle.supernet())
    check_strides(template, weights)
    fill = partial(inherit, source=weights)
    licence, preprocess = str(began.get("licence", "")), bundle_preprocess(bundle)
    return Start(bundle.name, origin, licence, preprocess, fill, bundle.path / WEIGHTS)


def _published(
    name: str, origin: str, licence: str, weights: Source, template: Template, file: Path | None = None
) -> Start:
    from nas_edge.data import Preprocess
    from nas_edge.supernet.inherit import inherit
    from nas_edge.supernet.pretrained import check_published, normalisation_of

    check_published(template, weights)
    mean, std = normalisation_of(weights)
    return Start(name, origin, licence, Preprocess(mean=mean, std=std), partial(inherit, source=weights), file)
