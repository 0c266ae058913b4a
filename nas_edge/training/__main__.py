"""`python -m nas_edge.training`: train a supernet, also in several processes, with few packages.

torch, numpy, safetensors and pyyaml are needed, nothing else; Pillow where pictures are files that must be decoded.

    torchrun --nproc-per-node 2 -m nas_edge.training --data photos/ --space mcu --out my-bundle [--recipe recipe.yaml]

It leaves the trained weights where `nas-edge train` with the same options looks for them: that measures subnets, fits
the accuracy predictor and finishes the bundle.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas_edge.errors import NasEdgeError, StorageError, TrainingError
from nas_edge.files import make_directory
from nas_edge.units import parse_duration_s

if TYPE_CHECKING:
    from nas_edge.training.together.workers import Workers

WORK = "work"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says: 0, or else one line on stderr and 2 for the user's mistake, 1 for a failure."""
    options = _parser().parse_args(arguments)
    try:
        if _train(options):
            sys.stderr.write(f"trained; what makes the bundle of it: {_finishing(options)}\n")
    except NasEdgeError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
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


def _finishing(options: argparse.Namespace) -> str:
    """The command that measures subnets and writes the bundle; a time limit was for the training."""
    given = {name: value for name, value in vars(options).items() if value != _parser().get_default(name)}
    given.pop("time_limit", None)
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["nas-edge", "train", *words])


def _train(options: argparse.Namespace) -> bool:
    """Train; whether this process is the one that speaks for all."""
    from nas_edge.data import Preprocess, load_dataset
    from nas_edge.pipeline.learning.beginning import beginning, hold_to_beginning
    from nas_edge.pipeline.learning.fitting import fitting_batch
    from nas_edge.pipeline.learning.measuring import forget_measuring
    from nas_edge.pipeline.learning.starting import told_start
    from nas_edge.pipeline.learning.teaching import find_teacher
    from nas_edge.pipeline.learning.train_flow import check_choice, check_unfinished, read_recipe
    from nas_edge.pipeline.running.directory import held
    from nas_edge.spaces import SearchSpace
    from nas_edge.training.recipe import Recipe, with_seed
    from nas_edge.training.running.device import uses_bf16
    from nas_edge.training.running.loop import CHECKPOINT
    from nas_edge.training.supernet_run import SupernetRun, train_supernet, watch_interval
    from nas_edge.training.together.workers import joined_workers

    given = read_recipe(options.recipe) if options.recipe else {}
    given |= {"epochs": options.epochs} if options.epochs is not None else {}
    recipe = Recipe.from_dict(with_seed(given, options.seed))
    recipe = replace(recipe, bf16=uses_bf16(recipe))
    limit_s = parse_duration_s(options.time_limit) if options.time_limit else None
    template = SearchSpace.named(options.space).template
    check_choice(template)
    start = told_start(options.init, template, options.init_normalisation)
    taught = find_teacher(options.teacher, template) if options.teacher else None
    preprocess = start.preprocess if start else taught.preprocess if taught else Preprocess()
    check_unfinished(options.out)
    dataset = load_dataset(options.data, seed=options.seed)
    if "batch_size" not in given:
        recipe = fitting_batch(recipe, len(dataset.train))
    if taught:
        taught.check(dataset.classes, preprocess)
    work: Path = options.out / WORK
    with joined_workers() as workers, ExitStack() as until_done:

        def claim() -> None:
            make_directory(work)
            until_done.enter_context(held(work))
            check_unfinished(options.out)
            if not (begun := any(work.rglob(CHECKPOINT))):
                forget_measuring(work)
            hold_to_beginning(work, beginning(template, dataset, start, taught), begun)

        def tell(done: float, total: float, text: str) -> None:
            if workers.speaks:
                sys.stderr.write(f"{text} ({done / total:.0%})\n")

        for note in start.notes if start else ():
            tell(0, 1, note)
        _in_first(workers, claim)
        fill, teacher = start.fill if start else None, taught.network() if taught else None
        watch_every = watch_interval(recipe.epochs)
        run = SupernetRun(template, dataset, preprocess, recipe, fill, work, watch_every, teacher)
        _, done = train_supernet(run, time_limit_s=limit_s, progress=tell)
        if workers.speaks and not done.saved:
            raise StorageError(f"{work}: what was trained last is not saved; run the command again to train that anew")
        return workers.speaks


def _in_first(workers: Workers, do: Callable[[], None]) -> None:
    """Do something in process 0 only; where it cannot be done, none goes on. Raises NasEdgeError."""
    error: NasEdgeError | None = None
    if workers.speaks:
        try:
            do()
        except NasEdgeError as raised:
            error = raised
    if workers.first(float(error is not None)):
        raise error or TrainingError("process 0 says what is wrong")


if __name__ == "__main__":
    sys.exit(main())
