"""What a supernet's weights begin with: published ones, or those of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge.errors import ConfigError, UnknownNameError
from nas_edge.pipeline.bundle import WEIGHTS, Bundle, bundle_names, load_bundle
from nas_edge.pipeline.networks import bundle_preprocess
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Template
from nas_edge.spaces.fixing import fixed
from nas_edge.supernet.normalisation import OPTION

if TYPE_CHECKING:
    from nas_edge.data import Preprocess
    from nas_edge.supernet.normalisation import Normalisation
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
        notes: for the user: what was found, assumed or done.
    """

    name: str
    source: str
    licence: str
    preprocess: Preprocess
    fill: Callable[[Supernet], object]
    file: Path | None = None
    notes: tuple[str, ...] = ()


def find_start(init: str, template: Template, normalisation: str | None = None) -> Start:
    """A start: published weights by name or from a file, or a bundle by name or directory (see `supernet.inherit`).

    What cannot start the space is told here, before images are read.

    Args:
        init: which.
        template: the space to start.
        normalisation: of images, for a file that does not say it: imagenet, half or none.

    Raises:
        UnknownNameError: neither; with near names. FormatError: a file that is damaged, or of other weights.
        TrainingError: of another kind of network. MissingExtraError: the weights' package is not installed.
        ConfigError: a normalisation for what has its own.
    """
    from nas_edge.supernet.pretrained import pretrained, pretrained_names, read_file, read_pretrained

    file = Path(init)
    if init not in pretrained_names() and file.is_file():
        weights, family, found = read_file(file, normalisation)
        note = f"start {file.name}: {family}; {found.describe()}"
        return _published(file.name, f"file {file}", "", weights, found, template, file, (note,))
    if normalisation is not None:
        raise ConfigError(f"{OPTION} is for a file of weights; {init!r} says itself how its images are normalised")
    if init in pretrained_names():
        known = pretrained(init)
        return _published(init, known.source, known.licence, read_pretrained(known), known.normalisation, template)
    try:
        bundle = load_bundle(init)
    except UnknownNameError:
        names = [*pretrained_names(), *bundle_names()]
        raise UnknownNameError("pretrained start", init, names, "(or a file, or a bundle's directory)") from None
    return _of_bundle(bundle, template)


def told_start(
    init: str | None, template: Template, normalisation: str | None, progress: Progress = silent
) -> Start | None:
    """`find_start` where there is to be one; its notes are told. Raises as that does."""
    if init is None:
        if normalisation is not None:
            raise ConfigError(f"{OPTION} goes with --init FILE")
        return None
    start = find_start(init, template, normalisation)
    for note in start.notes:
        progress(0, 1, note)
    return start


def _published(
    name: str,
    origin: str,
    licence: str,
    weights: Source,
    normalisation: Normalisation,
    template: Template,
    file: Path | None = None,
    notes: tuple[str, ...] = (),
) -> Start:
    from nas_edge.data import Preprocess
    from nas_edge.supernet.inherit import inherit
    from nas_edge.supernet.pretrained import check_published

    check_published(template, weights)
    preprocess = Preprocess(mean=normalisation.mean, std=normalisation.std)
    return Start(name, origin, licence, preprocess, partial(inherit, source=weights), file, notes)


def _of_bundle(bundle: Bundle, template: Template) -> Start:
    """The largest network of a bundle.

    Once-for-All's checkpoints between its phases have not learnt small expand ratios: there channels stand in no order,
    and are sorted as that project did before it went on.
    """
    from nas_edge.supernet.inherit import check_strides, inherit
    from nas_edge.supernet.sorting import sort_channels
    from nas_edge.supernet.source import Source

    began = bundle.header.get("init") or {}
    origin = f"bundle {bundle.name!r} on {bundle.header.get('data', {}).get('source') or 'its own images'}"
    origin += f", which began with {began['source']}" if began.get("source") else ""
    net, notes = bundle.supernet(), list[str]()
    if ratios := [text for text in began.get("trained_for", ()) if str(text).startswith("e=")]:
        sort_channels(net, trained=fixed(net.space, ratios))
        notes.append(f"start {bundle.name}: was trained with {', '.join(ratios)} alone; its channels are sorted by use")
    weights = Source.of(net)
    check_strides(template, weights)
    licence, preprocess = str(began.get("licence", "")), bundle_preprocess(bundle)
    fill = partial(inherit, source=weights)
    return Start(bundle.name, origin, licence, preprocess, fill, bundle.path / WEIGHTS, tuple(notes))
