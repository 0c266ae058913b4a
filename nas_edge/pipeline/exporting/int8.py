"""How many bits int8 weights of an exported ONNX file may have: a matter of the device, which is asked.

Some CPUs add two products up in 16 bits, and weights of 8 bits overflow there without a word (see
`runtimes.saturation`). The machine that exports says nothing of the device: its own runtime is asked, where it can be
reached; else its target's file; else this machine stands in, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas_edge.errors import NasEdgeError
from nas_edge.pipeline.devices.targets import Target, load_target, target_names
from nas_edge.pipeline.exporting.formats import ExportFormat

if TYPE_CHECKING:
    from nas_edge.spaces.onnx_quantise import QdqForm

_RUNTIME = "onnxruntime"
_THIS_MACHINE = "local"


@dataclass(frozen=True)
class WeightBits:
    """What was found about one device.

    Attributes:
        bits: 8, or 7 where sums of products overflow.
        note: who said so, where it was not this machine as the device itself; "" there.

    """

    bits: int
    note: str = ""


def int8_form(
    chosen: ExportFormat, targets: Iterable[str], host: str | None, serial: str | None, named: bool
) -> tuple[QdqForm, tuple[str, ...]]:
    """The form that none of the devices overflows in, and what is to be known of how that was found.

    Args:
        chosen: format of the file; the others than ONNX Runtime's own have one form everywhere.
        targets: names of the devices.
        host: of the device over ssh, instead of what its target says.
        serial: over adb, likewise.
        named: whether the user named the device: what fails is then an error.

    Raises:
        NasEdgeError: a device that was named cannot be reached, or its target is not known.

    """
    from nas_edge.spaces.onnx_quantise import QdqForm

    if chosen.runtime != _RUNTIME:
        return chosen.form(), ()
    found = [_weight_bits(name, host, serial, named) for name in targets]
    notes = dict.fromkeys(one.note for one in found if one.note)
    return QdqForm(weight_bits=min(one.bits for one in found)), tuple(notes)


def targets_of(result: Mapping[str, Any], named: str | None) -> tuple[str, ...]:
    """The devices that a run's file is for: the one that was named, else all that were searched for."""
    return (named,) if named else tuple(dict.fromkeys([str(result["target"]), *result.get("targets", {})]))


def _weight_bits(name: str, host: str | None, serial: str | None, named: bool) -> WeightBits:
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
    if target.device.kind == _THIS_MACHINE:
        return WeightBits(weight_bits())
    if target.runtime != _RUNTIME:  # what runs there is made of another file
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
    from nas_edge.runtimes.saturation import weight_bits_of

    bench = open_bench(target)
    try:
        return weight_bits_of(bench.runtime)
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
        "name it, --host user@addr",
    )
