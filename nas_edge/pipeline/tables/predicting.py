"""`nas-edge table predict`: latency of one network, given as an architecture, a `net.config` or an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.errors import ConfigError, UnknownNameError
from nas_edge.files import read_json
from nas_edge.latency.energy import has_energy, network_energy
from nas_edge.latency.network_predictor import NetworkPredictor
from nas_edge.latency.networks import is_net_config, read_net_config, read_onnx
from nas_edge.pipeline.bundle import EMBEDDED
from nas_edge.pipeline.devices.targets import load_target
from nas_edge.pipeline.tables.commands import TableReport, chosen_space
from nas_edge.pipeline.tables.describing import prediction_origin, table_share
from nas_edge.pipeline.tables.finding import FoundTable, load_table_for
from nas_edge.spaces import BlockSpec, Precision, SearchSpace, preset_names
from nas_edge.units import format_count, format_ms

if TYPE_CHECKING:
    from nas_edge.latency import LatencyPrediction


@dataclass(frozen=True)
class NamedNetwork:
    """A network to be priced.

    Attributes:
        name: for people.
        blocks: recognised blocks.
        rest: stand-ins for operators that belong to no block.
        space: that it is a point of; None where it comes from elsewhere.
        notes: what a user should know of how it was read.
        precision: that the file is in; None where it does not say.

    """

    name: str
    blocks: tuple[BlockSpec, ...]
    rest: tuple[BlockSpec, ...] = ()
    space: SearchSpace | None = None
    notes: tuple[str, ...] = ()
    precision: Precision | None = None


def read_network(
    path: Path, space: str | None, num_classes: int | None, bundle: str = EMBEDDED, resolution: int | None = None
) -> NamedNetwork:
    """A network of a file: ONNX by its suffix, else JSON.

    Args:
        path: of the file.
        space: of an architecture, as of `chosen_space`; a file that names its own space and classes needs none.
        num_classes: likewise.
        bundle: likewise.
        resolution: side of the input in pixels, where another than the file's is meant.

    Raises:
        ArchitectureError: not a point of the space, or layers that do not fit. FormatError: unreadable.
        SpaceError, UnknownNameError: of the options.

    """
    if path.suffix.lower() == ".onnx":
        found = read_onnx(path, resolution)
        notes = list(found.notes)
        if found.operators:
            listed = ", ".join(f"{kind} {count}" for kind, count in found.operators[:6])
            notes.append(f"operators that belong to no block are priced by what they compute: {listed}")
        return NamedNetwork(path.name, found.blocks, found.rest, None, tuple(notes), found.precision)
    data = read_json(path)
    if is_net_config(data):
        name = str(data.get("name", path.name))
        return NamedNetwork(name, read_net_config(data, resolution, str(path)))
    about, classes = _space_of(data, space, num_classes, bundle)
    if isinstance(data, Mapping) and resolution is not None:
        data = {**data, "r": resolution}
        sides = (*about.template.resolutions, resolution)
        about = SearchSpace(about.template.with_resolutions(sides))
    blocks = about.lower(about.from_json(data, str(path)), classes)
    return NamedNetwork(about.name, blocks, (), about)


def predict_command(
    target: str,
    arch: Path,
    space: str | None,
    num_classes: int | None,
    bundle: str,
    confidence: float,
    resolution: int | None = None,
    precision: str | None = None,
) -> TableReport:
    """Predicted latency of one network on a target, in a sitting to come; energy beside it where the table has it.

    `precision` is by default that of an ONNX file in int8, else the target's.

    Raises:
        ArchitectureError: not a point of the space, or layers that do not fit. ConfigError: a confidence that is none.
        UnknownNameError, FormatError: target, bundle or file.

    """
    if not 0.5 <= confidence < 1:
        raise ConfigError(f"confidence must be at least 0.5 and below 1, not {confidence:g}")
    network = read_network(arch, space, num_classes, bundle, resolution)
    device = load_target(target)
    if precision not in (None, *Precision):
        raise UnknownNameError("precision", str(precision), [each.value for each in Precision])
    if precision is None and network.precision is Precision.INT8:
        precision = Precision.INT8.value
    found = load_table_for(device.model_copy(update={"precision": precision or device.precision}))
    predictor = NetworkPredictor.of(found.table, network.space, from_elsewhere=network.space is None).later()
    prediction = predictor.predict([network.blocks + network.rest], confidence)
    figures = _figures(prediction)
    exact = figures.pop("exact_share")
    macs, params = sum(b.macs for b in network.blocks + network.rest), sum(b.params for b in network.blocks)
    rest = _rest_share(predictor, network)
    notes = [*found.notes, *network.notes]
    basis = predictor.describe() | {"exact_share": round(exact, 4), "notes": notes}
    lines = [
        f"predicted  {format_ms(figures['predicted'])}, at most {format_ms(figures['high'])} with probability "
        f"{confidence:.0%} (interval: {prediction.interval})",
        f"rests on   {table_share(found, exact)}",
    ]
    data: dict[str, Any] = {
        "target": device.name,
        "network": network.name,
        "latency_ms": figures | {"origin": prediction_origin(found, exact)},
        "confidence": confidence,
        "basis": basis,
        "blocks": len(network.blocks),
        "unrecognised_share": round(rest, 4),
        "macs": float(macs),
        "params": float(params),
    }
    if rest:
        lines.append(f"blocks     {len(network.blocks)} recognised; {rest:.0%} of the time is of other operators")
    energy = _energy(found, network, confidence)
    if energy is not None:
        data["energy_mj"] = energy | {"interval": "assumed"}
        lines.append(f"energy     {energy['predicted']:.3g} mJ, at most {energy['high']:.3g} mJ (interval: assumed)")
    lines += [f"note       {text}" for text in notes]
    lines.append(f"network    {network.name}, {format_count(macs)} MACs, {format_count(params)} parameters")
    return TableReport(data, lines)


def _space_of(data: Any, space: str | None, num_classes: int | None, bundle: str) -> tuple[SearchSpace, int]:
    """As asked for; else as the file says; else the bundle's."""
    own = data.get("space") if isinstance(data, Mapping) else None
    if space is None and bundle == EMBEDDED and own in preset_names():
        classes = num_classes or data.get("num_classes")
        if isinstance(classes, int):
            return SearchSpace.named(str(own)), classes
    return chosen_space(space, num_classes, bundle)


def _figures(prediction: LatencyPrediction) -> dict[str, float]:
    return {
        "predicted": float(prediction.point[0]),
        "low": float(prediction.low[0]),
        "high": float(prediction.high[0]),
        "exact_share": float(prediction.exact_share[0]),
    }


def _rest_share(predictor: NetworkPredictor, network: NamedNetwork) -> float:
    """Part of the summed time that is of operators outside any block."""
    if not network.rest:
        return 0.0
    if not network.blocks:
        return 1.0
    rest, whole = (predictor.predict([b], 0.5).point[0] for b in (network.rest, network.blocks + network.rest))
    return min(1.0, float(rest / whole))


def _energy(found: FoundTable, network: NamedNetwork, confidence: float) -> dict[str, float] | None:
    if not has_energy(found.table):
        return None
    figures = _figures(network_energy(found.table).predict([network.blocks + network.rest], confidence))
    figures.pop("exact_share")
    return figures
