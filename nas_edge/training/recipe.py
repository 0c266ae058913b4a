"""`Recipe`: everything that decides what a training run computes, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nas_edge.data.augment import Augmentation
from nas_edge.errors import ConfigError, UnknownKeyError


@dataclass(frozen=True)
class Recipe:
    """How a supernet, or one subnet, is trained.

    Attributes:
        epochs: passes over the training images.
        teacher_epochs: first epochs that train the largest architecture alone, so that it can teach.
        batch_size: images a step.
        learning_rate: at its peak; AdamW, linear warm-up, cosine to zero.
        warmup_epochs: of the learning rate.
        weight_decay: on weights with more than one dimension.
        label_smoothing: for losses against labels.
        random_subnets: drawn a step beside the largest and the smallest (the sandwich rule; BigNAS, Yu et al. 2020).
        drop_connect, dropout: on the largest architecture only.
        mixup: alpha of the Beta distribution, 0 for none (Zhang et al. 2018).
        ema: decay of the averaged weights that are kept in the end.
        clip_norm: of the gradient, 0 for none.
        bf16: compute in bfloat16 where autocast allows; None: where it pays (see `loop.uses_bf16`).
        augmentation: of the training images.
        storage_scale: training images are kept at this multiple of the largest resolution before cropping.
        teacher_weight: share of a teacher's answers in what the largest learns from, where a teacher is given.
        seed: of everything random.
    """

    epochs: int = 30
    teacher_epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_epochs: float = 2.0
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    random_subnets: int = 2
    drop_connect: float = 0.2
    dropout: float = 0.2
    mixup: float = 0.1
    ema: float = 0.99
    clip_norm: float = 0.0
    bf16: bool | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    storage_scale: float = 1.125
    teacher_weight: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.learning_rate <= 0:
            raise ConfigError("recipe: epochs >= 1, batch_size >= 2 and learning_rate > 0 are needed")
        if not 0 <= self.teacher_epochs <= self.epochs or self.random_subnets < 0 or self.seed < 0:
            raise ConfigError("recipe: 0 <= teacher_epochs <= epochs, random_subnets >= 0 and seed >= 0 are needed")
        if not 0 <= self.teacher_weight <= 1:
            raise ConfigError(f"recipe: teacher_weight must be within 0..1, not {self.teacher_weight}")

    def to_dict(self) -> dict[str, Any]:
        """As plain data for YAML and JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any, where: str = "recipe") -> Recipe:
        """The inverse of `to_dict`. Raises ConfigError (UnknownKeyError) for what does not fit."""
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: a recipe is a mapping")
        for kind, given, path in ((cls, data, ()), (Augmentation, data.get("augmentation"), ("augmentation",))):
            known = {f.name for f in fields(kind)}
            for key in given if isinstance(given, dict) else ():
                if key not in known:
                    raise UnknownKeyError(where, (*path, key), known)
        values = dict(data)
        try:
            if "augmentation" in values:
                changes = values["augmentation"]
                pairs: dict[str, Any] = {
                    key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()
                }
                values["augmentation"] = Augmentation(**pairs)
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise ConfigError(f"{where}: does not describe a recipe ({error})") from error
