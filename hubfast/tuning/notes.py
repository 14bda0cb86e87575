"""What a reader of the results should know of a tuned module."""

from collections.abc import Iterator, Sequence

from torch import nn

from hubfast.hub import Source
from hubfast.hub.transformers.options import split_options
from hubfast.profiling import counts
from hubfast.tuning.headed import HeadedModel
from hubfast.tuning.methods.zoo import Plain, ZooMethod
from hubfast.tuning.text_model import TextModel


def module_notes(tuned: nn.Module) -> tuple[str, ...]:
    """Sentences on texts that were cut, how texts are padded, the models of a zoo, LoRA's share."""
    return tuple(dict.fromkeys(_notes(tuned)))


def option_notes(sources: Sequence[Source]) -> tuple[str, ...]:
    """A sentence for each model whose options of reading texts tuning does not follow."""
    given = {source.name: split_options(str(source.given))[1] for source in sources}
    return tuple(
        f"{name}: {options} is for ranking; tuning reads texts without it"
        for name, options in given.items()
        if options
    )


def _notes(tuned: nn.Module) -> Iterator[str]:
    for part in tuned.modules():
        if isinstance(part, ZooMethod | Plain):
            yield from part.notes
        if isinstance(part, TextModel):
            yield from (f"{count} {what}" for what, count in part.tally.items())
            if part.full:
                yield (
                    "padding changes what the model makes of a text, so all texts are padded to "
                    f"{part.longest} tokens"
                )
        if isinstance(part, HeadedModel) and part.adapter is not None:
            whole = counts.parameters(part)
            yield (
                f"lora of rank {part.adapter.rank} trained {part.adapter.trained:,} parameters; "
                f"the model has {whole:,}"
            )
