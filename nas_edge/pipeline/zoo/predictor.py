"""Once-for-All's accuracy predictor as a file of ours, alone or within a bundle of its space."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.accuracy.once_for_all import RESOLUTIONS, read_once_for_all
from nas_edge.errors import ConfigError
from nas_edge.files import write_yaml
from nas_edge.pipeline.bundle import HEADER, PREDICTOR, load_bundle
from nas_edge.pipeline.report import Success
from nas_edge.spaces import SearchSpace

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PredictorReport(Success):
    """An accuracy predictor made of a published one.

    Attributes:
        path: of the `.npz`.
        space: that it is for.
        bundle: whether it lies in a bundle, which then searches by it.
        resolutions: of the space, that it tells apart.
        sha256: of the file that it was made of.
    """

    path: Path
    space: str
    bundle: bool
    resolutions: tuple[int, ...]
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "accuracy_predictor": str(self.path), "space": self.space, "resolutions": list(self.resolutions),
            "sha256": self.sha256,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """For a person."""
        sides = ",".join(map(str, self.resolutions))
        where = f"--bundle {shlex.quote(str(self.path.parent))}" if self.bundle else f"--space {self.space}"
        given = "" if self.bundle else f" --accuracy-predictor {shlex.quote(str(self.path))}"
        return [
            f"accuracy predictor {self.path}: {self.space}, made of {self.sha256[:16]}...",
            f"it tells {sides} px apart; a side between two of them counts as the lower one",
            f"next: nas-edge search {where}{given} --resolutions {sides} --target samsung-note10 --latency 20ms",
        ]


def is_predictor(state: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint holds fully connected layers alone."""
    return all(tensor.ndim <= 2 for tensor in state.values())


def import_predictor(file: Path, space: str, out: Path, *, source: str = "", licence: str = "") -> PredictorReport:
    """Make our file of Once-for-All's.

    Args:
        file: what torch wrote (`acc_predictor.pth`).
        space: preset or YAML file.
        out: a `.npz` file, or the directory of a bundle of that space without a predictor of its own.
        source: of the weights, for the bundle's header.
        licence: of the weights, alike.

    Raises:
        FormatError: damaged, refused, or no such predictor. SpaceError: of another space.
        ConfigError: neither a `.npz` nor a bundle, or something lies there already.
    """
    found = SearchSpace.named(space)
    known = tuple(side for side in found.resolutions if side in RESOLUTIONS)
    predictor = read_once_for_all(file, found.restrict(resolutions=known) if known else found)
    bundle = (out / HEADER).is_file()
    if not bundle and out.suffix != ".npz":
        raise ConfigError(f"{out}: an accuracy predictor goes into a .npz file, or into the directory of a bundle")
    path = out / PREDICTOR if bundle else out
    if path.exists():
        raise ConfigError(f"{path}: is there already; choose another --out")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if bundle:
        owner = load_bundle(out)
        predictor.check(owner.space)
        predictor.write(path)
        origin = {"name": file.name, "source": source or str(file), "licence": licence, "sha256": digest}
        write_yaml(out / HEADER, owner.header | {"accuracy_predictor": origin})
    else:
        predictor.write(path)
    return PredictorReport(path, found.name, bundle, known, digest)
