"""`nas-edge table measure|show|check|predict`."""

import typer

app = typer.Typer(help="Latency tables: what devices were measured to do.", no_args_is_help=True, rich_markup_mode=None)
