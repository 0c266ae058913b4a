"""`nas-edge table predict|plan|transfer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, JsonOption, SeedOption, emit

TargetOption = Annotated[str, typer.Option("--target", help="Name of 'nas-edge targets list', or a YAML file.")]
SpaceOption = Annotated[str | None, typer.Option("--space", help="Preset or YAML file; default: the bundle's.")]
ClassesOption = Annotated[int | None, typer.Option("--classes", min=2, help="Outputs; default: the bundle's.")]
BundleOption = Annotated[str, typer.Option("--bundle", help="Whose space and classes are meant.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "predict",
        epilog="Example: nas-edge table predict --target jetson --arch runs/mine/arch.json",
        short_help="Predict the latency of one network.",
    )(predict)
    app.command(
        "plan",
        epilog="Example: nas-edge table plan --target my-phone --networks 10 --out to-measure",
        short_help="Write networks to be measured on a device without a table.",
    )(plan)
    app.command(
        "transfer",
        epilog="Example: nas-edge table transfer --from mobile-cpu --to my-phone --networks measured.csv",
        short_help="Make a device's table of another's and a few measured networks.",
    )(transfer)


def predict(
    arch: Annotated[Path, typer.Option(help="An arch.json, a net.config, or an ONNX file.")],
    target: TargetOption = "local",
    resolution: Annotated[
        int | None, typer.Option(min=8, max=4096, help="Side of the input; default: its own.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32 or int8; default: an int8 file's, else the target's.")
    ] = None,
    space: SpaceOption = None,
    classes: ClassesOption = None,
    bundle: BundleOption = "trashnet",
    confidence: Annotated[float, typer.Option(help="Probability that the upper bound holds.")] = 0.9,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Predict the latency of one network, with its interval and what it rests on.

    Read are architectures of a space ({"r", "d", "ks", "e"}), net.config files of Once-for-All, ProxylessNAS and
    MCUNet with any widths, and ONNX files, whose blocks are recognised.
    """
    from nas_edge.pipeline.tables.predicting import predict_command

    report = predict_command(target, arch, space, classes, bundle, confidence, resolution, precision)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code


def plan(
    target: Annotated[str, typer.Option("--target", help="Name of the device that is to get a table.")],
    networks: Annotated[int, typer.Option(min=3, max=200, help="How many; 5 to 20 do.")] = 10,
    source: Annotated[
        str | None, typer.Option("--from", help="Target to start from; default: the most similar.")
    ] = None,
    space: SpaceOption = None,
    classes: ClassesOption = None,
    bundle: BundleOption = "trashnet",
    out: Annotated[Path | None, typer.Option(help="Directory to write; default: <target>-networks.")] = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Write the networks that tell most about a device: ONNX files, and a list to fill in their milliseconds."""
    from nas_edge.pipeline.tables.planning import plan_command

    report = plan_command(target, networks, source, space, classes, bundle, out, seed)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code


def transfer(
    to: Annotated[str, typer.Option("--to", help="Name of the device that is to get a table.")],
    networks: Annotated[Path, typer.Option(help="CSV with name, arch, ms: see 'table plan'.")],
    source: Annotated[
        str | None, typer.Option("--from", help="Target to start from; default: the most similar.")
    ] = None,
    space: SpaceOption = None,
    classes: ClassesOption = None,
    bundle: BundleOption = "trashnet",
    runtime: Annotated[str | None, typer.Option(help="That the networks were run by; default: the target's.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8; default: the target's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory of tables; default: latency_tables.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there.")] = False,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Carry a table over to another device by 5 to 20 whole networks measured there.

    The CSV has a row a network: name; arch (JSON, or the name of a file of it beside the CSV); ms; and, where they
    differ from --space and --classes, space and num_classes.
    """
    from nas_edge.pipeline.tables.transferring import TransferRequest, transfer_command

    request = TransferRequest(to, networks, source, space, classes, bundle, runtime, precision, out, overwrite)
    report = transfer_command(request)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
