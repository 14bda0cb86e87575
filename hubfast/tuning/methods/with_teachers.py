"""Methods whose student learns from several models, of which nothing is left in the end."""

from torch import nn

from hubfast.tuning.context import TuningContext
from hubfast.tuning.methods.ensemble import Ensemble
from hubfast.tuning.methods.method import Options
from hubfast.tuning.objective import Regularised
from hubfast.tuning.teachers import Teachers
from hubfast.tuning.terms.b_tuning import BTuning
from hubfast.tuning.terms.kd import KD, SoftTargets


def build_kd(context: TuningContext, options: Options) -> Regularised:
    """The student with the distance from all models' features."""
    model, teachers = context.load(), context.teachers()
    widths = [context.features_and_logme(k)[1].means.shape[1] for k in range(len(context.sources))]
    term = KD(model.width, widths, teachers, options.weight / model.width)
    return Regularised(model, context.task, {"kd": term})


def build_b_tuning(context: TuningContext, options: Options) -> Regularised:
    """The student with the distance from what all models predict by LogME's posterior means."""
    model, teachers = context.load(), context.teachers()
    fits = [context.features_and_logme(k)[1] for k in range(len(context.sources))]
    term = BTuning(
        context.means_of(model),
        teachers,
        [fit.means for fit in fits],
        [fit.score for fit in fits],
        weight=options.weight,
        std=context.labels.std,
    )
    return Regularised(model, context.task, {"b_tuning": term})


def build_distill(context: TuningContext, options: Options) -> Regularised:
    """The student with the distance from the predictions of an ensemble that is tuned before it."""
    ensemble = Ensemble(context.load_all(), context.task)
    options.fit(ensemble)
    teachers: nn.Module = Teachers([ensemble], "logits")
    if context.samples.augment is None:
        teachers = context.cached(Teachers([ensemble], "logits"), context.samples)
    term = SoftTargets(teachers, options.weight, std=context.labels.std)
    return Regularised(context.load(), context.task, {"distill": term})
