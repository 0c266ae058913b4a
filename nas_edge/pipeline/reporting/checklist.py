"""The checklist of good practice in NAS research (Lindauer and Hutter, JMLR 21, 2020), filled in from a run.

Its questions stand as they are, shortened. Each is answered from what the run, its bundle and its table hold.
Where they hold nothing the answer is "not known": nothing is assumed in favour of the run.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_edge.files import write_text
from nas_edge.pipeline.reporting.chance import FILE, Chance, against_chance
from nas_edge.pipeline.reporting.facts import RunFacts, read_facts
from nas_edge.pipeline.reporting.summary import MarkdownReport
from nas_edge.pipeline.searching.request import SearchRequest
from nas_edge.progress import Progress, silent

OUTPUT = "checklist.md"
SECTIONS = {
    "1": "Releasing code",
    "2": "Comparing NAS methods",
    "3": "Reporting important details",
}
# What the default strategy does beyond plain evolution, switched off one by one.
_ABLATIONS = {
    "evolution": ("polish_every=0", "niches=1", "crossover=0"),
    "epsilon": ("short=0", "last=0"),
    "islands": ("islands=1", "averaged=0", "crossed=0"),
    "least": ("courses=1", "looks=1", "jitter=0"),
    "lagrangian": ("generations=1", "most_noise=0.003"),
}


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        number: "1a" and so on, as in the paper.
        question: shortened.
        answer: "yes", "partly", "no", "not known" or "does not apply".
        evidence: what the answer rests on, or what would have to be done.

    """

    number: str
    question: str
    answer: str
    evidence: str


def checklist_flow(run: Path, progress: Progress = silent) -> MarkdownReport:
    """Fill in the checklist, search by chance at equal evaluations for it, and write `RUN/checklist.md`.

    Raises:
        ConfigError: not the directory of a search, or not writable. FormatError: damaged.

    """
    facts = read_facts(run)
    chance = against_chance(facts, progress)
    items = [*_code(facts), *_comparing(facts, chance), *_details(facts)]
    unknown = [*_not_known(facts), *facts.missing]
    text = _markdown(facts, items, unknown)
    write_text(run / OUTPUT, text)
    data: dict[str, Any] = {
        "items": [asdict(item) for item in items],
        "not_known": unknown,
        "random_search": asdict(chance) if isinstance(chance, Chance) else {"not_run": chance},
    }
    return MarkdownReport(run, text, data, run / OUTPUT)


# 1. Releasing code -----------------------------------------------------------------------------------------------


def _code(facts: RunFacts) -> list[Item]:
    header, result = facts.header, facts.result
    versions = dict(facts.manifest.get("versions", {}))
    version = versions.get("nas-edge")
    code = f"nas-edge {version}" if version else "nas-edge, version not recorded"
    seeds = dict(facts.manifest.get("seeds", {}))
    options = json.dumps(facts.options(), separators=(", ", ": "))
    hashes = [f"{role} {_hash(entry)}" for role, entry in dict(facts.manifest.get("inputs", {})).items()]
    if header:
        recipe = json.dumps(dict(header.get("recipe", {})), separators=(", ", ": "))
        training = Item(
            "1a", "Code of the training pipeline", "yes" if version else "partly", f"{code}: `nas-edge train`"
        )
        known = "yes" if header.get("recipe") else "no"
        seed = dict(header.get("recipe", {})).get("seed", "not known")
        hyper = Item("1c", "Hyper-parameters and seeds of the final evaluation", known, f"seed {seed}; recipe {recipe}")
    else:
        none = "the run rests on no trained supernet of this project"
        training = Item(
            "1a", "Code of the training pipeline", "does not apply" if facts.is_table else "not known", none
        )
        hyper = Item("1c", "Hyper-parameters and seeds of the final evaluation", training.answer, none)
    space = f"space {result.get('space')}; inputs by SHA-256: {', '.join(hashes) or 'not recorded'}"
    asked = "" if facts.request is None else f"; {facts.request.evaluations:,} evaluations"
    return [
        training,
        Item("1b", "Code of the search space", "yes" if hashes else "partly", space),
        hyper,
        Item("1d", "Code of the NAS method", "yes" if version else "partly", f"{code}, strategy {facts.strategy}"),
        Item(
            "1e", "Hyper-parameters and seeds of the NAS method", "yes" if seeds else "partly",
            f"seed {seeds.get('search', 'not recorded')}; options {options}{asked}",
        ),
    ]  # fmt: skip


def _hash(entry: Any) -> str:
    found = entry.get("sha256") if isinstance(entry, dict) else None
    if isinstance(found, dict):
        return f"({len(found)} files)"
    return str(found)[:12]


# 2. Comparing NAS methods ----------------------------------------------------------------------------------------


def _comparing(facts: RunFacts, chance: Chance | str) -> list[Item]:
    result = facts.result
    trace = list(result.get("trace", ()))
    if isinstance(chance, Chance):
        randomly = Item(
            "2f",
            "Comparison with random search",
            "yes",
            f"{chance.text()}; searched for this report on the surrogates, nothing measured ({FILE})",
        )
        runs = (
            f"the run is one seed; its strategy and random search were repeated with {chance.seeds} on the surrogates"
        )
        repeated = Item("2g", "Several runs, seeds reported", "partly", runs)
        same = "both searched with this version, these surrogates, these budgets and equal evaluations"
    else:
        randomly = Item("2f", "Comparison with random search", "no", f"{chance}; to do it: {_compare_command(facts)}")
        repeated = Item("2g", "Several runs, seeds reported", "no", f"one seed; to do it: {_compare_command(facts)}")
        same = "nothing was compared"
    compared = "yes" if isinstance(chance, Chance) else "does not apply"
    over_time = (
        "the trace (evaluations, best so far) is in result.json" if trace else f"no trace; {_compare_command(facts)}"
    )
    return [
        Item("2a", "The same benchmark: data, splits, space, training", compared, f"{same}; {_data(facts)}"),
        Item("2b", "Confounding factors controlled", "partly", _confounders(facts)),
        Item("2c", "Ablation studies", "no", f"not run for this search; to do it: {_ablation_command(facts)}"),
        Item("2d", "The same evaluation protocol for all methods", compared, same),
        Item("2e", "Performance over time", "partly" if trace else "no", over_time),
        randomly,
        repeated,
        Item("2h", "Tabular or surrogate benchmarks for in-depth evaluation", *_surrogates(facts)),
    ]


def _data(facts: RunFacts) -> str:
    if facts.is_table:
        return f"table {facts.result.get('space')}"
    data = dict(facts.header.get("data", {}))
    if not data:
        return "data and splits are not known: the accuracy is a given predictor's"
    splits = ", ".join(f"{name} {digest[:12]}" for name, digest in dict(data.get("sha256", {})).items())
    return (
        f"data {data.get('summary', data.get('spec'))}, split by seed {data.get('seed')}; SHA-256: {splits or 'none'}"
    )


def _confounders(facts: RunFacts) -> str:
    versions = ", ".join(f"{name} {v}" for name, v in dict(facts.manifest.get("versions", {})).items())
    trained = dict(facts.header.get("trained", {}))
    basis = dict(facts.result.get("basis", {}))
    parts = [f"versions of the search: {versions or 'not recorded'}"]
    if trained:
        parts.append(f"trained with torch {trained.get('torch')} on {trained.get('hardware')}")
    if basis:
        origin = dict(basis.get("origin", {}))
        machine = origin.get("machine") or origin.get("source") or "not recorded"
        parts.append(f"latencies {origin.get('kind', 'not known')}, {machine}, table {basis.get('table')}")
    if not facts.is_table:
        parts.append(
            "all networks share one supernet's weights, so their ranking may differ from that of networks trained "
            "alone; choices were made on the search split, so accuracies on it are optimistic; the test split was "
            "not read"
        )
    return "; ".join(parts)


def _surrogates(facts: RunFacts) -> tuple[str, str]:
    if facts.is_table:
        known = facts.result.get("regret")
        regret = f", regret {known['regret']:.6g}" if isinstance(known, dict) else ""
        return "yes", f"a table of architectures, its optimum known{regret}"
    figures = facts.predictor_figures
    if "rmse" not in figures:
        return "partly", "the search ran on a surrogate of the accuracy whose error is not known"
    noise = f", noise of its labels {figures['label_noise']:.4f}" if "label_noise" in figures else ""
    tau = f", Kendall's tau {figures['tau']:.2f}" if "tau" in figures else ""
    held = int(figures.get("holdout", 0))
    return "yes", (
        f"the search ran on a surrogate of the accuracy: rmse {figures['rmse']:.4f}{tau} on {held} held-out subnets"
        f"{noise}; smaller differences mean nothing"
    )


def _compare_command(facts: RunFacts, strategies: tuple[str, ...] = ()) -> str:
    """A command line that compares strategies on the run's problem, as a piece of Markdown."""
    own = "evolution" if facts.strategy == "random" else _with_options(facts)
    words = ["nas-edge", "compare", "--strategies", ",".join(strategies or (own, "random"))]
    request = facts.request
    if request is None:
        return f"`{shlex.join([*words, '--out', 'compared'])}` (with the run's budgets: it kept no request)"
    budgets = _budgets(request)
    words += ["--budgets", "&".join(budgets)] if budgets else []
    words += ["--pareto", ",".join(request.pareto)] if request.pareto else []
    objective = request.objective or ("latency" if request.min_accuracy is not None else "")
    words += ["--objective", objective] if objective else []
    words += ["--evaluations", str(request.evaluations)]
    words += [] if facts.is_table else ["--target", request.target]
    default = type(request)()
    for option in ("space", "bundle", "accuracy_predictor", "confidence"):
        if getattr(request, option) != getattr(default, option):
            words += [f"--{option.replace('_', '-')}", str(getattr(request, option))]
    words += [] if request.num_classes is None else ["--classes", str(request.num_classes)]
    words += [word for text in request.fix for word in ("--fix", text)]
    for option, values in (("resolutions", request.resolutions), ("precision", request.precision)):
        words += [f"--{option}", ",".join(map(str, values))] if values else []
    first = f" (of the first target, {request.target}, alone)" if request.several else ""
    return f"`{shlex.join([*words, '--out', 'compared'])}`{first}"


def _budgets(request: SearchRequest) -> list[str]:
    """As `nas-edge compare` takes them."""
    own = {
        "energy": (request.energy_mj, "mJ"), "macs": (request.macs, ""), "params": (request.params, ""),
        "sram": (request.sram_bytes, "B"), "flash": (request.flash_bytes, "B"),
        "instructions": (request.instructions, ""),
    }  # fmt: skip
    budgets = [] if request.latency_ms is None else [f"{request.latency_ms:g}ms"]
    budgets += [f"{name}<={limit:.15g}{unit}" for name, (limit, unit) in own.items() if limit is not None]
    budgets += [] if request.min_accuracy is None else [f"accuracy>={request.min_accuracy:.15g}"]
    return budgets + [f"{name}{op}{limit:.15g}" for name, op, limit in request.limits]


def _with_options(facts: RunFacts) -> str:
    """The run's strategy as `nas-edge compare` takes it."""
    given = facts.request.options if facts.request is not None else {}
    return ":".join([facts.strategy, *(f"{name}={value}" for name, value in given.items())])


def _ablation_command(facts: RunFacts) -> str:
    own, known = _with_options(facts), facts.options()
    parts = [part for part in _ABLATIONS.get(facts.strategy, ()) if part.partition("=")[0] in known]
    if not parts:
        return f"{_compare_command(facts)} (no parts of {facts.strategy or 'the strategy'} are known to switch off)"
    return _compare_command(facts, (own, *(f"{own}:{part}" for part in parts)))


# 3. Reporting important details ----------------------------------------------------------------------------------


def _details(facts: RunFacts) -> list[Item]:
    given = dict(facts.request.options) if facts.request is not None else dict(facts.result.get("options", {}))
    tuned = "the strategy's options are this version's defaults, not tuned for this run; what they took is not known"
    if given:
        tuned = f"the strategy's options were given ({json.dumps(given)}): how they were found is not known"
    answer, cost = _cost(facts)
    command = shlex.join(map(str, facts.manifest.get("command", ())))
    dated = f", {facts.manifest['date']}" if "date" in facts.manifest else ""
    setup = f"`{command}`{dated}; hashes of all inputs and outputs in manifest.json" if command else "no manifest"
    return [
        Item("3a", "How hyper-parameters were tuned, and what that took", "no", tuned),
        Item("3b", "Time of the whole method, not only of the search", answer, cost),
        Item("3c", "All details of the experimental setup", "yes" if command else "no", setup),
    ]


def _cost(facts: RunFacts) -> tuple[str, str]:
    parts, complete = [], True
    if not facts.is_table:
        trained = dict(facts.header.get("trained", {}))
        hours = trained.get("training_hours")
        complete = hours is not None
        parts.append(
            "training of the supernet: not known"
            if hours is None
            else f"training of the supernet {float(hours):.2f} h on {trained.get('hardware')} (measuring subnets and "
            "fitting the predictor left out: not recorded)"
        )
        parts.append("measuring of the latency table: not recorded")
    parts.append(
        f"search {float(facts.result['wall_s']):.2f} s on {facts.manifest.get('machine', 'an unknown machine')}"
    )
    whole = dict(facts.manifest.get("cost", {})).get("wall_s")
    parts.append("whole command: not known" if whole is None else f"whole command {float(whole):.1f} s")
    tuned = facts.later("finetune.json")
    if tuned:
        parts.append(f"fine-tuning {float(tuned['wall_s']):.0f} s")
    known = facts.is_table and whole is not None
    return ("yes" if known else "partly" if complete or facts.is_table else "no"), "; ".join(parts)


# What is not known -----------------------------------------------------------------------------------------------


def _not_known(facts: RunFacts) -> list[str]:
    result: Mapping[str, Any] = facts.result
    unknown = [] if "machine" in facts.manifest else ["on which machine the search itself ran"]
    if facts.is_table:
        return unknown
    if not result.get("verified"):
        unknown.append("whether the network meets its budget on the device: nothing was measured, or not enough")
    if dict(result.get("accuracy", {})).get("measured") is None:
        unknown.append("the true accuracy of the network that was found: it is predicted")
    unknown.append("its accuracy on the test split: `nas-edge evaluate RUN --split test`, once, at the end")
    unknown.append("what the network would reach trained from scratch, and whether the ranking would be the same")
    if facts.bundle is None:
        unknown.append("with what data, code and cost the weights behind the accuracy were trained")
    elif "training_hours" not in dict(facts.header.get("trained", {})):
        unknown.append("what training the supernet cost")
    return unknown


def _markdown(facts: RunFacts, items: list[Item], unknown: list[str]) -> str:
    lines = [
        f"# Checklist of run {facts.path.name}", "",
        "After M. Lindauer and F. Hutter, Best Practices for Scientific Research on Neural Architecture Search, JMLR",
        "21 (243), 2020. Filled in by nas-edge from what the run recorded.",
    ]  # fmt: skip
    for number, title in SECTIONS.items():
        lines += ["", f"## {number}. {title}", ""]
        for item in (item for item in items if item.number.startswith(number)):
            lines.append(f"- **{item.number} {item.question}: {item.answer}.** {item.evidence}")
    lines += ["", "## Not known", "", *(f"- {text}" for text in unknown)]
    return "\n".join(lines) + "\n"
