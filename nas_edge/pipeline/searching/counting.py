"""What a search chose for microcontrollers, as firmware in the emulator: instructions and memory held against budgets.

Nothing here measures silicon: milliseconds stay modelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nas_edge.errors import DataError, DeviceError, ExportError
from nas_edge.pipeline.searching.aims import Aim
from nas_edge.pipeline.searching.figures import AccuracyFigure
from nas_edge.pipeline.searching.task import SearchTask
from nas_edge.pipeline.seeded import seeded_model
from nas_edge.progress import Progress
from nas_edge.spaces import Population, Precision
from nas_edge.units import format_bytes, format_count

if TYPE_CHECKING:
    from nas_edge.mcu.counted import CountedNetwork


@dataclass(frozen=True)
class CountedFigure:
    """A network counted on one target.

    Attributes:
        target: its name.
        instructions: counted, of one run.
        predicted: by the target's table.
        limit: budget of instructions, None for none.
        sram_bytes, flash_bytes: that the linked firmware takes, the stack by paint.
        memory_met: whether these are within the budgets; beyond the chip's own the firmware would not link.
        emulator: "QEMU 7.2.22, netduinoplus2".
        method: "plugin" or "timer".

    """

    target: str
    instructions: float
    predicted: float
    limit: float | None
    sram_bytes: int
    flash_bytes: int
    memory_met: bool
    emulator: str
    method: str

    @property
    def met(self) -> bool:
        """Whether every budget that can be counted is met."""
        return self.memory_met and (self.limit is None or self.instructions <= self.limit)

    @property
    def error_percent(self) -> float:
        """Predicted against counted."""
        return 100 * (self.predicted / self.instructions - 1)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "instructions": self.instructions,
            "predicted": self.predicted,
            "error_percent": self.error_percent,
            "limit": self.limit,
            "sram_bytes": self.sram_bytes,
            "flash_bytes": self.flash_bytes,
            "met": self.met,
            "emulator": self.emulator,
            "method": self.method,
            "origin": "measured-emulated",
            "silicon_measured": False,
        }

    def lines(self) -> list[str]:
        """For a person."""
        budget = "" if self.limit is None else f" of {format_count(self.limit)}"
        return [
            f"COUNTED    {self.instructions:,.0f} instructions{budget} on {self.target} "
            f"({abs(self.error_percent):.2f} % from the prediction), SRAM {format_bytes(self.sram_bytes)}, flash "
            f"{format_bytes(self.flash_bytes)}  {'MET' if self.met else 'NOT MET'}",
            f"origin     measured-emulated in {self.emulator}, by its {self.method}; outputs bit-identical to the "
            "reference; no silicon was measured",
        ]


def counted_aims(task: SearchTask) -> tuple[Aim, ...]:
    """Targets that the emulator can count for: none where it is not wanted, or not installed.

    Raises:
        DeviceError: `--verify` asks for it and a tool is missing (the line that installs it).

    """
    from nas_edge.mcu.toolchain import ARM_GCC, QEMU, find_tool

    aims = tuple(aim for aim in task.aims if aim.target.microcontroller)
    if not aims or task.request.verify is False or Precision.INT8 not in task.precisions:
        return ()
    try:
        for tool in (QEMU, ARM_GCC):
            find_tool(tool)
    except DeviceError:
        if task.request.verify:
            raise
        return ()
    return aims


def missing_note(task: SearchTask) -> str:
    """What a user should be told where nothing was counted; "" where there is nothing to tell."""
    from nas_edge.mcu.toolchain import ARM_GCC, QEMU, find_tool

    if task.request.verify is False or not any(aim.target.microcontroller for aim in task.aims):
        return ""
    try:
        for tool in (QEMU, ARM_GCC):
            find_tool(tool)
    except DeviceError as error:
        return f"not counted: {error}"
    return ""


def count_chosen(task: SearchTask, aims: tuple[Aim, ...], model: bytes, arch: Population, progress: Progress) -> tuple[
    CountedFigure, ...
]:  # fmt: skip
    """Build, run and count a chosen network on each of some targets.

    Args:
        task: of the search.
        aims: from `counted_aims`.
        model: serialised ONNX, int8.
        arch: int8 [genes], of which the prediction is told.
        progress: told what is done.

    Raises:
        ExportError: it does not fit. DeviceError, MeasurementError: it cannot be run.

    """
    from nas_edge.mcu.counted import count_network
    from nas_edge.pipeline.devices.microcontrollers import board_of

    limits = {constraint.metric: constraint.limit for constraint in task.constraints()}
    row = task.source.space.of_base(arch[None])
    found = []
    for number, aim in enumerate(aims):
        progress(number, len(aims), f"counting instructions on {aim.name}")
        counted = count_network(model, board_of(aim.target))
        predictor = aim.instructions
        predicted = counted.instructions if predictor is None else float(predictor.point(row)[0])
        found.append(_figure(task, aim, counted, predicted, limits))
    return tuple(found)


def _figure(
    task: SearchTask, aim: Aim, counted: CountedNetwork, predicted: float, limits: dict[str, float]
) -> CountedFigure:
    run = counted.run
    sram, flash = run.firmware.static_ram_bytes + run.stack_bytes, run.firmware.flash_bytes
    return CountedFigure(
        target=aim.name,
        instructions=counted.instructions,
        predicted=predicted,
        limit=limits.get(task.metric_of("instructions", aim)),
        sram_bytes=sram,
        flash_bytes=flash,
        memory_met=sram <= limits.get("sram", sram) and flash <= limits.get("flash", flash),
        emulator=run.emulator,
        method=str(run.method),
    )


@dataclass(frozen=True, eq=False)
class CountedChoice:
    """A network that was counted as it will be deployed.

    Attributes:
        arch: int8 [genes].
        figures: of each target.
        accuracy: predicted, and measured where there are weights and images.
        notes: what a user should be told.

    """

    arch: Population
    figures: tuple[CountedFigure, ...]
    accuracy: AccuracyFigure
    notes: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether every budget that can be counted is met on every target."""
        return all(figure.met for figure in self.figures)


def confirm_counted(
    task: SearchTask, aims: tuple[Aim, ...], archs: Sequence[Population], progress: Progress
) -> CountedChoice:
    """The first architecture that is counted to meet every budget, with its own weights; else the last one tried.

    Args:
        task: of the search.
        aims: from `counted_aims`.
        archs: int8 [genes] each, the most wanted first, at least one.
        progress: told what is done.

    Raises:
        ExportError: none fits into the chip. DeviceError, MeasurementError: it cannot be run.

    """
    for number, arch in enumerate(archs):
        try:
            found = _confirmed(task, aims, arch, progress)
        except ExportError:
            if number + 1 == len(archs):
                raise
            continue
        if found.met:
            break
    return found


def _confirmed(task: SearchTask, aims: tuple[Aim, ...], arch: Population, progress: Progress) -> CountedChoice:
    source = task.source
    row = source.space.of_base(arch[None])
    accuracy = AccuracyFigure(float(source.accuracy[Precision.INT8].predict(row)[0]), proxy=source.proxy)
    if source.bundle is None:
        model = seeded_model(source.space, arch, source.num_classes, precision=Precision.INT8.value)
        return CountedChoice(arch, count_chosen(task, aims, model, arch, progress), accuracy, ())
    from nas_edge.pipeline.evaluate_flow import accuracy_of
    from nas_edge.pipeline.networks import bundle_dataset, deployed_model, subnet_of_bundle
    from nas_edge.spaces.onnx_quantise import CANONICAL

    net = subnet_of_bundle(source.bundle, row[0])
    model = deployed_model(net, source.bundle, Precision.INT8.value, CANONICAL)
    figures = count_chosen(task, aims, model, arch, progress)
    notes: tuple[str, ...] = ()
    try:
        split = bundle_dataset(source.bundle, None).splits["search"]
    except DataError as error:
        notes = (f"the accuracy could not be measured: {error}",)
    else:
        progress(len(aims), len(aims) + 1, "measuring the accuracy")
        found = accuracy_of(net, source.bundle, split, Precision.INT8, form=CANONICAL)
        accuracy = replace(accuracy, measured=found.accuracy, interval=found.interval(), images=len(found.labels))
    return CountedChoice(arch, figures, accuracy, notes)
