"""Modules as they were found: whatever hubfast changes in a module, it changes back."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Puts modules in eval mode while it is open, and every submodule back in its own mode after.

    A frozen BatchNorm inside a training model stays frozen. The modes come back after an exception
    and after Ctrl-C, too.
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        # Parents come first. `train` is called and not only the flag set, because modules may do
        # more in it, such as to merge low-rank weights; it then leaves children in other modes.
        for part, training in modes:
            if part.training != training:
                part.train(training)
        for part, training in modes:
            part.training = training
