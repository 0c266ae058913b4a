"""What a supernet's weights begin with: published ones, or those of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge.errors import UnknownNameError
from nas_edge.pipeline.bundle import Bundle, bundle_names, load_bundle
from nas_edge.pipeline.networks import bundle_preprocess

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
        fill: puts them into a fresh supernet; raises TrainingError, MissingExtraError, FormatError.
    """

    name: str
    source: str
    licence: str
    preprocess: Preprocess
    fill: Callable[[Supernet], object]


def find_start(init: str) -> Start:
    """A start: published weights by name or from a file, or a bundle by name or directory (see `supernet.inherit`).

    Raises:
        UnknownNameError: neither; with near names.
    """
    from nas_edge.supernet.official import read_checkpoint
    from nas_edge.supernet.pretrained import pretrained, pretrained_names, read_pretrained, read_weights

    if init in pretrained_names():
        published = pretrained(init)
        return _start(init, published.source, published.licence, read_pretrained(published))
    file = Path(init)
    if file.is_file():
        return _start(file.name, f"file {file}", "", read_weights(read_checkpoint(file), str(file)))
    try:
        bundle = load_bundle(init)
    except UnknownNameError:
        known = [*pretrained_names(), *bundle_names()]
        raise UnknownNameError("pretrained start", init, known, "(or a file, or a bundle's directory)") from None
    began = bundle.header.get("init") or {}
    source = f"bundle {bundle.name!r} on {bundle.header.get('data', {}).get('source') or 'its own images'}"
    source += f", which began with {began['source']}" if began.get("source") else ""
    return Start(bundle.name, source, str(began.get("licence", "")), bundle_preprocess(bundle), partial(_take, bundle))


def _start(name: str, origin: str, licence: str, weights: Source) -> Start:
    from nas_edge.data import Preprocess
    from nas_edge.supernet.pretrained import normalisation_of, start_from

    mean, std = normalisation_of(weights)
    return Start(name, origin, licence, Preprocess(mean=mean, std=std), partial(start_from, source=weights))


def _take(bundle: Bundle, net: Supernet) -> None:
    from nas_edge.supernet.inherit import inherit
    from nas_edge.supernet.source import Source

    inherit(net, Source.of(bundle.supernet()))
