"""How many bits int8 weights of an ONNX file may have: a matter of the device, which is asked, here and nowhere else.

Some CPUs add two products up in 16 bits, and weights of 8 bits overflow there without a word (see
`runtimes.saturation`). The machine at hand says nothing of the device: its own runtime is asked, where it can be
reached; else its target's file; else this machine stands in, and that is said. Export, evaluation, training for int8
and the confirming of a search ask here: their figures are of one file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas_edge.errors import NasEdgeError
from nas_edge.pipeline.devices.targets import Target, load_target, target_names
from nas_edge.pipeline.running.directory import Run

if TYPE_CHECKING:
    from nas_edge.runtimes import Runtime
    from nas_edge.spaces.onnx_quantise import QdqForm

_RUNTIME = "onnxruntime"
_THIS_MACHINE = "local"
_ALL_BITS = 8  # of files that other runtimes than ONNX Runtime load: none of them overflows


@dataclass(frozen=True)
class WeightBits:
    """What was found about one device.

    Attributes:
        bits: 8, or 7 where sums of products overflow.
        note: who said so, where it was not this machine as the device itself; "" there.

    """

    bits: int
    note: str = ""


def form_of_run(
    run: Run,
    runtime: str | None = None,
    *,
    target: str | None = None,
    host: str | None = None,
    serial: str | None = None,
) -> tuple[QdqForm, tuple[str, ...]]:
    """The form that none of a run's devices overflows in, and what is to be known of how that was found.

    Args:
        run: whose network it is.
        runtime: that loads the file; None for what each device has.
        target: the device's, instead of all that were searched for. Where a device is named, what fails is an error.
        host: of the device over ssh, instead of what its target says.
        serial: over adb, likewise.

    Raises:
        NasEdgeError: a device that was named cannot be reached, or its target is not known.

    """
    from nas_edge.spaces.onnx_quantise import QdqForm

    if runtime not in (None, _RUNTIME):
        return QdqForm(weight_bits=_ALL_BITS), ()
    named = bool(target or host or serial)
    found = [_weight_bits(name, runtime, host, serial, named) for name in targets_of(run.result, target)]
    notes = dict.fromkeys(one.note for one in found if one.note)
    return QdqForm(weight_bits=min(one.bits for one in found)), tuple(notes)


def form_on(runtimes: Iterable[Runtime]) -> QdqForm:
    """The form that none of some runtimes overflows in, which are there to be asked.

    Raises:
        MeasurementError, DeviceError: one does not answer.

    """
    from nas_edge.runtimes.saturation import weight_bits_of
    from nas_edge.spaces.onnx_quantise import QdqForm

    asked = [weight_bits_of(runtime) for runtime in runtimes if runtime.name == _RUNTIME]
    return QdqForm(weight_bits=min(asked, default=_ALL_BITS))


def targets_of(result: Mapping[str, Any], named: str | None) -> tuple[str, ...]:
    """The devices that a run's file is for: the one that was named, else all that were searched for."""
    return (named,) if named else tuple(dict.fromkeys([str(result["target"]), *result.get("targets", {})]))


def _weight_bits(name: str, runtime: str | None, host: str | None, serial: str | None, named: bool) -> WeightBits:
    from nas_edge.pipeline.devices.bench import can_be_reached
    from nas_edge.pipeline.devices.reaching import at_device
    from nas_edge.runtimes.saturation import weight_bits

    if (host or serial) and name not in target_names():
        name = _THIS_MACHINE  # the run's was named after such a device
    try:
        target = at_device(load_target(name), host, serial)
    except NasEdgeError:
        if named:
            raise
        return _unasked(name)
    if target.runtime != _RUNTIME:  # what runs there is made of another file, and whoever loads this one is not known
        return WeightBits(_ALL_BITS if runtime is None else weight_bits())
    if target.device.kind == _THIS_MACHINE:
        return WeightBits(weight_bits())
    if not can_be_reached(target):
        return _as_stated(target)
    try:
        return WeightBits(_asked(target), f"int8 weights as {target.name} said when it was asked")
    except NasEdgeError as error:
        if named:
            raise
        return _as_stated(target, f" ({error})")


def _asked(target: Target) -> int:
    from nas_edge.pipeline.devices.bench import open_bench

    bench = open_bench(target)
    try:
        return form_on([bench.runtime]).weight_bits
    finally:
        bench.close()


def _as_stated(target: Target, why: str = "") -> WeightBits:
    """By the target's file, where it says."""
    if target.int8_weight_bits is None:
        return _unasked(target.name, why)
    bits = target.int8_weight_bits
    return WeightBits(bits, f"int8 weights have {bits} bits, as the target {target.name} says; it was not asked{why}")


def _unasked(name: str, why: str = "") -> WeightBits:
    from nas_edge.runtimes.saturation import weight_bits

    bits = weight_bits()
    return WeightBits(
        bits,
        f"int8 weights have {bits} bits, as they may here: {name} was not asked whether its sums overflow{why}; "
        "export with --host user@addr asks it",
    )
