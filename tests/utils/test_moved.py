"""Old names of arguments and attributes go on working, with a warning that says the new ones."""

import warnings

import pytest
import tiny

from hubfast.tuning import Teachers, Trainer, TuningContext, cache, evaluate, predict
from hubfast.utils.moved import Former, renamed


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
    with pytest.warns(DeprecationWarning, match="is now images"):
        context = TuningContext([], pictures=images, labels=labels, steps=1)
    with pytest.warns(DeprecationWarning, match="is now images"):
        assert context.pictures is context.images is images
    with pytest.warns(DeprecationWarning, match="is now images"):
        found = evaluate(tiny.model(), pictures=images, labels=labels)
    assert len(found.logits) == len(images)
    with pytest.warns(DeprecationWarning, match="is now images"):
        assert len(predict(tiny.model(), pictures=images)) == len(images)
    with pytest.warns(DeprecationWarning, match="is now images"):
        assert cache(Teachers([tiny.model()]), pictures=images).count == 1
    with pytest.warns(match="is now images"), pytest.raises(ValueError, match="folder must say"):
        Trainer(progress=False).fit(tiny.model(), pictures=images, labels=labels, resume=True)


@pytest.mark.parametrize(
    ("former", "now"),
    [("all", "load_all"), ("once", "plain_features"), ("posterior", "features_and_logme")],
)
def test_former_methods_of_a_context(former, now):
    context = TuningContext([], *tiny.pictures(), steps=1)
    with pytest.warns(DeprecationWarning, match=f"TuningContext.{former} is now {now}$"):
        assert getattr(context, former) == getattr(context, now)
