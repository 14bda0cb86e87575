"""Features and logits of torch.export programs are told apart by structure."""

import warnings

import pytest
import torch
from torch import nn

from hubfast import as_source, as_target_data
from hubfast.hub import Extraction

COUNT = 5
IMAGES = torch.rand(COUNT, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Ended(nn.Module):
    """A body that makes maps of width 6, and an end."""

    def __init__(self, end, channels_last=False):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU())
        self.fc, self.point = nn.Linear(6, 5), nn.Conv2d(6, 5, 1)
        self.norm, self.other = nn.BatchNorm1d(6), nn.Linear(6, 5)
        self.register_buffer("scale", torch.linspace(1, 2, 5))
        self.end, self.channels_last = end, channels_last

    def forward(self, x):
        return self.end(self, self.body(x.permute(0, 3, 1, 2) if self.channels_last else x))


def mean(maps):
    return maps.mean((2, 3))


def tokens(maps):
    return maps.flatten(2).transpose(1, 2)


def both(module, averages):
    return module.fc(averages), module.other(averages)


def run(path, module, example, images):
    free = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module.eval(), (example,), dynamic_shapes=free)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)
    model = as_source(str(path), trust=True).load()
    data = as_target_data((images, torch.arange(COUNT) % 2))
    batches = list(model.batches(data, Extraction(batch_size=2, logits=True)))
    logits = [b.logits for b in batches]
    features = torch.cat([b.features for b in batches])
    return features, None if logits[0] is None else torch.cat(logits), model.notes


CLASSIFIERS = {
    "linear": (lambda m, x: m.fc(mean(x)), True),
    "temperature": (lambda m, x: (m.fc(mean(x)) / 3 * m.scale).softmax(1), True),
    "log_softmax": (lambda m, x: m.fc(mean(x)).log_softmax(1), True),
    "reshaped": (lambda m, x: m.fc(mean(x)).reshape(-1, 5, 1).squeeze(2), True),
    "named_outputs": (lambda m, x: {"maps": x, "logits": m.fc(mean(x)), "averages": mean(x)}, True),
    "best": (lambda m, x: tuple(m.fc(mean(x)).topk(2)), True),
    "convolution": (lambda m, x: m.point(nn.functional.adaptive_avg_pool2d(x, 1)).flatten(1), True),
    "convolution_averaged": (lambda m, x: mean(m.point(x).relu()).softmax(1), True),
    "tokens_averaged": (lambda m, x: m.fc(tokens(x)).mean(1), True),
    "places": (lambda m, x: m.point(x).softmax(1), False),
    "sigmoid": (lambda m, x: m.fc(mean(x)).sigmoid(), False),
    "two_of_the_same": (lambda m, x: both(m, mean(x)), False),
}


@pytest.mark.parametrize("end", CLASSIFIERS)
def test_what_enters_the_classifier_is_the_features(tmp_path, end):
    build, has_logits = CLASSIFIERS[end]
    module = Ended(build)
    features, logits, _ = run(tmp_path / "m.pt2", module, IMAGES[:2], IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(features, mean(module.body(IMAGES)))
    assert (logits is not None) == has_logits


EMBEDDINGS = {
    "averages": lambda m, x: mean(x),
    "maps": lambda m, x: x,
    "maps_with_channels_last": lambda m, x: x.permute(0, 2, 3, 1),
    "tokens": lambda m, x: tokens(x),
    "normalised": lambda m, x: m.norm(mean(x)),
}


@pytest.mark.parametrize("end", EMBEDDINGS)
def test_without_a_classifier_the_output_is_the_features_and_the_row_says_so(tmp_path, end):
    module = Ended(EMBEDDINGS[end])
    features, logits, notes = run(tmp_path / "m.pt2", module, IMAGES[:2], IMAGES)
    assert logits is None
    with torch.no_grad():
        expected = mean(module.body(IMAGES))
        expected = module.norm(expected) if end == "normalised" else expected
    torch.testing.assert_close(features, expected)
    assert notes[0].startswith("no classifier seen in the file: the features are its output ")


def test_classes_whose_layer_is_not_found_do_not_pass_for_features(tmp_path):
    module = Ended(lambda m, x: (m.fc(mean(x)) + m.other(mean(x))).softmax(1))
    with pytest.raises(ValueError, match=r"is classes, and the linear layer .* was not found"):
        run(tmp_path / "m.pt2", module, IMAGES[:2], IMAGES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_with_their_channels_last_and_number_types(tmp_path, dtype):
    module = Ended(lambda m, x: m.fc(mean(x)), channels_last=True).to(dtype)
    last = IMAGES.permute(0, 2, 3, 1).contiguous()
    features, logits, _ = run(tmp_path / "m.pt2", module, last[:2].to(dtype), IMAGES)
    with torch.no_grad():
        expected = mean(module.body(IMAGES.to(dtype))).float()
    torch.testing.assert_close(features, expected, atol=1e-2, rtol=1e-2)
    assert (features.dtype, logits.dtype) == (torch.float32, torch.float32)


def test_programs_of_whole_numbers_get_pixels(tmp_path):
    pixels = (IMAGES * 255).round().to(torch.uint8)
    module = Ended(lambda m, x: m.fc(mean(x)))
    module.body.insert(0, Float())
    given = pixels.permute(0, 2, 3, 1).numpy()
    features, _, _ = run(tmp_path / "m.pt2", module, pixels[:2], given)
    with torch.no_grad():
        torch.testing.assert_close(features, mean(module.body(pixels)), rtol=1e-4, atol=1e-3)


class Float(nn.Module):
    def forward(self, x):
        return x.float()
