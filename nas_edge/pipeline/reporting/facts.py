"""What is known of a run: read from its directory and from the bundle that it rests on; nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nas_edge.errors import ConfigError, FormatError, NasEdgeError
from nas_edge.files import read_json
from nas_edge.pipeline.bundle import Bundle, load_bundle
from nas_edge.pipeline.running.directory import MANIFEST, RESULT
from nas_edge.pipeline.searching.request import SearchRequest

_FORMAT = 1


@dataclass(frozen=True)
class RunFacts:
    """A run as it was left.

    Attributes:
        path: its directory.
        result: `result.json`.
        manifest: `manifest.json`; empty where it is missing.
        request: what was asked for; None for runs of versions that did not keep it.
        bundle: None where the run has none, or it is not there any more.
        missing: what should be there and is not, in words.

    """

    path: Path
    result: Mapping[str, Any]
    manifest: Mapping[str, Any]
    request: SearchRequest | None
    bundle: Bundle | None
    missing: tuple[str, ...] = field(default=())

    @property
    def is_table(self) -> bool:
        """Whether it searched a table of architectures."""
        return self.result.get("kind") == "table"

    @property
    def header(self) -> Mapping[str, Any]:
        """The bundle's `bundle.yaml`; empty without a bundle."""
        return self.bundle.header if self.bundle is not None else {}

    @property
    def predictor_figures(self) -> Mapping[str, float]:
        """What is known of the accuracy predictor's quality; empty where nothing is, or it is not the bundle's."""
        if self.result.get("accuracy_source") != "bundle":
            return {}
        figures = self.header.get("figures", {})
        found = figures.get("accuracy_predictor", {}) if isinstance(figures, dict) else {}
        return found if isinstance(found, dict) else {}

    @property
    def strategy(self) -> str:
        """Name of the strategy that searched."""
        return str(self.result.get("strategy", ""))

    def options(self) -> dict[str, Any]:
        """The strategy's options, those not given as they are by default in this version."""
        from nas_edge.search.strategies.base import strategy_entry

        given = dict(self.request.options) if self.request is not None else dict(self.result.get("options", {}))
        try:
            entry = strategy_entry(self.strategy)
        except NasEdgeError:
            return given
        defaults = entry.options()
        return {f.name: getattr(defaults, f.name) for f in fields(entry.options)} | given

    def later(self, name: str) -> Mapping[str, Any]:
        """What a later command left in the run (finetune.json, profile.json); empty where none did."""
        return _mapping(self.path / name) if (self.path / name).is_file() else {}


def read_facts(path: Path) -> RunFacts:
    """Read a run.

    Raises:
        ConfigError: not the directory of a search. FormatError: damaged, or of a newer version.

    """
    if not (path / RESULT).is_file():
        raise ConfigError(f"{path}: is not the directory of a search (no {RESULT}); 'nas-edge search' makes one")
    result = _mapping(path / RESULT)
    if result.get("kind") == "alone":
        raise ConfigError(f"{path}: is a network that was trained alone, not a search; 'nas-edge evaluate' judges it")
    missing = []
    manifest: Mapping[str, Any] = {}
    if (path / MANIFEST).is_file():
        manifest = _mapping(path / MANIFEST)
    else:
        missing.append(f"{MANIFEST} is not there: command, versions, hashes and cost are not known")
    request = None
    if "request" in result:
        request = SearchRequest.from_json(result["request"], str(path / RESULT))
    else:
        missing.append("the run was made by a version that kept no request: it cannot be searched again from here")
    bundle = None
    if result.get("bundle"):
        try:
            bundle = load_bundle(str(result["bundle"]))
        except NasEdgeError as error:
            missing.append(f"the bundle {result['bundle']!r} cannot be read: {error}")
    return RunFacts(path, result, manifest, request, bundle, tuple(missing))


def _mapping(path: Path) -> Mapping[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise FormatError(f"{path}: 'format: {_FORMAT}' is expected; a newer file needs a newer nas-edge")
    return data
