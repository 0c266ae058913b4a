"""`nas-edge targets list|show|add|doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, HostOption, JsonOption, SerialOption, columns, emit

app = typer.Typer(help="Devices that nas-edge knows.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list", epilog="Example: nas-edge targets list")
def list_targets(
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the targets at hand with how their device is reached."""
    from nas_edge.pipeline.devices.targets import ALIASES, read_target, target_names

    found = [read_target(path) for path in target_names().values()]
    aliases = {t.name: [alias for alias, name in ALIASES.items() if name == t.name] for t in found}
    rows = [("target", "alias", "device", "runtime", "precision", "description")]
    rows += [(t.name, ", ".join(aliases[t.name]), t.device.kind, t.runtime, t.precision, t.description) for t in found]
    emit(json_output, {"targets": [t.to_dict() | {"aliases": aliases[t.name]} for t in found]}, columns(rows))


@app.command("show", epilog="Example: nas-edge targets show jetson")
def show_target(
    name: Annotated[str, typer.Argument(help="Name, alias, or a YAML file.")],
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show one target: its file, device, runtime and limits."""
    from nas_edge.pipeline.devices.targets import load_target
    from nas_edge.units import format_bytes

    target = load_target(name)
    sizes = {f"{kind} {k}": format_bytes(v) for kind in ("memory", "limits") for k, v in getattr(target, kind).items()}
    device = " ".join(part for part in (target.device.kind, target.device.address, target.device.directory) if part)
    shown = {
        "target": target.name,
        "file": str(target.path),
        "description": target.description,
        "device": device,
        "runtime": f"{target.runtime}, {target.precision}, {target.threads} thread{'s' * (target.threads > 1)}",
        "power mode": target.power_mode,
        **sizes,
        "table": target.table,
        "notes": target.notes,
    }
    emit(json_output, target.to_dict(), columns([(key, value) for key, value in shown.items() if value]))


@app.command("add", epilog="Example: nas-edge targets add my-pi --host pi@192.168.1.5 --like raspberry-pi-5")
def add(
    name: Annotated[str, typer.Argument(help="Of the new target; its file is targets/NAME.yaml.")],
    host: HostOption = None,
    serial: SerialOption = None,
    like: Annotated[str, typer.Option(help="Target that everything else is taken from.")] = "local",
    runtime: Annotated[str | None, typer.Option(help="What runs networks there.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the runtime.")] = None,
    python: Annotated[str, typer.Option(help="Interpreter there; default: ~/.nas-edge's, else python3.")] = "",
    directory: Annotated[str, typer.Option(help="For files there; default: a temporary one.")] = "",
    description: Annotated[str | None, typer.Option(help="One line.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a target of that name.")] = False,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the file of a device of your own."""
    from nas_edge.pipeline.devices.adding import Wishes, add_target

    wishes = Wishes(like, host, serial, python, directory, runtime, precision, threads, description)
    target = add_target(name, wishes, overwrite=overwrite)
    lines = [f"target     {target.path}", f"next       nas-edge targets doctor {target.name}"]
    emit(json_output, target.to_dict(), lines)


@app.command("doctor", epilog="Example: nas-edge targets doctor local --host pi@192.168.1.5")
def doctor(
    name: Annotated[str, typer.Argument(help="Name, alias, or a YAML file.")] = "local",
    host: HostOption = None,
    serial: SerialOption = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Connect, and say check by check what works, what is missing, and what mends it. Exit code 1: something is."""
    from nas_edge.pipeline.devices.doctor import doctor as examine

    report = examine(name, host, serial)
    emit(json_output, report.to_json(), report.lines())
    return report.exit_code
