"""Mixed precision on the CPU: every method trains, images are resized and targets kept exactly."""

from typing import get_args

import numpy as np
import pytest
import timm
import tiny
import torch

from hubfast.nn.resize import resized
from hubfast.ranking import rank
from hubfast.tuning import Method, Recipe, Trainer, tune
from hubfast.tuning.precision import fabric_of
from hubfast.utils.threads import one_torch_thread

HALF = [torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def one_thread():
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def hub():
    torch.manual_seed(0)
    models = {name: timm.create_model("test_resnet", num_classes=5) for name in "ab"}
    for model in models.values():
        model.pretrained_cfg = {**model.pretrained_cfg, "input_size": (3, 12, 12), "crop_pct": 1.0}
    return models


@pytest.fixture(scope="module")
def ranking(hub):
    return rank(hub, tiny.data(), progress=False)


def trainer(precision, epochs=1):
    recipe = Recipe(epochs=epochs, batch_size=12, lr=3e-3)
    return Trainer(recipe, accelerator="cpu", precision=precision, progress=False)


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_trains_where_images_are_resized_inside(hub, ranking, method):
    tuned = tune(
        hub, tiny.data(), method=method, top=2, ranking=ranking, size=(8, 8),
        trainer=trainer("bf16-mixed"),
    )  # fmt: skip
    assert all(np.isfinite(values).all() for values in tuned.history.terms.values())
    assert {p.dtype for p in tuned.module.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_images_are_resized_in_float32(dtype):
    images = torch.rand(2, 3, 9, 7).to(dtype)
    found = resized(images, (5, 6))
    assert found.dtype == dtype
    assert torch.equal(found, resized(images.float(), (5, 6)).to(dtype))
    assert resized(images, None) is images
    assert resized(images, (9, 7)) is images


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_inputs_come_as_they_are(precision):
    """Regression targets, above all: 1001 is 1000 in bfloat16."""
    seen = []

    class Model(torch.nn.Linear):
        def forward(self, x, targets):
            out = super().forward(x)
            seen.extend([x, targets, out])
            return out

    fabric = fabric_of("cpu", 1, "auto", precision)
    model = fabric.setup(Model(3, 2))
    x, targets = torch.full((4, 3), 1001.0), torch.tensor([1001.0, 1003.0])
    assert model(x, targets).dtype == torch.float32
    assert torch.equal(seen[0], x)
    assert torch.equal(seen[1], targets)
    assert seen[2].dtype == (torch.float32 if precision == "32-true" else torch.bfloat16)


def test_regression_of_large_targets_learns_as_in_full_precision(hub, ranking):
    images, labels = tiny.coloured()
    data = (list(images), 10_000.0 + labels)
    found = {
        precision: tune(
            hub, data, method="single", ranking=ranking, validation=0.0, test=data,
            trainer=trainer(precision, epochs=10),
        )
        for precision in ("32-true", "bf16-mixed")
    }  # fmt: skip
    exact, mixed = (run.evaluations["test"].value for run in found.values())
    assert exact > 0.3
    assert mixed == pytest.approx(exact, abs=0.15)


def test_float16_without_a_gpu_is_said():
    with pytest.warns(UserWarning, match="precision '16-mixed' needs a GPU; on the CPU 'bf16-m"):
        fabric = fabric_of("cpu", 1, "auto", "16-mixed")
    assert fabric._precision.precision == "bf16-mixed"
