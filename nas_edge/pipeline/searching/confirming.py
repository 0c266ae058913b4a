"""What was chosen, measured as it will be deployed: its own weights in its own file, and its accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge.errors import DataError
from nas_edge.pipeline.searching.aims import Aim
from nas_edge.pipeline.searching.figures import AccuracyFigure
from nas_edge.pipeline.searching.state import SearchState
from nas_edge.pipeline.searching.task import SearchTask
from nas_edge.pipeline.seeded import seeded_model
from nas_edge.pipeline.tables.keeping import keep
from nas_edge.progress import Progress
from nas_edge.spaces import Population, Precision

if TYPE_CHECKING:
    from nas_edge.profiling import Measurement, Protocol
    from nas_edge.spaces.onnx_quantise import QdqForm
    from nas_edge.supernet.static import StaticNet


@dataclass(frozen=True, eq=False)
class Confirmed:
    """A network that was measured as it will be deployed.

    Attributes:
        arch: int8 [genes].
        measurements: by target.
        accuracy: predicted, and measured where there are weights and images.
        met: whether every latency budget is met by the 95 % upper limit.
        notes: what a user should be told.

    """

    arch: Population
    measurements: Mapping[str, Measurement]
    accuracy: AccuracyFigure
    met: bool
    notes: tuple[str, ...]


def seeded_sitting(
    task: SearchTask, aim: Aim, archs: Sequence[Population], protocol: Protocol, state: SearchState, progress: Progress
) -> list[Measurement]:
    """Architectures with seeded weights, timed in one sitting on a target's device; taken from the state if known."""
    space = task.source.space
    models: dict[Precision, dict[str, bytes]] = {}
    rows: dict[Precision, list[Population]] = {}
    for number, arch in enumerate(archs):
        precision = precision_of(task, arch)
        model = seeded_model(space, arch, task.source.num_classes, precision=precision.value)
        models.setdefault(precision, {})[f"candidate-{number}"] = model
        rows.setdefault(precision, []).append(space.of_base(arch[None])[0])
    found: dict[str, Measurement] = {}
    for precision, mine in models.items():
        measured = _sitting(aim, mine, protocol, precision, state, progress)
        keep(aim.tables[precision].table.header, space.base, task.source.num_classes, rows[precision], measured)
        found |= dict(zip(mine, measured, strict=True))
    return [found[f"candidate-{number}"] for number in range(len(archs))]


def confirm(
    task: SearchTask, archs: Sequence[Population], protocol: Protocol, state: SearchState, progress: Progress
) -> Confirmed | None:
    """The first architecture whose own file is measured to meet every latency budget; else the last one tried.

    Args:
        task: with at least one device.
        archs: int8 [genes] each, the most wanted first; none gives None.
        protocol: of measuring.
        state: of the search.
        progress: told what is done.

    """
    confirmed = None
    for arch in archs:
        progress(0, 3, "confirming with the trained weights" if task.source.bundle else "confirming")
        confirmed = _confirm(task, arch, protocol, state, progress)
        if confirmed.met:
            break
    return confirmed


def _confirm(
    task: SearchTask, arch: Population, protocol: Protocol, state: SearchState, progress: Progress
) -> Confirmed:
    precision = precision_of(task, arch)
    predicted = float(task.source.accuracy[precision].predict(task.source.space.of_base(arch[None]))[0])
    form = _form(task, precision)
    model, net, notes = _own_file(task, arch, precision, form)
    measurements, met = {}, True
    for aim in task.aims:
        if aim.bench is None:
            continue
        (measurement,) = _sitting(aim, {"chosen": model}, protocol, precision, state, progress)
        measurements[aim.name] = measurement
        limit = aim.budget.latency_ms
        met = met and (limit is None or measurement.upper95_ms <= limit)
    if any(measurement.disturbed for measurement in measurements.values()):
        notes.append("other programs disturbed the measurement; close them and search again")
    accuracy = AccuracyFigure(predicted, proxy=task.source.proxy)
    if met and net is not None and task.source.bundle is not None:
        from nas_edge.pipeline.evaluate_flow import accuracy_of
        from nas_edge.pipeline.networks import bundle_dataset

        progress(1, 3, "measuring the accuracy")
        try:
            split = bundle_dataset(task.source.bundle, None).splits["search"]
        except DataError as error:
            notes.append(f"the accuracy could not be measured: {error}")
        else:
            found = accuracy_of(net, task.source.bundle, split, precision, form=form)
            accuracy = replace(accuracy, measured=found.accuracy, interval=found.interval(), images=len(found.labels))
    return Confirmed(arch, measurements, accuracy, met, tuple(notes))


def _own_file(
    task: SearchTask, arch: Population, precision: Precision, form: QdqForm | None
) -> tuple[bytes, StaticNet | None, list[str]]:
    """The file of an architecture, its network with trained weights, and what a person should know of it.

    Without a bundle, or without the images that a bundle's batch norms need, weights are drawn: they are as fast.
    """
    bundle, notes = task.source.bundle, list[str]()
    if bundle is not None:
        from nas_edge.pipeline.networks import deployed_model, subnet_of_bundle

        try:
            net = subnet_of_bundle(bundle, task.source.space.of_base(arch[None])[0])
            return deployed_model(net, bundle, precision.value, form), net, notes
        except DataError as error:
            notes.append(f"measured with drawn weights: {error}")
    model = seeded_model(task.source.space, arch, task.source.num_classes, precision=precision.value)
    return model, None, notes


def _form(task: SearchTask, precision: Precision) -> QdqForm | None:
    """Of an int8 file that overflows on none of the devices: asked of their own runtimes. None for this machine's."""
    from nas_edge.pipeline.exporting.int8 import form_on
    from nas_edge.runtimes.visits import RemoteRuntime

    runtimes = [aim.bench.runtime for aim in task.aims if aim.bench is not None]
    if precision is not Precision.INT8 or not any(isinstance(runtime, RemoteRuntime) for runtime in runtimes):
        return None
    return form_on(runtimes)


def _sitting(
    aim: Aim,
    models: Mapping[str, bytes],
    protocol: Protocol,
    precision: Precision,
    state: SearchState,
    progress: Progress,
) -> list[Measurement]:
    """Models of one precision, timed on the target's device unless the state has them."""
    bench = aim.bench
    assert bench is not None

    def measure(journal: Path) -> list[Measurement]:
        quiet_ms = bench.quiet_reference_ms(aim.tables[precision].table.header)
        return list(bench.measure(models, protocol, precision.value, progress, quiet_ms, journal).values())

    return state.sitting([aim.name.encode(), *models.values()], measure)


def precision_of(task: SearchTask, arch: Population) -> Precision:
    """Of one architecture, int8 [genes]."""
    return task.source.space.precision_of(arch) or task.precisions[0]
