"""Running transformers without a word of its own, and with every setting of it put back."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

LIBRARIES = ("transformers", "huggingface_hub")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing into a ranking's bar and from changing what is the user's.

    While it is open, transformers and huggingface_hub log only errors, show no bars, and give no
    Python warnings. After it, their levels, their bars, the warnings filters, and the state of
    torch's random numbers, which fresh weights draw from, are as before.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        with _only_errors(), _no_bars():
            yield


@contextmanager
def _only_errors() -> Iterator[None]:
    import transformers  # slow to import

    transformers.utils.logging.get_verbosity()  # the first call is what sets the level up
    logs = [logging.getLogger(name) for name in LIBRARIES]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.ERROR)
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


@contextmanager
def _no_bars() -> Iterator[None]:
    """The bars of transformers are switched together with huggingface_hub's, which has its own."""
    from huggingface_hub import utils as hub  # slow to import
    from transformers.utils import logging as own

    shown, of_hub = own.is_progress_bar_enabled(), not hub.are_progress_bars_disabled()
    own.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            own.enable_progress_bar()
        if of_hub:
            hub.enable_progress_bars()
        else:
            hub.disable_progress_bars()
