"""Models that are asked by prompts which class an image is of."""

from dataclasses import replace
from functools import partial
from typing import NoReturn

from hubfast.hub.loaders import loader
from hubfast.hub.model import Source
from hubfast.hub.prompts import LACKS, Prompts


def prompted(source: Source, prompts: Prompts) -> Source:
    """The source whose model gives logits of these prompts for images.

    A model that has no text tower fails when it is loaded, with a sentence that says so.

    Args:
        source: A model of a hub.
        prompts: Names and templates.
    """
    loading = replace(source.loading, prompts=prompts)  # which is part of its identity
    if source.kind != "hf" or not isinstance(source.given, str):
        return replace(source, loading=loading, load=partial(_refuse, source.name))
    return replace(source, loading=loading, load=partial(loader(source.given)[1], loading))


def _refuse(name: str) -> NoReturn:
    raise TypeError(f"{name} has {LACKS}")
