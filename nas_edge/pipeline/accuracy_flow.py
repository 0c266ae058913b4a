"""The accuracy of a bundle's subnets in another precision: measured, fitted, kept in the bundle."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_edge.errors import ConfigError, UnknownNameError
from nas_edge.files import make_directory, write_yaml
from nas_edge.pipeline.bundle import ACCURACY, HEADER, WORK, Bundle, load_bundle, predictor_file
from nas_edge.pipeline.report import Success
from nas_edge.progress import Progress, silent
from nas_edge.spaces import Precision
from nas_edge.spreading import Spread
from nas_edge.units import format_duration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nas_edge.accuracy import AccuracySet
    from nas_edge.data import Split
    from nas_edge.training.fitting.paired_fit import PairedReport

PRECISIONS = ("int8", "fp16")
EVERYWHERE = Spread()  # this machine's cores


@dataclass(frozen=True)
class AccuracyFlowReport(Success):
    """What was measured and how well it is predicted now.

    Attributes:
        bundle: its directory.
        precision: that was measured.
        subnets: measured in it, in all.
        fit: quality of the predictor.
        wall_s: seconds taken by this call.

    """

    bundle: Path
    precision: str
    subnets: int
    fit: PairedReport
    wall_s: float

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "bundle": str(self.bundle),
            "precision": self.precision,
            "subnets": self.subnets,
            "wall_s": round(self.wall_s, 1),
            "predictor": self.fit.figures(),
        }

    def lines(self) -> list[str]:
        """For a person."""
        fit = self.fit
        ceiling = f" (labels allow {fit.ceiling.tau:.3f} and {100 * fit.ceiling.rmse:.2f})" if fit.ceiling else ""
        return [
            f"measured   {self.subnets} subnets in {self.precision} and fp32, {format_duration(self.wall_s)}",
            f"change     {100 * fit.mean_change:+.2f} points on average, {100 * fit.worst_change:+.2f} at worst",
            f"predictor  tau {fit.tau:.3f}, error {100 * fit.rmse:.2f} points on {fit.holdout} held-out subnets"
            f"{ceiling}; that of fp32 would err by {100 * fit.uncorrected_rmse:.2f}",
            f"kept in    {self.bundle}",
        ]


def measure_accuracy(
    bundle: str,
    precision: str = "int8",
    subnets: int = 120,
    *,
    data: str | None = None,
    seed: int = 0,
    spread: Spread = EVERYWHERE,
    progress: Progress = silent,
) -> AccuracyFlowReport:
    """Measure subnets of a bundle in another precision, fit its accuracy predictor, and keep both in the bundle.

    The subnets are some of those measured in fp32, on the same images and views, evenly spread over MACs and over
    the roles; a killed run goes on where it was.

    Args:
        bundle: name or directory.
        precision: "int8" or "fp16".
        subnets: how many.
        data: the images the bundle was trained on, where they have moved.
        seed: of the splits behind the noise ceiling.
        spread: over what the measuring is spread; the figures are the same whatever it is.
        progress: told after each subnet.

    Raises:
        UnknownNameError: no such bundle or precision. DataError: the images are missing, or of other classes.
        TrainingError: too few subnets. ConfigError: the bundle cannot be written, was measured on other images, or not
            at all.

    """
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    begun = time.monotonic()
    found = load_bundle(bundle)
    from nas_edge.accuracy import read_accuracy, write_accuracy
    from nas_edge.pipeline.networks import bundle_dataset, bundle_evaluator, bundle_views
    from nas_edge.training.fitting.paired_fit import fit_paired_predictor
    from nas_edge.training.measuring.subnets import answers_of_subnets

    if not (found.path / ACCURACY).is_file():
        raise ConfigError(
            f"bundle {found.name!r}: none of its subnets is measured in fp32, which {precision} is held against;"
            " a bundle by 'nas-edge train' has such"
        )
    measured = read_accuracy(found.path / ACCURACY, found.space)
    split = bundle_dataset(found, data, progress).splits["search"]
    views = bundle_views(found)
    plain = measured.of_precision("fp32")
    if not len(plain) or not _of_these(plain, found, split, len(views)):
        raise ConfigError(
            f"{found.path / ACCURACY}: was not measured on these {len(split)} images under {len(views)} views; "
            "give the images it was measured on (--data), or train the bundle again"
        )
    chosen = plain.select(spread_over_cost(plain, found, subnets))
    evaluator = bundle_evaluator(found, Precision(precision), data)
    work = make_directory(found.path / WORK)
    journal = work / f"subnets-{precision}.jsonl"
    bits = answers_of_subnets(
        found.supernet(), evaluator, split, chosen.population, views, journal, Precision(precision), progress, spread
    )
    fresh = type(chosen).of_bits(chosen.population, bits, chosen.roles, precision)
    both = _joined(measured, fresh, precision)
    predictor, fit = fit_paired_predictor(found.space, found.accuracy_predictor(), both, precision, seed=seed)
    write_accuracy(found.path / ACCURACY, found.space, both)
    predictor.write(found.path / predictor_file(precision))
    _write_figures(found, precision, fit)
    journal.unlink(missing_ok=True)
    if not any(work.iterdir()):
        work.rmdir()
    count = len(both.of_precision(precision))
    return AccuracyFlowReport(found.path, precision, count, fit, time.monotonic() - begun)


def _of_these(plain: AccuracySet, bundle: Bundle, split: Split, views: int) -> bool:
    """Whether it was these pictures, by name and label where the bundle notes them, and as many views."""
    noted = bundle.header.get("data", {}).get("sha256", {}).get("search")
    if noted is not None and noted != split.sha256():
        return False
    return bool((plain.images == len(split)).all() and (plain.views == views).all())


def spread_over_cost(measured: AccuracySet, bundle: Bundle, count: int) -> NDArray[np.bool_]:
    """Which `count` subnets to take, bool [n]: at even steps of rank in MACs within each role, ends included."""
    macs = bundle.space.macs(measured.population, bundle.num_classes)
    roles = np.array(measured.roles)
    keep = np.zeros(len(measured), bool)
    for role in np.unique(roles):
        members = np.flatnonzero(roles == role)
        members = members[np.argsort(macs[members], kind="stable")]
        share = min(len(members), max(1, round(count * len(members) / len(measured))))
        keep[members[np.linspace(0, len(members) - 1, share).round().astype(int)]] = True
    return keep


def _joined(old: AccuracySet, fresh: AccuracySet, precision: str) -> AccuracySet:
    """Both, `fresh` in place of the same subnets of its precision."""
    from nas_edge.accuracy import AccuracySet

    known = {row.tobytes() for row in fresh.population}
    kept = old.select(
        np.array(
            [
                p != precision or row.tobytes() not in known
                for p, row in zip(old.precisions, old.population, strict=True)
            ]
        )
    )
    bits = None
    if kept.bits is not None and fresh.bits is not None and kept.bits.shape[1:] == fresh.bits.shape[1:]:
        bits = np.concatenate([kept.bits, fresh.bits])
    return AccuracySet(
        np.concatenate([kept.population, fresh.population]),
        np.concatenate([kept.correct, fresh.correct]),
        np.concatenate([kept.images, fresh.images]),
        np.concatenate([kept.views, fresh.views]),
        (*kept.roles, *fresh.roles),
        (*kept.precisions, *fresh.precisions),
        bits,
    )


def _write_figures(bundle: Bundle, precision: str, fit: PairedReport) -> None:
    from nas_edge.runtimes.saturation import weight_bits

    figures = {name: round(float(value), 5) for name, value in fit.figures().items()} | {"weight_bits": weight_bits()}
    header = dict(bundle.header)
    header["figures"] = dict(header.get("figures", {})) | {f"accuracy_predictor_{precision}": figures}
    write_yaml(bundle.path / HEADER, header)
