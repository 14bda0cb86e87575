"""Modules and functions take inputs and give features of any number type."""

import numpy as np
import pytest
import timm
import torch
from lent_modules import COUNT, run
from torch import nn


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_inputs_have_the_type_of_the_weights(tensors, dtype):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)).to(dtype)
    features, logits = run(model, tensors[0])
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    assert features.dtype == logits.dtype == wanted
    with torch.no_grad():
        torch.testing.assert_close(features, model[:2](tensors[0].to(dtype)).to(wanted))
    assert {p.dtype for p in model.parameters()} == {dtype}


def test_a_timm_module_in_half_precision():
    model = timm.create_model("test_resnet", num_classes=3).eval()
    images = np.random.default_rng(0).integers(0, 255, (6, 20, 20, 3), dtype=np.uint8)
    expected = run(model, images, logits=True)
    found = run(model.bfloat16(), images, logits=True)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.1, atol=0.05)


def test_modules_with_their_own_autocast(tensors):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 8)

        @torch.autocast("cpu", torch.bfloat16)
        def forward(self, x):
            return self.layer(x).flatten(1).relu()

    assert run(Mixed(), tensors[0])[0].dtype == torch.float32


@pytest.mark.filterwarnings("ignore")  # torch.ao.quantization is deprecated
def test_quantised_modules_without_weights_of_floats(tensors):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    features, logits = run(quantised, tensors[0])
    assert (features.shape, logits.shape) == ((COUNT, 5), (COUNT, 3))
    torch.testing.assert_close(features, model[:3](tensors[0]), rtol=0.05, atol=0.05)


def test_modules_without_weights(tensors):
    features, logits = run(nn.AdaptiveAvgPool2d(1), tensors[0])
    torch.testing.assert_close(features, tensors[0].mean((2, 3)))
    assert logits is None


@pytest.mark.parametrize("kind", [np.uint16, np.int64, np.bool_, np.float16, ">f4", np.longdouble])
def test_functions_return_any_numbers(tensors, kind):
    values = (np.random.default_rng(0).random((COUNT, 4)) * 9).astype(kind)
    given = iter([values[:4], values[4:8], values[8:]])
    features, _ = run(lambda x: next(given), tensors[0])
    torch.testing.assert_close(
        features.double(), torch.from_numpy(values.astype(np.float64)), rtol=1e-6, atol=0
    )


def test_complex_features_are_refused(tensors):
    with pytest.raises(TypeError, match=r"features must hold real numbers, got torch.complex64"):
        run(lambda x: torch.fft.fft(x.flatten(1)), tensors[0])
