"""One network as a folder of C: `generate` makes the texts, `write_library` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas_edge import __version__
from nas_edge.errors import ExportError
from nas_edge.files import make_directory, write_text
from nas_edge.mcu.codegen.image_file import Pixels, image_source
from nas_edge.mcu.codegen.naming import comment
from nas_edge.mcu.codegen.net_file import net_header, net_source
from nas_edge.mcu.codegen.template import fill
from nas_edge.mcu.codegen.weights_file import weights_header, weights_source
from nas_edge.mcu.graph import Int8Graph
from nas_edge.memory import MemoryPlan, parameter_bytes, plan_memory

KERNELS = Path(__file__).parent.parent / "kernels"
HOST = "host.c"
PROFILE = "profile"
_FIRMWARE = Path(__file__).parent.parent / "firmware" / "c"
_PROFILING = ("nas_layers.c", "nas_layers.h", "nas_serve.c", "nas_serve.h")


def plan_graph(graph: Int8Graph) -> MemoryPlan:
    """The arena of a network."""
    return plan_memory([item.layer for item in graph.layers])


def kernel_files() -> Mapping[str, str]:
    """The kernels' sources by name."""
    paths = sorted(path for path in KERNELS.iterdir() if path.suffix in (".c", ".h"))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def profiling_files() -> Mapping[str, str]:
    """What a board needs to be measured over a line of bytes, for any project: nothing of it depends on the chip."""
    return {f"{PROFILE}/{name}": (_FIRMWARE / name).read_text(encoding="utf-8") for name in _PROFILING}


def generate(
    graph: Int8Graph,
    *,
    pixels: Pixels | None = None,
    labels: Sequence[str] = (),
    facts: Sequence[str] = (),
) -> dict[str, str]:
    """The files of a network's library by name; equal graphs give equal texts.

    Args:
        graph: from `mcu.from_onnx.read_graph`.
        pixels: scaling of the image's bytes; `image.c` is then among the files.
        labels: names of the classes, for `image.c`.
        facts: further rows of the README's table.

    Raises:
        ExportError: names or sizes that do not fit.

    """
    plan = plan_graph(graph)
    origin = f"written by nas-edge {__version__}"
    if len(graph.input.shape) != 3 or graph.input.dtype != "int8":
        raise ExportError(f"network {comment(graph.name)!r} does not take int8 images")
    files = {
        "net.h": net_header(graph, plan, origin, pixels is not None),
        "net.c": net_source(graph, plan, origin),
        "net_weights.h": weights_header(graph, origin),
        "weights.c": weights_source(graph, origin),
        **({} if pixels is None else {"image.c": image_source(graph, pixels, labels, origin)}),
        **kernel_files(),
    }
    sources = [name for name in files if name.endswith(".c")]
    return {
        **files,
        **profiling_files(),
        HOST: fill(HOST),
        "Makefile": fill("Makefile", objects=" ".join(f"{name.removesuffix('.c')}.o" for name in sources)),
        "CMakeLists.txt": fill("CMakeLists.txt", sources=" ".join(sources)),
        "README.md": _readme(graph, plan, origin, facts, pixels is not None),
    }


def _readme(graph: Int8Graph, plan: MemoryPlan, origin: str, facts: Sequence[str], pixels: bool) -> str:
    taken, given = graph.input, graph.output
    parameters = sum(parameter_bytes(item.layer) for item in graph.layers)
    rows = [
        f"| input | {taken.height} x {taken.width} x {taken.channels} int8, channels last |",
        f"| output | {given.height * given.width * given.channels} {given.dtype} |",
        f"| arena: RAM for activations, static in `net.c` | {plan.arena_bytes:,} bytes |",
        f"| weights, biases, multipliers: flash | {parameters:,} bytes |",
        f"| multiply-adds | {graph.macs:,} |",
        *facts,
    ]
    return fill(
        "README.md",
        title=comment(graph.name),
        origin=origin,
        facts="\n".join(rows),
        peak=plan.describe_peak(),
        fill="net_set_pixels(camera); /* bytes 0 to 255, red first */" if pixels else "fill(net_input()); /* codes */",
        answer="net_labels[best]" if pixels else "class `best`",
        serial=fill("serial.md"),
    )


def write_library(folder: Path, files: Mapping[str, str]) -> tuple[Path, ...]:
    """Write generated files; those of an earlier network in the same folder are replaced.

    Raises:
        ConfigError, StorageError: not writable, disk full.

    """
    make_directory(folder)
    for name, text in files.items():
        write_text(folder / name, text)
    return tuple(folder / name for name in files)
