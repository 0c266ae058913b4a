"""What an export reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_edge.pipeline.report import Success
from nas_edge.pipeline.running.directory import sha256
from nas_edge.units import format_bytes

if TYPE_CHECKING:
    from nas_edge.export.parity import ParityReport
    from nas_edge.export.quantise import QuantisationReport
    from nas_edge.export.sensitivity import LayerSensitivity

SENSITIVITY = "sensitivity.csv"


@dataclass(frozen=True)
class ExportReport(Success):
    """An exported file and the proof that it computes what the network computes.

    Attributes:
        run: directory of the search.
        directory: what was written.
        model: the file that a runtime loads.
        format, precision: of the file.
        parity: against torch on real images; of the float32 file that one of lower precision is made from.
        quantisation: that one against float32 on the same images; None for a float32 file.
        finetuned: whether the run's own weights were used, not the supernet's.
        sensitive: layers by what int8 does to them, the most sensitive first; empty where that was not asked for.
        commands: what to type on the device, as (what it is for, line).
        plan: the engine that was built on the device, None where it is not of that kind, or was not reached.
        notes: what else is to be known.

    """

    run: Path
    directory: Path
    model: Path
    format: str
    precision: str
    parity: ParityReport
    finetuned: bool
    quantisation: QuantisationReport | None = None
    sensitive: tuple[LayerSensitivity, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    plan: Path | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "run": str(self.run),
            "directory": str(self.directory),
            "model": str(self.model),
            "format": self.format,
            "precision": self.precision,
            "bytes": self.model.stat().st_size,
            "sha256": sha256(self.model),
            "finetuned": self.finetuned,
            "parity": {
                "images": self.parity.images,
                "max_abs_difference": self.parity.max_abs_difference,
                "top1_agreement": self.parity.top1_agreement,
                "tolerance": self.parity.tolerance,
                "runtime": self.parity.runtime,
            },
            **({"quantisation": self.quantisation.to_json()} if self.quantisation else {}),
            **({"sensitivity": [asdict(layer) for layer in self.sensitive]} if self.sensitive else {}),
            **({"commands": [line for _, line in self.commands]} if self.commands else {}),
            **({"plan": str(self.plan)} if self.plan else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
        }

    def lines(self) -> list[str]:
        """For a person."""
        parity = self.parity
        return [
            f"exported   {self.model} ({format_bytes(self.model.stat().st_size)}, {self.format}, {self.precision})",
            f"checked    ONNX checker, and {parity.runtime} against torch on {parity.images} images: largest "
            f"difference {parity.max_abs_difference:.1e}, top-1 agreement {100 * parity.top1_agreement:g} %",
            *self._of_lower_precision(),
            *(f"on device  {line}" for _, line in self.commands[:1]),
            *([f"engine     {self.plan}"] if self.plan else []),
            *(f"note       {note}" for note in self.notes),
            f"deploy     python {self.directory / 'example.py'} IMAGE",
        ]

    def _of_lower_precision(self) -> list[str]:
        if self.quantisation is None:
            return []
        lines = [f"{'quantised' if self.precision == 'int8' else 'rounded':<10} {self.quantisation.describe()}"]
        if self.sensitive:
            worst = ", ".join(f"{layer.name} {layer.noise:.2%}" for layer in self.sensitive[:5])
            lines.append(f"sensitive  noise in the logits, each layer alone in int8: {worst} ... ({SENSITIVITY})")
        if kept := self.quantisation.kept_float:
            lines.append(f"in float   {', '.join(kept)}")
        if self.quantisation.weight_bits < 8:
            lines.append("note       the device's int8 sums overflow with 8-bit weights: they have 7 bits")
        return lines + [f"WARNING    {text}" for text in [self.quantisation.warning()] if text]
