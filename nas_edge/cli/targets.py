"""`nas-edge targets list|show`."""

from __future__ import annotations

from typing import Annotated

import typer

from nas_edge.cli.common import DebugOption, JsonOption, columns, emit

app = typer.Typer(help="Devices that nas-edge knows.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list", epilog="Example: nas-edge targets list")
def list_targets(
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the targets at hand with how their device is reached."""
    from nas_edge.pipeline.targets import ALIASES, read_target, target_names

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
    from nas_edge.pipeline.targets import load_target
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
