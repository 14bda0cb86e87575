"""Samples in an order of their own, so that no score hangs on the order in which they came.

Sums differ in their last digits with the order of their terms, folds and starting points of a fit
are drawn by position. Sorted by what they hold, the same samples give the same digits.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

import numpy as np
import torch
from torch import Tensor

from hubfast.scores.fitted import SampleScore
from hubfast.scores.inputs import as_features, as_tensor, check_finite
from hubfast.scores.left_out import groups_of

Options = ParamSpec("Options")
Fit = Callable[Concatenate[Any, Any, Options], SampleScore]


def own_order(features: Tensor, targets: Tensor) -> Tensor:
    """Positions of the samples, sorted by features and then targets, `(n,)` int64 on the CPU.

    Only samples that are the same in both are left in the order in which they came. Round-off in
    the features seldom changes the order, as the leading bytes decide.
    """
    count, width = features.shape
    columns = targets.reshape(count, -1)
    keys = np.empty((count, width + columns.shape[1]), dtype=">f8")
    keys[:, :width] = features.double().cpu().numpy()
    keys[:, width:] = columns.double().cpu().numpy()
    keys += 0.0  # -0.0 equals 0.0
    rows = keys.view(np.dtype((np.void, keys.itemsize * keys.shape[1]))).ravel()
    return torch.from_numpy(np.argsort(rows, kind="stable"))


def order_free(fit: Fit[Options]) -> Fit[Options]:
    """Makes `fit(features, targets, ...)` see the samples in their own order.

    The influences come back in the caller's order. A fit that takes `groups` is given those of the
    samples by their positions in the caller's order, which all models share. `clusters` of the
    samples, `(n,)`, are then in one group each, and given to a fit that takes them, too.
    """

    known = inspect.signature(fit).parameters

    @functools.wraps(fit)
    def ordered(
        features: Any, targets: Any, *rest: Options.args, **options: Options.kwargs
    ) -> SampleScore:
        clusters: Any = options.pop("clusters", None)
        x, y = as_features(features), as_tensor(targets, "targets")
        if not y.ndim or len(y) != len(x):
            return fit(features, targets, *rest, **options)  # refuses them
        check_finite(y, "targets")
        order = own_order(x, y)
        if "groups" in known:
            given: Any = options.get("groups")
            drawn = groups_of(len(x), clusters=clusters) if given is None else given
            options["groups"] = drawn[order]
        if "clusters" in known and clusters is not None:
            options["clusters"] = clusters[order]
        found = fit(x[order.to(x.device)], y[order.to(y.device)], *rest, **options)
        influences = torch.empty_like(found.influences)
        influences[order.to(influences.device)] = found.influences
        return SampleScore(found.score, influences)

    return ordered
