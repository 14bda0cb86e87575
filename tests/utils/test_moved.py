"""Old names of arguments and attributes go on working, with a warning that says the new ones."""

import copy
import warnings
from dataclasses import dataclass, replace

import pytest
import tiny
import torch

from hubfast.tuning import (
    Recipe,
    TargetEncoder,
    Teachers,
    Trainer,
    TuningContext,
    cache,
    evaluate,
    predict,
)
from hubfast.tuning.objective import TaskLoss
from hubfast.tuning.pretrained import TransferModel
from hubfast.tuning.terms.b_tuning import BTuning
from hubfast.tuning.terms.kd import SoftTargets
from hubfast.utils.moved import Former, renamed, renamed_attributes


@renamed(pictures="images")
def count(images, *, twice=False):
    """Counts."""
    return len(images) * (1 + twice)


class Holder:
    pictures = Former("images")

    def __init__(self, images):
        self.images = images


def test_arguments_by_their_old_names():
    with pytest.warns(DeprecationWarning, match=r"count\(pictures=\.\.\.\) is now images=\.\.\.$"):
        assert count(pictures=[1, 2], twice=True) == 4
    with warnings.catch_warnings(action="error"):
        assert count([1]) == count(images=[1]) == 1
    assert count.__doc__ == "Counts."
    with pytest.raises(TypeError, match="unexpected keyword argument 'photos'"):
        count(photos=[])


def test_attributes_by_their_old_names():
    with pytest.warns(DeprecationWarning, match="Holder.pictures is now images$"):
        assert Holder(3).pictures == 3


def test_pictures_are_images_in_tuning():
    images, labels = tiny.pictures()
    with pytest.warns(DeprecationWarning, match="is now samples"):
        context = TuningContext([], pictures=images, labels=labels, steps=1)
    with pytest.warns(DeprecationWarning, match="is now samples"):
        assert context.pictures is context.samples is images
    with pytest.warns(DeprecationWarning, match="is now samples"):
        found = evaluate(tiny.model(), pictures=images, labels=labels)
    assert len(found.logits) == len(images)
    with pytest.warns(DeprecationWarning, match="is now samples"):
        assert len(predict(tiny.model(), pictures=images)) == len(images)
    with pytest.warns(DeprecationWarning, match="is now samples"):
        assert cache(Teachers([tiny.model()]), pictures=images).count == 1
    with pytest.warns(match="is now samples"), pytest.raises(ValueError, match="folder must say"):
        Trainer(progress=False).fit(tiny.model(), pictures=images, labels=labels, resume=True)


@pytest.mark.parametrize(
    ("former", "now"),
    [("all", "load_all"), ("once", "plain_features"), ("posterior", "features_and_logme")],
)
def test_former_methods_of_a_context(former, now):
    context = TuningContext([], *tiny.pictures(), steps=1)
    with pytest.warns(DeprecationWarning, match=f"TuningContext.{former} is now {now}$"):
        assert getattr(context, former) == getattr(context, now)


@renamed_attributes(rate="lr")
@dataclass(frozen=True)
class Pace:
    lr: float = 1.0
    steps: int = 1


def test_a_dataclass_by_its_old_names():
    with pytest.warns(DeprecationWarning, match=r"Pace.__init__\(rate=\.\.\.\) is now lr="):
        old = Pace(rate=2.0)
    assert old == Pace(2.0) == Pace(lr=2.0)
    with pytest.warns(DeprecationWarning, match="Pace.rate is now lr$"):
        assert old.rate == 2.0
    with pytest.warns(DeprecationWarning, match="is now lr"):
        assert replace(old, rate=3.0) == Pace(3.0)
    restored = Pace.__new__(Pace)
    restored.__setstate__({"rate": 4.0, "steps": 2})
    assert restored == Pace(4.0, 2)
    assert copy.deepcopy(restored) == restored


def test_std_and_lr_in_tuning():
    std = torch.tensor([2.0])
    now = pytest.warns(DeprecationWarning, match="deviation.* is now std|rate.* is now lr")
    with now:
        labels = TargetEncoder("regression", 1, ("y",), deviation=std)
    with now:
        assert labels.deviation is labels.std is std
    with now:
        assert Recipe(rate=0.5) == Recipe(lr=0.5)
    with now:
        assert TaskLoss(labels).deviation is std
    with now:
        model = TransferModel(tiny.Small(), 1, torch.rand(2, 3, *tiny.SIZE), deviation=(2, 2, 2))
    assert model.std.flatten().tolist() == [2, 2, 2]
    with now:
        assert SoftTargets(tiny.model(), deviation=std).std is std
    with now:
        term = BTuning(torch.ones(1, 6), tiny.model(), [torch.ones(1, 6)], [0.0], deviation=std)
    assert term.means.tolist() == [[0.5] * 6]
