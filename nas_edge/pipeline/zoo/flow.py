"""`zoo import` and `zoo pull`: a published checkpoint becomes a bundle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_edge import __version__
from nas_edge.errors import ConfigError
from nas_edge.files import make_directory, write_yaml
from nas_edge.pipeline.bundle import CALIBRATION, FORMAT, HEADER, SPACE, WEIGHTS
from nas_edge.pipeline.zoo.fetching import fetch
from nas_edge.pipeline.zoo.published import published
from nas_edge.progress import Progress, silent
from nas_edge.resources import cache_directory
from nas_edge.spaces import SearchSpace

# What Once-for-All was trained and is evaluated with: torchvision's normalisation, the centre of 0.875 of the side.
_MEAN, _STD, _CROP = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 0.875


@dataclass(frozen=True)
class ZooReport:
    """A bundle made of published weights.

    Attributes:
        out: its directory.
        space: name of its space.
        classes: number of its outputs.
        sha256: of the checkpoint.
        calibrated: whether it has images to recalibrate batch norms with.
    """

    out: Path
    space: str
    classes: int
    sha256: str
    calibrated: bool

    @property
    def exit_code(self) -> int:
        """0."""
        return 0

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "bundle": str(self.out), "space": self.space, "classes": self.classes, "sha256": self.sha256,
            "calibrated": self.calibrated,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"bundle {self.out}: {self.space}, {self.classes} classes, checkpoint {self.sha256[:16]}..."]
        if not self.calibrated:
            lines.append("it has no images: give --data to recalibrate batch norms, which every subnet needs")
        lines.append(f"next: nas-edge train --data photos/ --space {self.space} --init {self.out}")
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
    seed: int = 0,
    progress: Progress = silent,
) -> ZooReport:
    """Make a bundle of a checkpoint of Once-for-All; its weights stay float32.

    Args:
        file: what torch or safetensors wrote.
        space: preset or YAML file.
        out: directory of the bundle.
        data: images for recalibrating batch norms, None for none.
        classes: names, by default numbers.
        source: of the weights, by default the file.
        licence: of the weights.
        seed: of the choice of images.
        progress: told all along.

    Raises:
        FormatError: damaged, refused, or of another space (which tensor). ConfigError: a bundle lies there already,
            or there are more or fewer names than classes.
    """
    from nas_edge.data import Preprocess
    from nas_edge.data.preprocess import Resize
    from nas_edge.supernet.official import classes_of, load_official, read_checkpoint
    from nas_edge.supernet.supernet import Supernet
    from nas_edge.supernet.weights import save_weights

    if (out / HEADER).exists():
        raise ConfigError(f"{out}: holds a bundle already; choose another --out")
    template = SearchSpace.named(space).template
    state = read_checkpoint(file)
    count = classes_of(state, str(file))
    if classes and len(classes) != count:
        raise ConfigError(f"{file}: has {count} classes, not the {len(classes)} that were named")
    net = Supernet(template, count)
    load_official(net, state, str(file))
    make_directory(out)
    save_weights(net, out / WEIGHTS, half=False)
    write_yaml(out / SPACE, template.to_dict())
    if data is not None:
        _write_calibration(data, out, seed, progress)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    preprocess = Preprocess(Resize.CROP, _CROP, _MEAN, _STD)
    header = {
        "format": FORMAT,
        "name": out.resolve().name,
        "classes": list(classes or map(str, range(count))),
        "preprocess": preprocess.to_dict(),
        "data": {},
        "init": {"name": file.name, "source": source or str(file), "licence": licence, "sha256": digest},
        "trained": {"nas_edge": __version__},
        "figures": {},
    }
    write_yaml(out / HEADER, header)
    return ZooReport(out, template.name, count, digest, data is not None)


def _write_calibration(data: str, out: Path, seed: int, progress: Progress) -> None:
    from nas_edge.data import load_dataset
    from nas_edge.data.calibration import choose_calibration, write_calibration

    dataset = load_dataset(data, seed=seed, progress=progress)
    write_calibration(choose_calibration(dataset.train, seed), dataset.classes, out / CALIBRATION)


def pull_flow(name: str, out: Path | None = None, *, data: str | None = None, progress: Progress = silent) -> ZooReport:
    """Fetch published weights, once, and make a bundle of them: `bundles/NAME` where the user stands, or `out`.

    Raises:
        UnknownNameError: nothing of that name is published. DeviceError: the host cannot be reached.
        FormatError: another checksum, or not what its name says.
    """
    found = published(name)
    file = cache_directory() / "zoo" / found.path.rpartition("/")[2]
    directory = out or Path("bundles") / name
    if (directory / HEADER).exists():
        raise ConfigError(f"{directory}: holds a bundle already; choose another --out")
    fetch(found.url, file, found.sha256, progress)
    return import_flow(
        file, found.space, directory, data=data, source=f"{found.source} ({found.url})", licence=found.licence,
        progress=progress,
    )  # fmt: skip
