"""The weight-sharing network: every architecture of a space in one set of weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_edge.errors import SpaceError
from nas_edge.spaces import BlockSpec, Kind, Population, SearchSpace, Template
from nas_edge.supernet.elastic import ElasticInverted, ElasticSqueeze, FixedInverted, PlainConv, Residual
from nas_edge.supernet.layers import ConvNorm, SqueezeExcite, branch_rates
from nas_edge.supernet.static import StaticBlock, StaticNet


class ClassifierLayer(nn.Module):
    """The classifier one level down (`classifier.linear`)."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, classes)


class Supernet(nn.Module):
    """A once-for-all network (Cai et al., ICLR 2020) over a template.

    Life of a step: `forward(images, arch)` runs any architecture of the space with shared weights; `extract(arch)`
    copies it out as a `StaticNet` that computes the same.

    Args:
        template: the space.
        num_classes: outputs.
    """

    def __init__(self, template: Template, num_classes: int) -> None:
        super().__init__()
        self.template = template
        self.num_classes = num_classes
        self.space = SearchSpace(template)
        eps, momentum = template.bn_eps, template.bn_momentum
        widest = self.space.lower(self.space.largest(), num_classes)
        slots = [b for b in widest if b.kind is Kind.INVERTED_RESIDUAL]
        stem, *_ = widest
        heads = [b for b in widest if b.kind is Kind.HEAD]
        self.first_conv = PlainConv(stem.in_channels, stem.out_channels, stem.kernel, True, eps, momentum)
        kernels = [stage.kernels for stage in template.stages for _ in range(stage.slots)]
        branches = [ElasticInverted(spec, k, eps, momentum) for spec, k in zip(slots[1:], kernels, strict=True)]
        fixed = FixedInverted(slots[0], eps, momentum)
        self.blocks = nn.ModuleList([Residual(fixed), *(Residual(branch) for branch in branches)])
        self._head_names = [f"{template.named_after}_layer", "feature_mix_layer"][: len(heads)]
        for name, spec in zip(self._head_names, heads, strict=True):
            self.add_module(name, PlainConv(spec.in_channels, spec.out_channels, 1, spec.norm, eps, momentum))
        self.classifier = ClassifierLayer(widest[-1].in_channels, num_classes)
        initialise(self)

    def plan(self, arch: Population) -> list[tuple[nn.Module | None, BlockSpec]]:
        """The modules that an architecture (int8 [genes]) runs through, with what each computes; None: pooling."""
        specs = self.space.lower(arch, self.num_classes)
        depths = self.space.depths(arch[None])[0]
        present, start = [0], 1
        for stage, depth in zip(self.template.stages, depths, strict=True):
            present += range(start, start + int(depth))
            start += stage.slots
        heads = iter(self._head_names)
        modules: list[nn.Module | None] = [self.first_conv, *(self.blocks[i] for i in present)]
        for spec in specs[len(modules) :]:
            if spec.kind is Kind.HEAD:
                modules.append(self.get_submodule(next(heads)))
            else:
                modules.append(None if spec.kind is Kind.POOLING else self.classifier.linear)
        return list(zip(modules, specs, strict=True))

    def forward(self, x: Tensor, arch: Population, drop_connect: float = 0.0, dropout: float = 0.0) -> Tensor:
        """Images float [n, 3, h, w] -> logits [n, classes] of one architecture.

        Args:
            x: normalised images; their size need not be the architecture's resolution.
            arch: int8 [genes].
            drop_connect: of the last block's branch; block i of n drops i / n of this rate (training only).
            dropout: before the classifier (training only).
        """
        plan = self.plan(arch)
        rates = iter(branch_rates(drop_connect, sum(isinstance(module, Residual) for module, _ in plan)))
        for module, spec in plan:
            if isinstance(module, Residual):
                x = module(x, spec, next(rates))
            elif isinstance(module, PlainConv):
                x = module(x, spec)
            elif module is None:
                x = x.mean((2, 3), keepdim=True)
            else:
                x = module(F.dropout(x.flatten(1), dropout, self.training))
        return x

    @torch.no_grad()
    def extract(self, arch: Population) -> StaticNet:
        """A copy of one architecture (int8 [genes]) as a plain module, equal to `forward` in evaluation mode."""
        plan = self.plan(arch)
        template = self.template
        net = StaticNet([spec for _, spec in plan], template.bn_eps, template.bn_momentum, template.tail.dropout)
        for (module, spec), target in zip(plan, net.blocks, strict=True):
            if isinstance(module, Residual):
                assert isinstance(target, StaticBlock)
                _copy_block(module.conv, spec, target)
            elif isinstance(module, PlainConv):
                assert isinstance(target, ConvNorm)
                target.conv.weight.copy_(module.conv.weight[: spec.out_channels, : spec.in_channels])
                _copy_norm(module.bn, target.bn)
            elif isinstance(module, nn.Linear):
                assert isinstance(target, nn.Linear)
                target.load_state_dict(module.state_dict())
        net.train(self.training)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
        return net


def _copy_norm(source: nn.BatchNorm2d | None, target: nn.BatchNorm2d | None) -> None:
    if source is None or target is None:
        return
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(target, name).copy_(getattr(source, name)[: target.num_features])


def _copy_block(branch: ElasticInverted | FixedInverted, spec: BlockSpec, target: StaticBlock) -> None:
    mid, out = spec.mid_channels, spec.out_channels
    if isinstance(branch, FixedInverted):
        target.depthwise.conv.weight.copy_(branch.depth_conv.conv.weight[:mid])
        _copy_norm(branch.depth_conv.bn, target.depthwise.bn)
        _copy_gate(branch.depth_conv.se, spec, target.se)
        target.project.conv.weight.copy_(branch.point_linear.conv.weight[:out, :mid])
        _copy_norm(branch.point_linear.bn, target.project.bn)
        return
    if target.expand is not None:
        if branch.inverted_bottleneck is None:
            raise SpaceError("a block that never expands cannot give one that does")
        target.expand.conv.weight.copy_(branch.inverted_bottleneck.conv.conv.weight[:mid, : spec.in_channels])
        _copy_norm(branch.inverted_bottleneck.bn.bn, target.expand.bn)
    target.depthwise.conv.weight.copy_(branch.depth_conv.conv.weight(mid, spec.kernel))
    _copy_norm(branch.depth_conv.bn.bn, target.depthwise.bn)
    _copy_gate(branch.depth_conv.se, spec, target.se)
    target.project.conv.weight.copy_(branch.point_linear.conv.conv.weight[:out, :mid])
    _copy_norm(branch.point_linear.bn.bn, target.project.bn)


def _copy_gate(source: ElasticSqueeze | None, spec: BlockSpec, target: SqueezeExcite | None) -> None:
    if source is None or target is None:
        return
    fc, mid, r = source.fc, spec.mid_channels, spec.se_channels
    target.reduce.weight.copy_(fc["reduce"].weight[:r, :mid])  # type: ignore[index]
    target.reduce.bias.copy_(fc["reduce"].bias[:r])  # type: ignore[index, union-attr]
    target.expand.weight.copy_(fc["expand"].weight[:mid, :r])  # type: ignore[index]
    target.expand.bias.copy_(fc["expand"].bias[:mid])  # type: ignore[index, union-attr]


def initialise(net: nn.Module) -> None:
    """He initialisation (fan out) of convolutions, a small normal for the classifier; the rest stays neutral."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)
