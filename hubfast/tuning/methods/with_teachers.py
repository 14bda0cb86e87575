"""Methods whose student learns from several models, of which nothing is left in the end."""

from torch import nn

from hubfast.tuning.methods.ensemble import Ensemble
from hubfast.tuning.methods.method import Options
from hubfast.tuning.objective import Regularised
from hubfast.tuning.setting import Setting
from hubfast.tuning.teachers import Teachers
from hubfast.tuning.terms.b_tuning import BTuning
from hubfast.tuning.terms.kd import KD, SoftTargets


def build_kd(setting: Setting, options: Options) -> Regularised:
    """The student with the distance from all models' features."""
    model, teachers = setting.load(), setting.teachers()
    widths = [setting.posterior(k)[1].means.shape[1] for k in range(len(setting.sources))]
    term = KD(model.width, widths, teachers, options.weight / model.width)
    return Regularised(model, setting.task, {"kd": term})


def build_b_tuning(setting: Setting, options: Options) -> Regularised:
    """The student with the distance from what all models predict by LogME's posterior means."""
    model, teachers = setting.load(), setting.teachers()
    fits = [setting.posterior(k)[1] for k in range(len(setting.sources))]
    term = BTuning(
        fits[0].means,
        teachers,
        [fit.means for fit in fits],
        [fit.score for fit in fits],
        weight=options.weight,
        deviation=setting.labels.deviation,
    )
    return Regularised(model, setting.task, {"b_tuning": term})


def build_distill(setting: Setting, options: Options) -> Regularised:
    """The student with the distance from the predictions of an ensemble that is tuned before it."""
    ensemble = Ensemble(setting.all(), setting.task)
    options.fit(ensemble)
    teachers: nn.Module = Teachers([ensemble], "logits")
    if setting.images.augment is None:
        teachers = setting.cached(Teachers([ensemble], "logits"), setting.images)
    term = SoftTargets(teachers, options.weight, deviation=setting.labels.deviation)
    return Regularised(setting.load(), setting.task, {"distill": term})
