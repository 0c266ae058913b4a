"""Bundles: a trained supernet with all that search and export need, as a directory of data files.

Reading a bundle for a search touches no torch: the weights are loaded only where a network is built.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError, FormatError, UnknownNameError
from nas_edge.files import read_described, read_yaml
from nas_edge.resources import roots
from nas_edge.spaces import SearchSpace, Template

if TYPE_CHECKING:
    from nas_edge.accuracy.predictor import AccuracyPredictor
    from nas_edge.supernet.supernet import Supernet

FORMAT = 1
EMBEDDED = "trashnet"
WORK = "work"  # where a training is under way, in the directory of the bundle to be
WEIGHTS, SPACE, ACCURACY, PREDICTOR, CALIBRATION, HEADER = (
    "supernet.safetensors",
    "space.yaml",
    "accuracy.csv",
    "accuracy_predictor.npz",
    "calibration.zip",
    "bundle.yaml",
)


def predictor_file(precision: str) -> str:
    """Name of a bundle's accuracy predictor of a precision."""
    return PREDICTOR if precision == "fp32" else f"{Path(PREDICTOR).stem}-{precision}{Path(PREDICTOR).suffix}"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        path: its directory.
        header: `bundle.yaml`: name, classes, preprocess, data, recipe, seeds, hardware, cost, figures.
        template: its space.
    """

    path: Path
    header: dict[str, Any]
    template: Template

    @property
    def name(self) -> str:
        """As the header says."""
        return str(self.header["name"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by number."""
        return tuple(str(c) for c in self.header["classes"])

    @property
    def num_classes(self) -> int:
        """Outputs of its networks."""
        return len(self.classes)

    @property
    def preprocess(self) -> dict[str, Any]:
        """Plain data of the `Preprocess` used in training."""
        return dict(self.header["preprocess"])

    @property
    def ships_images(self) -> bool:
        """Whether it comes with calibration images.

        Those of some data sets may not be passed on, and published weights may be imported without any.
        """
        imported_bare = not self.header.get("data") and not (self.path / CALIBRATION).is_file()
        return "data" not in (self.header.get("calibration") or {}) and not imported_bare

    @cached_property
    def calibration(self) -> Path:
        """The archive of its calibration images, if it ships any: its own, or another bundle's on the same images.

        Raises:
            FormatError: the other bundle's archive is not the one that this bundle was measured with.
            UnknownNameError: there is no such bundle.

        """
        shared = self.header.get("calibration")
        if shared is None:
            return self.path / CALIBRATION
        path = load_bundle(str(shared["bundle"])).path / CALIBRATION
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != shared["sha256"]:
            raise FormatError(
                f"{path}: is not the archive that bundle {self.name!r} was measured with; copy bundle"
                f" {shared['bundle']!r} again"
            )
        return path

    @cached_property
    def space(self) -> SearchSpace:
        """The space over the template."""
        return SearchSpace(self.template)

    def accuracy_predictor(self, precision: str = "fp32") -> AccuracyPredictor:
        """The predictor fitted to this bundle's subnets as measured in a precision: fp32 never stands for another.

        Raises:
            FormatError: damaged, or of another precision. ConfigError: there is none in that precision.

        """
        from nas_edge.accuracy.predictor import AccuracyPredictor

        path = self.path / predictor_file(precision)
        if precision != "fp32" and not path.is_file():
            raise ConfigError(
                f"bundle {self.name!r} has no accuracy measured in {precision}; "
                f"'nas-edge evaluate {self.path} --measure {precision}' measures it"
            )
        if not path.is_file() and not (self.path / ACCURACY).is_file():
            raise ConfigError(
                f"bundle {self.name!r} has no accuracy predictor: put one into it (nas-edge zoo pull"
                f" ofa-accuracy-predictor --out {self.path}), or name another judge (--accuracy-predictor)"
            )
        predictor = AccuracyPredictor.read(path, self.space)
        if predictor.precision != precision:
            raise FormatError(f"{path}: predicts accuracy in {predictor.precision}, not {precision}")
        return predictor

    def supernet(self) -> Supernet:
        """The network with its weights (imports torch). Raises FormatError."""
        from nas_edge.supernet.supernet import Supernet
        from nas_edge.supernet.weights import load_weights

        net = Supernet(self.template, self.num_classes)
        load_weights(net, self.path / WEIGHTS)
        return net.eval()


def bundle_directories() -> list[Path]:
    """Where bundles are looked for by name: beside the user, $NAS_EDGE_HOME, the package."""
    return [root / "bundles" for root in roots()] + [Path(__file__).resolve().parent.parent / "bundles"]


def bundle_names() -> list[str]:
    """Names of all bundles that can be found."""
    return sorted({p.parent.name for root in bundle_directories() for p in root.glob(f"*/{HEADER}")})


def load_bundle(name_or_dir: str | Path) -> Bundle:
    """Open a bundle by name or directory.

    Raises:
        UnknownNameError: nothing of that name, with near names. FormatError: damaged, or of a newer format.
        ConfigError: it is still being trained.
    """
    text = str(name_or_dir)
    candidates = [Path(text)] if Path(text).is_dir() else [root / text for root in bundle_directories()]
    path = next((p for p in candidates if (p / HEADER).is_file()), None)
    if path is None:
        from nas_edge.pipeline.learning.beginning import BEGINNING  # late: it reads bundles

        begun = next((each for each in candidates if (each / WORK / BEGINNING).is_file()), None)
        if begun is not None:
            raise ConfigError(f"{begun}: its training is not finished; 'nas-edge train' as it was begun goes on")
        raise UnknownNameError("bundle", text, bundle_names(), "(a name, or a directory that holds bundle.yaml)")
    header = read_yaml(path / HEADER)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FormatError(f"{path / HEADER}: 'format: {FORMAT}' is expected; a newer bundle needs a newer nas-edge")
    missing = [key for key in ("name", "classes", "preprocess") if key not in header]
    if missing or not isinstance(header["classes"], list) or len(header["classes"]) < 2:
        raise FormatError(f"{path / HEADER}: lacks {', '.join(missing) or 'two or more classes'}")
    template = read_described(path / SPACE, Template.from_dict)
    return Bundle(path, header, template)
