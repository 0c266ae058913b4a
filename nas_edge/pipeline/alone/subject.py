"""What is trained alone: which architecture of which space, on whose images, and by whose recipe."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError
from nas_edge.pipeline.architectures import read_architecture
from nas_edge.pipeline.bundle import WEIGHTS, Bundle, load_bundle
from nas_edge.pipeline.learning.beginning import content_of
from nas_edge.pipeline.running.directory import RESULT, load_run
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Population, SearchSpace

if TYPE_CHECKING:
    from nas_edge.data import Dataset, Preprocess
    from nas_edge.training.recipe import Recipe

SPACE = "lite0"


@dataclass(frozen=True, eq=False)
class Subject:
    """An architecture and where its images come from.

    Attributes:
        space: of the architecture.
        arch: int8 [genes].
        bundle: whose classes, splits, preprocessing and recipe are used; None for images without a bundle.
        data: name, folder or CSV of the images; None for the bundle's.
    """

    space: SearchSpace
    arch: Population
    bundle: Bundle | None = None
    data: str | None = None

    @property
    def spec(self) -> str:
        """Where the images come from."""
        own = "" if self.bundle is None else str(self.bundle.header.get("data", {}).get("spec", ""))
        return self.data or own

    @property
    def inherits(self) -> bool:
        """Whether there is a supernet whose weights the network could have had."""
        return self.bundle is not None and (self.bundle.path / WEIGHTS).is_file()

    def preprocess(self) -> Preprocess:
        """From pictures to numbers."""
        from nas_edge.data import Preprocess
        from nas_edge.pipeline.networks import bundle_preprocess

        return bundle_preprocess(self.bundle) if self.bundle is not None else Preprocess()

    def dataset(self, seed: int, progress: Progress = silent) -> Dataset:
        """The images in their splits: those of the bundle where there is one. Raises DataError."""
        from nas_edge.data import load_dataset
        from nas_edge.pipeline.networks import bundle_dataset

        if self.bundle is not None:
            return bundle_dataset(self.bundle, self.data, progress)
        return load_dataset(self.spec, seed=seed, progress=progress)

    def recipe(self, changes: dict[str, Any], epochs: int | None, seed: int) -> Recipe:
        """How it is trained: by default as often over the images as the bundle's supernet was. Raises ConfigError."""
        from nas_edge.training.recipe import Recipe, with_seed
        from nas_edge.training.single.alone import alone_recipe

        header: dict[str, Any] = {} if self.bundle is None else self.bundle.header
        passes = header.get("trained", {}).get("epochs")
        if epochs is None and "epochs" not in changes and "phases" not in changes:
            epochs = int(passes) if passes else None
        known = {**header.get("recipe", {}), "teacher_epochs": 0}  # of a supernet, and more than `epochs` may be
        return alone_recipe(Recipe.from_dict({**known, **with_seed(changes, seed)}), epochs, seed)

    def beginning(self, dataset: Dataset) -> dict[str, Any]:
        """What of a training its checkpoints do not show, as plain data; see `pipeline.learning.beginning`."""
        images = hashlib.sha256("".join(split.sha256() for split in dataset.splits.values()).encode()).hexdigest()
        return {
            "space": self.space.name,
            "arch": self.space.to_json(self.arch),
            "images": images[:16],
            "content": content_of(dataset),
            "preprocess": self.preprocess().to_dict(),
        }


def find_subject(
    alone: str, *, bundle: str | None = None, data: str | None = None, space: str | None = None
) -> Subject:
    """What `--alone` means.

    Args:
        alone: directory of a run (its network); "largest", "smallest", a JSON file or JSON itself.
        bundle: name or directory; not with a run, which has one.
        data: name, folder or CSV; needed where there is no bundle.
        space: preset or YAML file, where there is no bundle.

    Raises:
        ConfigError: options that exclude each other, or nothing says what to train on. UnknownNameError: no such
            bundle or space. ArchitectureError, FormatError: not an architecture of the space.
    """
    written_out = alone.lstrip().startswith(("{", "["))  # JSON, which may be longer than the name of a file
    if not written_out and (Path(alone) / RESULT).is_file():
        if bundle is not None or space is not None:
            raise ConfigError(f"{alone}: is a run, which has its bundle and space; leave --bundle and --space out")
        run = load_run(Path(alone))
        found = load_bundle(run.bundle)
        return Subject(found.space, found.space.from_json(dict(run.arch), str(run.path / "arch.json")), found, data)
    if not written_out and Path(alone).is_dir():
        raise ConfigError(f"{alone}: is not the directory of a search (no {RESULT}); give a run, or an arch.json")
    if bundle is not None:
        if space is not None:
            raise ConfigError("--space and --bundle exclude each other: a bundle has its own space")
        found = load_bundle(bundle)
        return Subject(found.space, read_architecture(found.space, alone), found, data)
    if data is None:
        raise ConfigError("--alone needs images: --bundle NAME for a bundle's, or --data (and --space) for your own")
    named = SearchSpace.named(space or SPACE)
    return Subject(named, read_architecture(named, alone), None, data)
