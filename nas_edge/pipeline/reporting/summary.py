"""A run in Markdown: every figure with its origin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_edge.pipeline.report import Success
from nas_edge.pipeline.reporting.facts import RunFacts, read_facts
from nas_edge.pipeline.searching.request import ZERO_COST
from nas_edge.pipeline.searching.writing import FITTED
from nas_edge.units import format_bytes, format_count, format_duration, format_ms

Row = tuple[str, str, str]

FRONT_ROWS = 15  # of a front's points


@dataclass(frozen=True)
class MarkdownReport(Success):
    """Markdown for people, the same as data for programs.

    Attributes:
        run: the directory.
        text: Markdown.
        data: plain data.
        file: where it was written as well, None where nowhere.

    """

    run: Path
    text: str
    data: Mapping[str, Any]
    file: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"run": str(self.run), **self.data, "file": None if self.file is None else str(self.file)}

    def lines(self) -> list[str]:
        """The Markdown."""
        return self.text.rstrip("\n").split("\n")


def report_flow(run: Path) -> MarkdownReport:
    """A summary of a run. Raises ConfigError, FormatError."""
    facts = read_facts(run)
    rows = table_figures(facts) if facts.is_table else network_figures(facts)
    result = facts.result
    lines = [f"# Run {run.name}", ""]
    command = facts.manifest.get("command")
    lines += [f"    {' '.join(map(str, command))}", ""] if command else []
    lines += markdown_table(("figure", "value", "origin"), rows)
    lines += ["", "Architecture:", "", f"    {json.dumps(result['arch'], separators=(',', ':'))}", ""]
    lines += _front(facts)
    notes = [*map(str, result.get("notes", ())), *facts.missing]
    lines += ["Notes:", "", *(f"- {note}" for note in notes), ""] if notes else []
    lines += [f"`nas-edge report {run} --checklist` fills in the checklist of good practice."]
    figures = [{"figure": name, "value": value, "origin": origin} for name, value, origin in rows]
    return MarkdownReport(run, "\n".join(lines) + "\n", {"figures": figures, "notes": notes})


def _front(facts: RunFacts) -> list[str]:
    """Of a Pareto search some points of its front, the knee marked."""
    front = [dict(point) for point in facts.result.get("front", ())]
    if not front:
        return []
    names = [str(name) for name in facts.result.get("objectives", ())]
    even = {round(i * (len(front) - 1) / (FRONT_ROWS - 1)) for i in range(FRONT_ROWS)}
    rows = [
        (*(f"{float(point[name]):.6g}" for name in names), "knee" if point.get("knee") else "")
        for i, point in enumerate(front)
        if i in even or point.get("knee")
    ]
    header = f"Front, {len(rows)} of {len(front)} points, as searched:"
    return [header, "", *markdown_table((*names, ""), rows), ""]


def network_figures(facts: RunFacts) -> list[Row]:
    """Figures of a search of networks: name, value, origin."""
    result = facts.result
    rows = [*_accuracy(facts), *_latencies(facts)]
    for name, energy in dict(result.get("energy_mj", {})).items():
        rows.append((f"energy on {name}", f"{energy['predicted']:.4g} {energy['unit']}", str(energy["origin"])))
    for name, value in dict(result.get("figures", {})).items():
        rows.append((str(name), f"{value:.6g}", "as searched: a prediction, or computed from the architecture"))
    for name, what in (("macs", "MACs"), ("params", "parameters")):
        if name in result:
            rows.append((what, format_count(float(result[name])), "computed from the architecture"))
    return rows + _later(facts) + _search(facts)


def table_figures(facts: RunFacts) -> list[Row]:
    """Figures of a search of a table."""
    result = facts.result
    rows: list[Row] = [(name, f"{value:.6g}", "the table's") for name, value in dict(result["figures"]).items()]
    known = result.get("regret")
    if isinstance(known, dict):
        rows.append(("optimum", f"{known['optimum']:.6g}", f"best of {known['feasible']:,} within the budgets"))
        rows.append(("regret", f"{known['regret']:.6g}", f"{known['rank']:,} architectures are better"))
    return rows + _search(facts)


def _accuracy(facts: RunFacts) -> list[Row]:
    result, figures = facts.result, facts.predictor_figures
    found = dict(result.get("accuracy", {}))
    proxy = facts.request.accuracy_predictor if facts.request is not None else ""
    if found.get("predicted") is None:
        return []
    fitted = result.get("accuracy_source") == FITTED
    if proxy.startswith(ZERO_COST) and not fitted:
        rows: list[Row] = [(f"score of {proxy}", f"{found['predicted']:.6g}", "zero-cost proxy: no accuracy")]
    else:
        given = f" fitted in the search, its prior {proxy}" if fitted else f" given as {proxy}" if proxy else ""
        origin = f"modelled: accuracy predictor{given}"
        if "rmse" in figures:
            origin += f", rmse {100 * figures['rmse']:.2f} % on {int(figures.get('holdout', 0))} held-out subnets"
        rows = [("accuracy, predicted", _percent(found["predicted"]), origin)]
    if found.get("measured") is not None:
        low_high = result.get("accuracy_interval95")
        interval = ""
        if low_high:
            interval = f", 95 % interval {100 * float(low_high[0]):.1f} to {100 * float(low_high[1]):.1f} %"
        origin = f"measured on {result.get('accuracy_images')} images of the search split{interval}"
        rows.append(("accuracy, measured", _percent(found["measured"]), f"{origin}; choices were made on that split"))
    return rows


def _latencies(facts: RunFacts) -> list[Row]:
    result = facts.result
    several = dict(result.get("targets", {}))
    by_target = {name: dict(found["latency_ms"]) for name, found in several.items()} or {
        str(result.get("target")): dict(result.get("latency_ms", {}))
    }
    basis = dict(result.get("basis", {}))
    rows: list[Row] = []
    for name, found in by_target.items():
        if found.get("predicted") is None:
            continue
        measured = found.get("measured")
        bounds = f"{format_ms(found['low'])} to {format_ms(found['high'])}"
        # Of a verified run `origin` is the measurement's; what the prediction rests on is said by its table.
        kind = dict(basis.get("origin", {})).get("kind", found.get("origin")) if not several else found.get("origin")
        rests = f"; {basis['text']}" if "text" in basis and not several else ""
        rows.append((f"latency on {name}, predicted", format_ms(found["predicted"]), f"from figures {kind}{rests}"))
        confidence = float(result.get("confidence", 0.9))
        rows.append((f"latency on {name}, bounds", bounds, f"one-sided {confidence:.0%}, {result.get('interval')}"))
        if measured is not None:
            words = str(result.get("origin", "")) if not several else str(found.get("origin"))
            upper = result.get("upper95_ms")
            limit = f"; 95 % upper limit {format_ms(float(upper))}" if upper is not None and not several else ""
            rows.append((f"latency on {name}, measured", format_ms(float(measured)), f"{words}{limit}"))
    return rows


def _later(facts: RunFacts) -> list[Row]:
    """What was added to the run after the search."""
    rows: list[Row] = []
    tuned = facts.later("finetune.json")
    if tuned:
        kept = "kept" if tuned.get("kept") else "not better, not kept"
        rows.append(
            ("accuracy, fine-tuned", _percent(tuned["after"]["accuracy"]), f"measured on the search split; {kept}")
        )
    profile = facts.later("profile.json")
    if "instructions" in profile:
        rows += _counted(profile)
    elif profile:
        runtime, runs = profile.get("runtime"), profile.get("runs")
        origin = f"measured: {runtime}, {profile.get('regime')}, {runs} runs"
        rows.append(
            (f"latency on {profile.get('target')}, profiled", format_ms(profile["latency_ms"]["median"]), origin)
        )
    return rows


def _counted(profile: Mapping[str, Any]) -> list[Row]:
    """A profile of a microcontroller: no silicon was measured."""
    target, memory = profile.get("target"), profile["memory"]
    counted = f"measured-emulated: {profile.get('emulator')}; no silicon was measured"
    rows: list[Row] = [
        (f"instructions on {target}, profiled", f"{profile['instructions']['counted']:,.0f}", counted),
        (f"SRAM on {target}", format_bytes(memory["static_ram_bytes"] + memory["stack_bytes"]), counted),
        (f"flash on {target}", format_bytes(memory["flash_bytes"]), "of the linked firmware"),
    ]
    if (modelled := profile.get("latency_ms")) is not None:
        bounds = f"{format_ms(modelled['low'])} to {format_ms(modelled['high'])}"
        origin = f"modelled, {bounds}: {modelled['interval']}"
        rows.append((f"latency on {target}", format_ms(modelled["modelled"]), origin))
    return rows


def _search(facts: RunFacts) -> list[Row]:
    result = facts.result
    machine = str(facts.manifest.get("machine", "machine not recorded"))
    rows: list[Row] = [
        ("evaluations", f"{int(result['evaluations']):,}", f"architectures priced by {facts.strategy or 'the search'}"),
        ("search", f"{float(result['wall_s']):.2f} s", f"wall time, measuring left out; {machine}"),
    ]
    cost = dict(facts.manifest.get("cost", {}))
    if "wall_s" in cost:
        rows.append(("whole command", _duration(float(cost["wall_s"])), "wall time, measuring included"))
    hours = dict(facts.header.get("trained", {})).get("training_hours")
    if hours is not None:
        rows.append(("training of the supernet", f"{float(hours):.2f} h", str(facts.header["trained"].get("hardware"))))
    return rows


def markdown_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a Markdown table."""
    cells = [header, tuple("---" for _ in header), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells]


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else format_duration(seconds)


def _percent(share: float) -> str:
    return f"{100 * float(share):.2f} %"
