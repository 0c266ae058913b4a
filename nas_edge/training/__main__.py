"""`python -m nas_edge.training`: train a supernet, also in several processes, with few packages.

torch, numpy, safetensors and pyyaml are needed, nothing else; Pillow where pictures are files that must be decoded.

    torchrun --nproc-per-node 2 -m nas_edge.training --data photos/ --space mcu --out my-bundle [--recipe recipe.yaml]

It leaves the trained weights where `nas-edge train` with the same options looks for them: that measures subnets, fits
the accuracy predictor and finishes the bundle.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nas_edge.errors import NasEdgeError
from nas_edge.files import make_directory, read_yaml
from nas_edge.units import parse_duration_s

WORK = "work"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says: 0, or 2 with one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        _train(options)
    except NasEdgeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on from here\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nas_edge.training", description="Train a supernet.")
    parser.add_argument("--data", required=True, help="images: a folder of class folders, a CSV, or a name")
    parser.add_argument("--space", required=True, help="preset or YAML file")
    parser.add_argument("--out", required=True, type=Path, help="directory of the bundle to be")
    parser.add_argument("--init", help="weights to begin with: a name, a file, or a bundle")
    parser.add_argument("--init-normalisation", help="with a file that does not say it: imagenet, half or none")
    parser.add_argument("--teacher", help="a bundle whose network teaches")
    parser.add_argument("--recipe", type=Path, help="YAML file with changes to the default recipe")
    parser.add_argument("--epochs", type=int, help="of the recipe")
    parser.add_argument("--time-limit", help="like 1h, 20min")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    return parser


def _train(options: argparse.Namespace) -> None:
    from nas_edge.data import Preprocess, load_dataset
    from nas_edge.pipeline.learning.starting import told_start
    from nas_edge.pipeline.learning.teaching import find_teacher
    from nas_edge.spaces import SearchSpace
    from nas_edge.training.recipe import Recipe
    from nas_edge.training.running.device import uses_bf16
    from nas_edge.training.supernet_run import SupernetRun, train_supernet
    from nas_edge.training.together.workers import joined_workers

    given = dict(read_yaml(options.recipe)) if options.recipe else {}
    given |= {"epochs": options.epochs} if options.epochs else {}
    given.setdefault("teacher_epochs", min(Recipe.teacher_epochs, int(given.get("epochs", Recipe.epochs)) // 5))
    recipe = Recipe.from_dict({**given, "seed": options.seed})
    recipe = replace(recipe, bf16=uses_bf16(recipe))
    limit_s = parse_duration_s(options.time_limit) if options.time_limit else None
    template = SearchSpace.named(options.space).template
    start = told_start(options.init, template, options.init_normalisation)
    taught = find_teacher(options.teacher, template) if options.teacher else None
    preprocess = start.preprocess if start else taught.preprocess if taught else Preprocess()
    dataset = load_dataset(options.data, seed=options.seed)
    if taught:
        taught.check(dataset.classes, preprocess)
    with joined_workers() as workers:
        out = make_directory(options.out / WORK)

        def tell(done: float, total: float, text: str) -> None:
            if workers.speaks:
                sys.stderr.write(f"{text} ({done / total:.0%})\n")

        for note in start.notes if start else ():
            tell(0, 1, note)
        fill, teacher = start.fill if start else None, taught.network() if taught else None
        run = SupernetRun(template, dataset, preprocess, recipe, fill, out, watch_every=0, teacher=teacher)
        train_supernet(run, time_limit_s=limit_s, progress=tell)


if __name__ == "__main__":
    sys.exit(main())
