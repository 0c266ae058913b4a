"""`zoo import` and `zoo pull`: a published checkpoint becomes a bundle, a published predictor a file of ours."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_edge import __version__
from nas_edge.errors import ConfigError, FormatError
from nas_edge.files import make_directory, write_yaml
from nas_edge.pipeline.bundle import CALIBRATION, FORMAT, HEADER, SPACE, WEIGHTS
from nas_edge.pipeline.report import Success
from nas_edge.pipeline.running.directory import held
from nas_edge.pipeline.zoo.fetching import discard, fetch
from nas_edge.pipeline.zoo.predictor import PredictorReport, import_predictor, is_predictor
from nas_edge.pipeline.zoo.published import published
from nas_edge.progress import Progress, silent
from nas_edge.resources import cache_directory
from nas_edge.spaces import SearchSpace

# What Once-for-All was trained and is evaluated with: torchvision's normalisation, the centre of 0.875 of the side.
_MEAN, _STD, _CROP = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 0.875


@dataclass(frozen=True)
class ZooReport(Success):
    """A bundle made of published weights.

    Attributes:
        out: its directory.
        space: name of its space.
        classes: number of its outputs.
        sha256: of the checkpoint.
        calibrated: whether it has images to recalibrate batch norms with.
        trained: genes of the networks that it was trained for, as `--fix` takes them; () for all.
    """

    out: Path
    space: str
    classes: int
    sha256: str
    calibrated: bool
    trained: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "bundle": str(self.out), "space": self.space, "classes": self.classes, "sha256": self.sha256,
            "calibrated": self.calibrated, "trained": list(self.trained),
        }  # fmt: skip

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"bundle {self.out}: {self.space}, {self.classes} classes", f"checkpoint of sha256 {self.sha256}"]
        if not self.calibrated:
            lines.append("it has no images, and the batch norms of every subnet need some: import it anew with --data")
        if self.trained:
            lines.append(f"trained for these networks alone: {' '.join(f'--fix {fixed}' for fixed in self.trained)}")
        train = ["nas-edge", "train", "--data", "photos/", "--space", self.space, "--init", str(self.out)]
        lines.append(f"next: {shlex.join([*train, '--out', 'my-bundle'])}")
        return lines


def import_flow(
    file: Path,
    space: str,
    out: Path,
    *,
    data: str | None = None,
    classes: tuple[str, ...] = (),
    source: str = "",
    licence: str = "",
    trained: tuple[str, ...] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> ZooReport | PredictorReport:
    """Make a bundle of a checkpoint of Once-for-All, whose weights stay float32; of its accuracy predictor, our file.

    Args:
        file: what torch or safetensors wrote.
        space: preset or YAML file.
        out: directory of the bundle; for a predictor see `import_predictor`.
        data: images for recalibrating batch norms, None for none. As many classes as the weights have outputs are
            taken for theirs, in the order of their names.
        classes: names; by default those of the images where they fit, else numbers.
        source: of the weights, by default the file.
        licence: of the weights.
        trained: genes of the networks that it was trained for, as `--fix` takes them; () for all.
        seed: of the choice of images.
        progress: told all along.

    Raises:
        FormatError: damaged, refused, or of another space (which tensor). ConfigError: a bundle lies there already,
            there are more or fewer names than classes, or images for a predictor.
    """
    from nas_edge.supernet.official import read_checkpoint

    template = SearchSpace.named(space).template
    state = read_checkpoint(file)
    if is_predictor(state):
        _refuse_images(str(file), data)
        return import_predictor(file, space, out, source=source, licence=licence)
    if (out / HEADER).exists():
        raise ConfigError(f"{out}: holds a bundle already; choose another --out")
    from nas_edge.data import Preprocess, load_dataset
    from nas_edge.data.calibration import choose_calibration, write_calibration
    from nas_edge.data.preprocess import Resize
    from nas_edge.supernet.official import classes_of, load_official
    from nas_edge.supernet.supernet import Supernet
    from nas_edge.supernet.weights import save_weights

    count = classes_of(state, str(file))
    if classes and len(classes) != count:
        raise ConfigError(f"{file}: has {count} classes, not the {len(classes)} that were named")
    net = Supernet(template, count)
    load_official(net, state, str(file))
    dataset = load_dataset(data, seed=seed, progress=progress) if data is not None else None
    theirs = dataset is not None and len(dataset.classes) == count and dataset.classes == (classes or dataset.classes)
    described: dict[str, Any] = {}
    if dataset is not None and theirs:
        classes = dataset.classes
        described = {
            "spec": data, "seed": seed, "summary": dataset.describe(), "source": dataset.source,
            "sha256": {name: split.sha256() for name, split in dataset.splits.items()},
        }  # fmt: skip
    make_directory(out)
    save_weights(net, out / WEIGHTS, half=False)
    write_yaml(out / SPACE, template.to_dict())
    if dataset is not None:
        write_calibration(choose_calibration(dataset.train, seed), dataset.classes, out / CALIBRATION)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    preprocess = Preprocess(Resize.CROP, _CROP, _MEAN, _STD)
    init: dict[str, Any] = {"name": file.name, "source": source or str(file), "licence": licence, "sha256": digest}
    header = {
        "format": FORMAT,
        "name": out.resolve().name,
        "classes": list(classes or map(str, range(count))),
        "preprocess": preprocess.to_dict(),
        "data": described,
        "init": init | ({"trained_for": list(trained)} if trained else {}),
        "trained": {"nas_edge": __version__},
        "figures": {},
    }
    write_yaml(out / HEADER, header)
    return ZooReport(out, template.name, count, digest, data is not None, trained)


def _refuse_images(what: str, data: str | None) -> None:
    if data is not None:
        raise ConfigError(f"{what}: is an accuracy predictor, which needs no images; leave --data out")


def pull_flow(
    name: str,
    out: Path | None = None,
    *,
    data: str | None = None,
    sha256: str | None = None,
    progress: Progress = silent,
) -> ZooReport | PredictorReport:
    """Fetch published weights, once, and import them: into `bundles/NAME` (a predictor: `NAME.npz`) or `out`.

    Args:
        name: of `published_names`.
        out: see `import_flow`.
        data: images for recalibrating batch norms, None for none.
        sha256: that the file must have, where its publisher names none.
        progress: told all along.

    Raises:
        UnknownNameError: nothing of that name is published. DeviceError: the host cannot be reached.
        FormatError: another checksum, or not what its name says; the file is not kept.
        ConfigError: see `import_flow`; or another process is fetching.
    """
    found = published(name)
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ConfigError(f"--sha256 {sha256}: is not a checksum of 64 hexadecimal digits")
    if found.predictor:
        _refuse_images(name, data)
    file = cache_directory() / "zoo" / found.path.rpartition("/")[2]
    directory = out or (Path(f"{name}.npz") if found.predictor else Path("bundles") / name)
    if not found.predictor and (directory / HEADER).exists():
        raise ConfigError(f"{directory}: holds a bundle already; choose another --out")
    with held(make_directory(file.parent)):  # two that add to one file would mix it up
        fetch(found.url, file, found.sha256 or sha256, progress)
    try:
        return import_flow(
            file, found.space, directory, data=data, source=f"{found.source} ({found.url})", licence=found.licence,
            trained=found.trained, progress=progress,
        )  # fmt: skip
    except FormatError as error:
        # A proxy's page in the place of the weights, say: kept, it would be taken for them for ever.
        discard(file)
        raise FormatError(f"{error} (from {found.url}; it was removed)") from error
