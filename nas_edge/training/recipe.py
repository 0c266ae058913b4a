"""`Recipe`: everything that decides what a training run computes, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from nas_edge.data.augment import Augmentation
from nas_edge.differences import differences
from nas_edge.errors import ConfigError, UnknownKeyError
from nas_edge.training.objectives.phases import Phase


class Distillation(StrEnum):
    """What a student minimises against a teacher's answers.

    `kl`: cross entropy against them (Kullback-Leibler divergence but for a constant). `alpha`: the larger of two
    alpha-divergences (AlphaNet; see `training.objectives.divergence`).
    """

    KL = "kl"
    ALPHA = "alpha"


_SEEDS_APART = 7919  # so that no two phases of one run draw the same numbers
_LARGEST_SEED = 2**40  # torch's generators, which each step seeds anew by it, take 64 bits
_OF_EACH_PHASE = ("epochs", "learning_rate", "warmup_epochs", "teacher_epochs", "random_subnets", "teacher_weight")


@dataclass(frozen=True)
class Recipe:
    """How a supernet, or one subnet, is trained: by the sandwich rule, or by `phases` of progressive shrinking.

    Attributes:
        epochs: passes over the training images.
        freeze_epochs: first epochs in which only the classifier learns: a new head's large gradients do not spoil
            weights that were trained before.
        teacher_epochs: first epochs that train the largest architecture alone, so that it can teach.
        batch_size: images a step, over all processes.
        accumulate: parts that a batch is worked through in, one after another, where memory is short; batch norms see
            one part at a time.
        learning_rate: at its peak; AdamW, linear warm-up, cosine to zero.
        warmup_epochs: of the learning rate.
        weight_decay: on weights with more than one dimension.
        label_smoothing: for losses against labels: this share goes to all classes alike (Szegedy et al. 2016).
        random_subnets: drawn a step beside the largest and the smallest (the sandwich rule; BigNAS, Yu et al. 2020).
        drop_connect: of residual branches (Huang et al. 2016), of the largest architecture only: block i of n drops
            i / n of this rate.
        dropout: before the classifier (Srivastava et al. 2014), of the largest architecture only.
        mixup: alpha of the Beta distribution, 0 for none (Zhang et al. 2018).
        cutmix: the same for pasted boxes (Yun et al. 2019); with both, each step draws one of the two.
        distillation: what smaller networks minimise against the largest one's answers.
        phases: of progressive shrinking (Cai et al. 2020), each with epochs, learning rate, warm-up and subnets of its
            own; () for the sandwich rule.
        ema: decay of the averaged weights that are kept in the end (Polyak and Juditsky; `training.running.average`).
        clip_norm: greatest Euclidean norm of the whole gradient (Pascanu et al. 2013), 0 for none.
        bf16: compute in bfloat16 where autocast allows; None: where it pays (see `training.running.device`).
        fp16: in float16 instead, for GPUs that lack bfloat16; gradients are scaled.
        augmentation: of the training images.
        storage_scale: training images are kept at this multiple of the largest resolution before cropping, 0.5..8.
        teacher_weight: share of a teacher's answers in what the largest learns from, where a teacher is given.
        first_side: side in pixels that batches begin with, 0 for full size at once (see `training.running.growing`).
        growing_share: of the run, in which they grow to full size.
        seed: of everything random.
    """

    epochs: int = 30
    teacher_epochs: int = 4
    freeze_epochs: int = 0
    batch_size: int = 64
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup_epochs: float = 2.0
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    random_subnets: int = 2
    drop_connect: float = 0.2
    dropout: float = 0.2
    mixup: float = 0.1
    cutmix: float = 0.0
    distillation: Distillation = Distillation.KL
    phases: tuple[Phase, ...] = ()
    ema: float = 0.99
    clip_norm: float = 0.0
    bf16: bool | None = None
    fp16: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)
    storage_scale: float = 1.125
    teacher_weight: float = 0.7
    first_side: int = 0
    growing_share: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or not 0 < self.learning_rate < math.inf:
            raise ConfigError("recipe: epochs >= 1, batch_size >= 2 and learning_rate > 0 are needed")
        if not 0 <= self.teacher_epochs <= self.epochs or self.random_subnets < 0 or self.seed < 0:
            raise ConfigError("recipe: 0 <= teacher_epochs <= epochs, random_subnets >= 0 and seed >= 0 are needed")
        if self.seed > _LARGEST_SEED:
            raise ConfigError(f"recipe: seed must be at most {_LARGEST_SEED}, not {self.seed}")
        if self.accumulate < 1 or self.batch_size // self.accumulate < 2:
            raise ConfigError("recipe: accumulate must be 1 or more and leave two images in each part of a batch")
        if not 0 <= self.teacher_weight <= 1:
            raise ConfigError(f"recipe: teacher_weight must be within 0..1, not {self.teacher_weight}")
        if self.first_side < 0 or not 0 <= self.growing_share <= 1:
            raise ConfigError("recipe: first_side must be 0 or more, and growing_share within 0..1")
        for name in ("label_smoothing", "drop_connect", "dropout", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"recipe: {name} must be at least 0 and below 1, not {getattr(self, name)}")
        for name in ("warmup_epochs", "weight_decay", "mixup", "cutmix", "clip_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"recipe: {name} must be 0 or more, not {getattr(self, name)}")
        if not 0.5 <= self.storage_scale <= 8:
            raise ConfigError(f"recipe: storage_scale must be within 0.5..8, not {self.storage_scale}")
        if self.bf16 not in (None, True, False):
            raise ConfigError(f"recipe: bf16 must be true, false or null, not {self.bf16!r}")
        if self.fp16 and self.bf16:
            raise ConfigError("recipe: one of bf16 and fp16, not both")
        if self.freeze_epochs < 0:
            raise ConfigError(f"recipe: freeze_epochs must be 0 or more, not {self.freeze_epochs}")
        if len({phase.name for phase in self.phases}) != len(self.phases):
            raise ConfigError("recipe: phases must have different names")

    def of_phase(self, number: int) -> Recipe:
        """The recipe of one phase alone: its epochs and learning rate, random numbers of its own."""
        phase = self.phases[number]
        return replace(
            self, epochs=phase.epochs, teacher_epochs=0, learning_rate=phase.learning_rate,
            warmup_epochs=phase.warmup_epochs, seed=self.seed + _SEEDS_APART * (number + 1), phases=(),
            first_side=0 if number else self.first_side, freeze_epochs=0 if number else self.freeze_epochs,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """As plain data for YAML and JSON."""
        return asdict(self) | {
            "distillation": str(self.distillation),
            "phases": [asdict(phase) for phase in self.phases],
        }

    @classmethod
    def from_dict(cls, data: Any, where: str = "recipe") -> Recipe:
        """The inverse of `to_dict`. Raises ConfigError (UnknownKeyError) for what does not fit."""
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: a recipe is a mapping")
        for kind, given, path in ((cls, data, ()), (Augmentation, data.get("augmentation"), ("augmentation",))):
            known = {f.name: f.default for f in fields(kind)}
            for key, value in given.items() if isinstance(given, dict) else ():
                if key not in known:
                    raise UnknownKeyError(where, (*path, key), known)
                _check_number(f"{where}: {'.'.join((*path, key))}", value, known[key])
        _check_phases_alone(data, where)
        values = dict(data)
        epochs = values.get("epochs", cls.epochs)
        values.setdefault("teacher_epochs", min(cls.teacher_epochs, epochs // 5))  # a short run has no time for more
        values.setdefault("warmup_epochs", min(cls.warmup_epochs, epochs / 5))
        try:
            if "augmentation" in values:
                changes = values["augmentation"]
                pairs: dict[str, Any] = {
                    key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()
                }
                values["augmentation"] = Augmentation(**pairs)
            if "distillation" in values:
                values["distillation"] = Distillation(values["distillation"])
            if "phases" in values:
                phases = [Phase.from_dict(phase, where, number) for number, phase in enumerate(values["phases"])]
                values["phases"] = tuple(phases)
            return cls(**values)
        except (TypeError, AttributeError, ValueError) as error:
            raise ConfigError(f"{where}: does not describe a recipe ({error})") from error


def with_seed(changes: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Changes to a recipe with the seed that a command has. Raises ConfigError where they say another one."""
    if changes.get("seed", seed) != seed:
        raise ConfigError(f"recipe: its seed is {changes['seed']}, and {seed} is asked for; let --seed alone say it")
    return {**changes, "seed": seed}


def recipe_differences(then: Mapping[str, Any], now: Mapping[str, Any], *, diverged: bool = False) -> str:
    """Between the recipe that a run was begun with and another one to go on with, in one line, "" for none.

    What errors advise to change is none: the parts of a batch, and lower learning rates where a run has `diverged`.
    What an earlier nas-edge could not say in a recipe was as it is by default now.
    """
    before, after = _filled(then), _filled(now)
    after["accumulate"] = before["accumulate"]
    if diverged:
        rates = {phase["name"]: phase["learning_rate"] for phase in before["phases"]}
        after["learning_rate"] = max(before["learning_rate"], after["learning_rate"])
        after["phases"] = [
            phase | {"learning_rate": max(phase["learning_rate"], rates.get(phase["name"], 0.0))}
            for phase in after["phases"]
        ]
    return differences(before, after)


def recipe_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The same with what errors advise to change: for a person who has changed it."""
    return differences(_filled(then), _filled(now))


def _filled(noted: Mapping[str, Any]) -> dict[str, Any]:
    default = Recipe().to_dict()
    return default | dict(noted) | {"augmentation": default["augmentation"] | noted.get("augmentation", {})}


def _check_phases_alone(data: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError where changes to the default recipe would change nothing beside phases.

    A whole recipe, as bundles note it, has a value for everything.
    """
    known = {f.name: f.default for f in fields(Recipe)}
    if not data.get("phases") or data.keys() >= known.keys():
        return
    if idle := [name for name in _OF_EACH_PHASE if data.get(name, 0) not in (0, known[name])]:
        raise ConfigError(
            f"{where}: beside phases {', '.join(idle)} would change nothing; leave it out, each phase says how it is"
            " trained"
        )


def _check_number(what: str, value: object, default: object) -> None:
    """Raise ConfigError where a value is no number as its default is one."""
    kind = type(default)
    if kind is bool and not isinstance(value, bool):
        raise ConfigError(f"{what} must be true or false, not {value!r}")
    if kind is int and (isinstance(value, bool) or not isinstance(value, int)):
        raise ConfigError(f"{what} must be a whole number, not {value!r}")
    if kind is float and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ConfigError(f"{what} must be a number, not {value!r}")
