"""Zoo-Tuning: one adaptive network from M pre-trained models of one architecture."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import get_args

import torch
from torch import Tensor, nn

from hubfast.nn.heads import put, replace_head
from hubfast.nn.normalization import normalization_of
from hubfast.nn.start import shares
from hubfast.zoo.base import Samples, ZooLayer
from hubfast.zoo.conversion import Alignment, ConversionOptions, RunningStatistics, convert
from hubfast.zoo.gate import Activation


class ZooTuning(nn.Module):
    """M models of one architecture as one network, at about the cost of one.

    Shu, Kou, Cao, Wang, Long, "Zoo-Tuning: Adaptive Transfer from A Zoo of Models", ICML 2021.
    Made by `from_models`; trained like any classifier, by cross-entropy on `forward`.

    Attributes:
        network: The first model's copy with Zoo-Tuning layers and new head.
        normalize: The models' own normalisation of images.
        lite: Whether gates are shared by all samples.
        averaged: Names of modules whose weight matrices could only be averaged.
    """

    def __init__(
        self,
        network: nn.Module,
        template: nn.Module,
        normalize: nn.Module,
        samples: Samples,
        *,
        lite: bool,
        averaged: tuple[str, ...] = (),
    ):
        super().__init__()
        self.network, self.normalize = network, normalize
        self.lite, self.averaged = lite, averaged
        self._samples = samples
        self._template = (template,)  # in a tuple, so that it is no submodule of this one

    @classmethod
    def from_models(
        cls,
        models: Sequence[nn.Module],
        num_classes: int | None = None,
        *,
        head: str | None = None,
        heads: Mapping[str, nn.Module] | None = None,
        align: Alignment = "published",
        gate: Activation | None = None,
        lite: bool = False,
        running_stats: RunningStatistics = "reset",
        recompute: bool = True,
        prior: Sequence[float] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> "ZooTuning":
        """Converts models of equal architecture; they are left as they are.

        All convolutions and linear layers but the heads become Zoo-Tuning layers; what else has
        parameters, such as BatchNorm and LayerNorm, gets their mean over the models.

        Args:
            models: At least one, of timm, torchvision or your own, with the same parameters.
            num_classes: Outputs of a new classifier; None keeps, and aggregates, the models' own.
            head: The classifier's name, where it is neither told by timm's `get_classifier` nor
                the last linear layer.
            heads: New modules by the names of those whose place they take, for networks with
                several heads; instead of `num_classes`.
            align: Which layers' output channels are aligned: `"published"` (the first convolution
                and, in the wider half, those with kernels larger than one), `"spatial"` (all with
                kernels larger than one), `"none"`.
            gate: Activation, see `Gate`; None is sigmoid for layers without bias in networks with
                BatchNorm, as published, and softmax for others.
            lite: Whether gates are shared by all samples; after training the network folds
                to one plain model.
            running_stats: Of BatchNorm. `"reset"`, as published: mean 0, variance 1, so that
                the network must be trained before it is evaluated, by some fifty steps, or else
                get `torch.optim.swa_utils.update_bn` afterwards. `"mean"`: over the models.
            recompute: Whether a GPU mixes weights again in backward. Otherwise it keeps the mixed
                weights of every layer until then: as many bytes per sample as a model's weights
                have in the dtype of the images, which spares a ninth of a step by arithmetic.
            prior: How much each model counts at the start, in gates and in means over the models:
                `hubfast.tuning.teacher_weights(scores, 1 / n)` of LogME scores on n samples are
                posterior probabilities. None, as published: all alike, which averages the weights
                of good and bad models.
            mean: What is subtracted from images in [0, 1], one number per channel; None takes the
                models' `pretrained_cfg`, and where they have none images are not normalised.
            std: What they are then divided by, one number per channel; given if `mean` is.

        Raises:
            ValueError: There are no models, or they differ (the message names the first parameter
                that does), or an option is unknown.
        """
        _check(models, num_classes, heads, align, gate, running_stats)
        start = None if prior is None else shares(prior, len(models))
        network = deepcopy(models[0])
        kept = set(heads or ())
        for name, module in (heads or {}).items():
            put(network, name, module)
        if num_classes is not None:
            kept = {replace_head(network, num_classes, head)}
        _check_equal(models, kept)
        template = deepcopy(network).to("meta")
        options = ConversionOptions(align, gate, lite, running_stats, recompute, start)
        samples, averaged = convert(network, models, options, kept)
        normalize = normalization_of(models, mean, std)
        return cls(network, template, normalize, samples, lite=lite, averaged=averaged)

    def forward(self, images: Tensor) -> Tensor:
        """`images` `(B, 3, H, W)` in [0, 1], or what the models take -> their output `(B, C)`."""
        self._samples.count = images.shape[0]
        return self.network(self.normalize(images))

    def fold(self) -> nn.Module:
        """For inference: alignment is multiplied into the weights; a Lite network becomes plain.

        Returns:
            A `ZooTuning` of its own; of a Lite network one plain model, of the models' own class.
            The plain model takes normalised images, as the models did.
        """
        if self.lite:
            return self._plain()
        folded = deepcopy(self).eval()
        for layer in folded.zoo_layers().values():
            layer.fold_alignment()
        return folded

    @torch.no_grad()
    def _plain(self) -> nn.Module:
        layers = self.zoo_layers()
        state = {f"{n}.{k}": v for n, layer in layers.items() for k, v in layer.shared().items()}
        values = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        device = next(self.network.parameters()).device
        plain = deepcopy(self._template[0]).to_empty(device=device)
        for name, value in (*plain.named_parameters(), *plain.named_buffers()):
            value.copy_(state[name] if name in state else values[name])
        return plain.eval()

    def zoo_layers(self) -> dict[str, ZooLayer]:
        """The converted layers by name."""
        return {n: m for n, m in self.network.named_modules() if isinstance(m, ZooLayer)}


def _check(
    models: Sequence[nn.Module],
    num_classes: int | None,
    heads: Mapping[str, nn.Module] | None,
    align: str,
    gate: str | None,
    running_stats: str,
) -> None:
    if not models:
        raise ValueError("models must be at least one")
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if num_classes is not None and heads:
        raise ValueError("give num_classes or heads, not both")
    options = {"align": (align, Alignment), "running_stats": (running_stats, RunningStatistics)}
    for name, (value, kind) in options.items():
        if value not in get_args(kind):
            raise ValueError(f"{name} must be one of {get_args(kind)}, got {value!r}")
    if gate not in (None, *get_args(Activation)):
        raise ValueError(f"gate must be None or one of {get_args(Activation)}, got {gate!r}")


def _check_equal(models: Sequence[nn.Module], kept: set[str]) -> None:
    """Whether all models have the parameters and buffers of the first, new heads apart."""

    def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
        values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        own = {name: tuple(value.shape) for name, value in values.items()}
        return {n: s for n, s in own.items() if not any(n.startswith(f"{k}.") for k in kept)}

    first = shapes(models[0])
    for number, model in enumerate(models[1:], 1):
        other = shapes(model)
        for name in (*first, *other):
            if first.get(name) != other.get(name):
                raise ValueError(
                    f"models must be of one architecture: {name} is "
                    f"{first.get(name, 'absent')} in models[0] and "
                    f"{other.get(name, 'absent')} in models[{number}]"
                )
