"""Modules give pooled features and logits: maps, tokens, and ends of classifiers."""

import numpy as np
import pytest
import timm
import torch
from lent_modules import COUNT, body, run
from torch import nn
from torch.nn import functional as F

from hubfast import rank

MAPS = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)


class TestMapsAndTokens:
    @pytest.mark.parametrize(
        ("out", "expected"),
        [
            (MAPS, MAPS.mean((2, 3))),
            (MAPS[:, :, :1, :1], MAPS[:, :, 0, 0]),
            (MAPS[:, :, 0], MAPS[:, :, 0].mean(1)),  # tokens (b, 3, 5)
            (MAPS[:, :, None], MAPS.mean((2, 3))),  # of a video
            (MAPS[:, :, 0, 0], MAPS[:, :, 0, 0]),
        ],
        ids=["maps", "pooled maps", "tokens", "video", "features"],
    )
    @pytest.mark.parametrize("kind", ["function", "module", "numpy"])
    def test_are_averaged(self, out, expected, kind):
        class Gives(nn.Module):
            def forward(self, x):
                return out

        model = {"function": lambda x: out, "module": Gives(), "numpy": lambda x: out.numpy()}[kind]
        torch.testing.assert_close(run(model, torch.rand(2, 3, 2, 2))[0], expected)

    def test_signals_keep_their_channels(self):
        signals = torch.rand(4, 2, 9)
        for model in (
            nn.Sequential(nn.Conv1d(2, 5, 3), nn.BatchNorm1d(5), nn.ReLU()),
            nn.Sequential(nn.Conv1d(2, 5, 3), nn.MaxPool1d(2)),
        ):
            with torch.no_grad():
                expected = model.eval()(signals).mean(2)
            torch.testing.assert_close(run(model, signals)[0], expected)

    def test_places_in_one_axis(self):
        model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(2))
        images = torch.rand(4, 3, 5, 5)
        with torch.no_grad():
            torch.testing.assert_close(run(model, images)[0], model(images).mean(2))

    def test_linear_over_tokens(self):
        model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3))
        tokens = torch.rand(5, 7, 4)
        features, logits = run(model, tokens)
        with torch.no_grad():
            torch.testing.assert_close(features, model[0](tokens).mean(1))
            torch.testing.assert_close(logits, model(tokens).mean(1))

    def test_unpooled_timm_models(self):
        images = np.random.default_rng(0).integers(0, 255, (3, 20, 20, 3), dtype=np.uint8)
        model = timm.create_model("test_resnet", num_classes=0, global_pool="").eval()
        pooled = timm.create_model("test_resnet", num_classes=0).eval()
        pooled.load_state_dict(model.state_dict())
        features, logits = run(model, images, logits=True)
        torch.testing.assert_close(features, run(pooled, images)[0])
        assert logits is None  # a model without a classifier has none

    def test_maps_with_the_channels_last(self):
        class Last(nn.Module):
            output_fmt = "NHWC"
            num_classes = 0

            def forward_features(self, x):
                return x

            def forward_head(self, x, pre_logits=False):
                return x

        images = torch.rand(4, 5, 6, 3)
        torch.testing.assert_close(run(Last(), images)[0], images.mean((1, 2)))


class Ending(nn.Module):
    """Features of width 4, a classifier of 3 classes, and what follows it."""

    def __init__(self, end, classifier=None):
        super().__init__()
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten(), nn.Linear(6, 4))
        self.fc, self.end = classifier or nn.Linear(4, 3), end

    def inside(self, x):
        return self.body(x).relu()

    def forward(self, x):
        return self.end(self.fc(self.inside(x)))


class Applied(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def softmax_of_doubles(x):
    return F.softmax(x, -1).double()


class OneByOne(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.conv(x[:, :, None, None]).flatten(1)


class TestClassifiers:
    @pytest.mark.parametrize(
        "end",
        [nn.Identity(), nn.Softmax(1), nn.LogSoftmax(1), nn.Dropout(), Applied(softmax_of_doubles)],
        ids=["identity", "softmax", "log-softmax", "dropout", "function"],
    )
    @pytest.mark.parametrize("classifier", [None, OneByOne()], ids=["linear", "convolution"])
    def test_what_follows_them_is_undone(self, tensors, end, classifier):
        model = Ending(end, classifier).eval()
        features, logits = run(model, tensors[0])
        with torch.no_grad():
            torch.testing.assert_close(features, model.inside(tensors[0]))
            torch.testing.assert_close(logits, model.fc(model.inside(tensors[0])))

    @pytest.mark.parametrize("end", [nn.AdaptiveAvgPool2d(1), Applied(lambda x: x.mean((2, 3)))])
    def test_convolutions_that_are_averaged(self, tensors, end):
        model = nn.Sequential(body(), nn.Conv2d(6, 4, 1), end, nn.Flatten()).eval()
        features, logits = run(model, tensors[0])
        with torch.no_grad():
            torch.testing.assert_close(features, model[0](tensors[0]).mean((2, 3)))
            torch.testing.assert_close(logits, model(tensors[0]))

    @pytest.mark.parametrize("kernel", [1, 3])
    def test_convolutions_that_are_not(self, tensors, kernel):
        model = nn.Sequential(body(), nn.Conv2d(6, 4, kernel)).eval()
        features, logits = run(model, tensors[0])
        with torch.no_grad():
            torch.testing.assert_close(features, model(tensors[0]).mean((2, 3)))
        assert logits is None

    def test_scaled_logits_are_scaled(self, tensors):
        model = Ending(Applied(lambda x: (20.0 * x).softmax(1))).eval()
        _, logits = run(model, tensors[0])
        with torch.no_grad():
            torch.testing.assert_close(logits, 20 * model.fc(model.inside(tensors[0])))

    def test_sigmoids_have_no_source_classes(self, tensors):
        features, logits = run(Ending(nn.Sigmoid()).eval(), tensors[0])
        assert (features.shape, logits) == ((COUNT, 4), None)

    @pytest.mark.parametrize("end", [nn.ReLU(), nn.ReLU(inplace=True), nn.Hardtanh(inplace=True)])
    def test_other_layers_end_in_features(self, tensors, end):
        model = Ending(end).eval()
        features, logits = run(model, tensors[0])
        with torch.no_grad():
            torch.testing.assert_close(features, model(tensors[0]))
        assert logits is None

    @pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
    def test_wrapped_models(self, tensors, wrap):
        model = Ending(nn.Softmax(1)).eval()
        features, logits = run(wrap(model), tensors[0])
        with torch.no_grad():
            torch.testing.assert_close(features, model.inside(tensors[0]))
        assert logits.shape == (COUNT, 3)

    @pytest.mark.filterwarnings("ignore")  # torch.jit.script is deprecated
    def test_torchscript_says_that_it_hides_them(self, tensors):
        script = torch.jit.script(Ending(nn.Identity()))
        row = rank({"script": script}, tensors, progress=False)[0]
        assert (row.width, row.error) == (3, None)
        assert "TorchScript hides its layers" in row.note
