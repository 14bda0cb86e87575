"""LoRA: the model is frozen, and every layer gets an update of low rank (peft).

Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen: "LoRA: Low-Rank Adaptation of Large Language
Models", ICLR 2022.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from hubfast.hub import Source
from hubfast.hub.transformers.classifier import model_name
from hubfast.hub.transformers.quiet import quiet
from hubfast.tuning.adapter import ALPHA_BY_RANK, Adapter, outermost
from hubfast.tuning.context import TuningContext
from hubfast.tuning.headed import HeadedModel
from hubfast.tuning.methods.method import Options
from hubfast.tuning.objective import Regularised, TaskLoss
from hubfast.tuning.text_model import TextModel

SEQ_CLS = ("classifier", "score")  # names of modules that peft trains whole in such models


class LowRank(Regularised):
    """A frozen model whose linear layers and convolutions have trained updates of low rank.

    The head is trained whole, and so are layers before it that are new. Batch norm keeps its
    statistics, which are no part of an adapter.

    Args:
        model: The model to tune; its layers are wrapped in place.
        task: The model's task loss.
        rank: Rank of the updates.
        base: What the model was made of, as its user writes it.

    Raises:
        ValueError: The model has no layer to update, or the rank is not positive.
    """

    def __init__(self, model: HeadedModel, task: TaskLoss, rank: int, base: str):
        from peft import LoraConfig, inject_adapter_in_model  # slow to import

        if rank < 1:
            raise ValueError(f"lora_rank must be at least 1, got {rank}")
        super().__init__(model, task, {})
        whole = _trained_whole(model)
        targets = _layers(model.model, whole)
        if not targets:
            raise ValueError(f"{base} must have linear layers or convolutions for lora, got none")
        model.requires_grad_(False)
        alpha = ALPHA_BY_RANK * rank
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets)
        with quiet():
            inject_adapter_in_model(config, model.model)
        model.head.requires_grad_(True)
        for name in whole:
            model.model.get_submodule(name).requires_grad_(True)
        self.rank, self.base, self.targets, self.whole = rank, base, targets, whole

    def train(self, mode: bool = True) -> "LowRank":
        super().train(mode)
        for part in self.modules():
            if isinstance(part, _BatchNorm):
                part.eval()
        return self

    @torch.no_grad()
    def merged(self) -> Regularised:
        """The model with the updates in its weights, and the adapter beside it; ends training."""
        from peft.tuners.lora import LoraLayer  # slow to import

        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        weights: dict[str, Tensor] = {
            name.replace(".default", ""): value.detach().cpu().clone()
            for name, value in self.model.model.state_dict().items()
            if ".lora_A." in name or ".lora_B." in name
        }
        network = self.model.model
        for name, layer in list(network.named_modules()):
            if isinstance(layer, LoraLayer):
                updated: Any = layer
                updated.merge()
                network.set_submodule(name, updated.get_base_layer())
        self.model.adapter = Adapter(
            self.rank, self.base, self.targets, self.whole, self.model.place, weights, trained
        )
        return Regularised(self.model, self.task, {}).eval()


def build_lora(context: TuningContext, options: Options) -> LowRank:
    """The model, frozen, with updates of low rank."""
    source = context.sources[0]
    return LowRank(context.load(), context.task, options.rank, _base(source))


def _base(source: Source) -> str:
    """What the model was made of, as its adapter names it."""
    return model_name(source) if source.kind == "hf" else source.spec or source.name


def _trained_whole(model: HeadedModel) -> list[str]:
    """Modules besides the head that are trained whole: new ones, and what peft takes for such.

    peft takes a module for one to train whole if its name ends with the name of one, and adds
    those named SEQ_CLS of classifiers of texts.
    """
    new = {id(p) for p in model.new_parameters()}
    names = [name for name, _ in model.model.named_modules() if name]
    layers = [
        name
        for name in names
        if any(id(p) in new for p in model.model.get_submodule(name).parameters(recurse=False))
    ]
    ends = [*layers, model.place, *(SEQ_CLS if isinstance(model, TextModel) else ())]
    ends = [name for name in ends if name]
    found = [name for name in names if ends and name.endswith(tuple(ends))]
    return [name for name in outermost(found) if name != model.place]


def _layers(network: nn.Module, whole: list[str]) -> list[str]:
    """Names of the layers that get an update: linear ones and convolutions that are not grouped."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer

    inside = tuple(f"{name}." for name in whole)
    return [
        name
        for name, part in network.named_modules()
        if (
            (isinstance(part, nn.Linear | Conv1D) and not _called_by_function(part))
            or (isinstance(part, nn.Conv2d) and part.groups == 1)
        )
        and name not in whole
        and not (inside and name.startswith(inside))
    ]


def _called_by_function(part: nn.Module) -> bool:
    """Whether it is the layer within torch's attention, whose weights alone are used."""
    return isinstance(part, NonDynamicallyQuantizableLinear)
