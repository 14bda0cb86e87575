"""Images for tuning: prepared as the model wants them, each from its own size, in small batches."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import timm
import tiny
import torch
from PIL import Image
from torchvision.transforms import v2

from hubfast.data import as_target_data
from hubfast.hub import as_source
from hubfast.ranking import rank
from hubfast.tuning import (
    ImageDataset,
    Recipe,
    TargetEncoder,
    Trainer,
    TransferModel,
    channel_attention,
    tune,
)
from hubfast.tuning.framing import Framing, choose_framing
from hubfast.tuning.measure import speed
from hubfast.utils.threads import one_torch_thread

SHAPES = [(40, 100), (100, 40), (33, 33), (64, 48), (20, 24)]  # height, width


@pytest.fixture(autouse=True)
def one_thread():
    with one_torch_thread():
        yield


def image(height, width, seed=0):
    """Smooth noise, so that interpolations differ but little where they should not."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def model(side=32, **preprocessing):
    torch.manual_seed(0)
    found = timm.create_model("test_resnet", num_classes=5)
    found.pretrained_cfg = {
        **found.pretrained_cfg, "input_size": (3, side, side), **preprocessing
    }  # fmt: skip
    return found


def data(shapes=SHAPES, count=20):
    images = [image(*shapes[k % len(shapes)], seed=k) for k in range(count)]
    return as_target_data((images, np.arange(count) % 2), name="all shapes")


def scaled(found):
    return found.float() / 255 if found.dtype == torch.uint8 else found


@pytest.mark.parametrize(
    "preprocessing",
    [
        {"crop_pct": 0.875, "interpolation": "bicubic"},
        {"crop_pct": 1.0, "interpolation": "bilinear"},
        {"crop_pct": 0.9, "crop_mode": "squash"},
        {"crop_pct": 1.0, "crop_mode": "border"},
        {"crop_pct": 0.9, "input_size": (3, 24, 36)},
    ],
)
def test_an_image_is_what_the_models_own_transform_makes_of_it(preprocessing):
    source = as_source(model(**preprocessing))
    transform, framing = source.load().transform, Framing.of(source, data())
    mean, std = (torch.tensor(transform.config[key])[:, None, None] for key in ("mean", "std"))
    for shape in SHAPES:
        found = framing(image(*shape))
        assert found.dtype == torch.uint8
        assert found.shape[1:] == framing.size
        wanted = transform(image(*shape)) * std + mean
        torch.testing.assert_close(scaled(found), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("transform", "dtype"),
    [
        (
            v2.Compose([
                v2.Resize(20), v2.CenterCrop((16, 18)), v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.3] * 3, [0.2, 0.3, 0.4]),
            ]),
            torch.uint8,
        ),
        (
            v2.Compose([
                v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True),
                v2.Resize((16, 18), antialias=True), v2.Normalize([0.5] * 3, [0.5] * 3),
            ]),
            torch.float32,
        ),
    ],
)  # fmt: skip
def test_so_it_is_with_a_transform_that_is_not_timms(transform, dtype):
    framing = Framing.of(as_source(tiny.Small(), transform=transform), data())
    assert framing.size == (16, 18)
    mean, std = (torch.tensor(x)[:, None, None] for x in (framing.mean, framing.std))
    for shape in SHAPES:
        found = framing(image(*shape))
        assert found.dtype == dtype
        wanted = transform(image(*shape)) * std + mean
        torch.testing.assert_close(scaled(found), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("framing", [Framing.plain((33, 33)), Framing.plain((20, 24))])
def test_an_image_of_the_wanted_size_stays_as_it_is(framing):
    given = image(*framing.size)
    assert torch.equal(framing(given), v2.functional.pil_to_tensor(given))


def test_the_first_image_decides_nothing():
    whole = data()
    labels, source = TargetEncoder.of(whole), as_source(model(16))
    wanted = None
    for order in (torch.arange(20), torch.arange(20).flip(0), torch.arange(20).roll(1)):
        part = whole.subset(order)
        pictures = ImageDataset(part, labels, choose_framing(part, [source], None))
        found = pictures.batch(order.argsort().tolist())
        assert found.shape == (20, 3, 16, 16)
        assert wanted is None or torch.equal(found, wanted)
        wanted = found


def sources():
    transform = v2.Compose([v2.Resize((12, 40)), v2.ToTensor()])
    return {
        "small": as_source(model(16)),
        "large": as_source(model(32, crop_pct=0.8, interpolation="nearest")),
        "wide": as_source(tiny.Small(), transform=transform),
        "silent": as_source(tiny.Small()),
    }


@pytest.mark.filterwarnings("ignore:The transform `ToTensor")
def test_the_size_of_several_models_is_the_largest_that_one_wants():
    known = sources()

    def chosen(*names, size=None):
        return choose_framing(data(), [known[name] for name in names], size)

    assert chosen("small").size == (16, 16)
    assert chosen("small", "large", "wide").size == (32, 32)
    assert chosen("wide", "small").size == (12, 40)
    assert chosen("silent", "small").size == (16, 16)
    resized = chosen("large", "small", size=(8, 12))
    assert resized.size == (8, 12)
    assert resized.interpolation == "nearest"
    assert resized.transform.config["crop_pct"] == 0.8
    assert chosen("wide", size=(8, 8)).size == chosen("silent", size=(8, 8)).size == (8, 8)


def test_without_a_model_that_says_so_it_is_the_images_own_or_asked_for():
    silent = [as_source(tiny.Small())]
    assert choose_framing(data([(20, 24)]), silent, None).size == (20, 24)
    with pytest.raises(ValueError, match=r"size must be given: .* 5 sizes, such as \(20, 24\)"):
        choose_framing(data(), silent, None)


@pytest.mark.parametrize("side", [None, 10])
def test_a_transform_whose_size_depends_on_the_image(side):
    """Such as of torch.hub entry points: images of one size have one size after it, too."""
    steps = [to_float] if side is None else [v2.Resize(side), to_float]
    source = as_source(tiny.Small(), transform=v2.Compose(steps))
    target = data([(20, 24)])
    framing = choose_framing(target, [source], None)
    assert framing.size == ((20, 24) if side is None else (10, 12))
    wanted = source.load().transform(target[3])
    assert torch.equal(
        ImageDataset(target, TargetEncoder.of(target), framing).batch([3])[0], wanted
    )
    with pytest.raises(ValueError, match="size must be given"):
        choose_framing(data(), [source], None)
    assert choose_framing(data(), [source], (8, 8)).size == (8, 8)


def test_float_tensors_pass_as_they_are():
    samples = torch.rand(6, 3, 9, 7)
    target = as_target_data((list(samples), np.arange(6) % 2))
    labels, framing = TargetEncoder.of(target), choose_framing(target, [as_source(model())], None)
    assert torch.equal(ImageDataset(target, labels, framing).batch([4, 1]), samples[[4, 1]])
    with pytest.raises(ValueError, match=r"size is for images, .* tensors of size \(9, 7\)"):
        choose_framing(target, [as_source(model())], (8, 8))
    with pytest.raises(ValueError, match="augment is for images"):
        ImageDataset(target, labels, framing, augment="crop").batch([0])
    with pytest.raises(ValueError, match=r"data must give float tensors, .* got images"):
        ImageDataset(data(), labels, framing).batch([0])
    odd = as_target_data(([*samples[:5], torch.rand(3, 9, 8)], np.arange(6) % 2))
    with pytest.raises(ValueError, match=r"tensors of size \(9, 7\), sample 5 is \(3, 9, 8\)"):
        ImageDataset(odd, labels, framing).batch([5])


def test_random_crops_are_of_the_whole_image():
    """The ends of a wide image, which no centre crop holds, are seen in training."""
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, :25] = pixels[:, 75:] = 255
    target = as_target_data(([pixels, pixels], np.array([0, 1])))
    labels, framing = TargetEncoder.of(target), choose_framing(target, [as_source(model(32))], None)
    assert ImageDataset(target, labels, framing).batch([0]).max() == 0
    crops = ImageDataset(target, labels, framing, augment="crop")
    seen = torch.stack([crops[(epoch, 0)][0] for epoch in range(20)])
    assert seen.shape == (20, 3, 32, 32)
    assert (seen.amax((1, 2, 3)) > 0.9).sum() > 10


def trainer(batch_size=6, **options):
    recipe = Recipe(epochs=1, batch_size=batch_size, lr=3e-3)
    return Trainer(recipe, accelerator="cpu", progress=False, **options)


def test_a_tuned_model_knows_its_size():
    hub = {"small": model(12), "large": model(20)}
    target = data(count=12)
    ranking = rank(hub, target, progress=False)
    small_first = replace(
        ranking, models=tuple(sorted(ranking.models, key=lambda m: m.name != "small"))
    )
    small_first = replace(
        small_first,
        models=tuple(
            replace(m, score=float(-k)) for k, m in enumerate(small_first.models)
        ),
    )  # fmt: skip
    sizes = {"single": 12, "b-tuning": 12, "ensemble": 20, "hub-pathway": 20}
    for method, side in sizes.items():
        options = {"method": method, "top": 2, "ranking": small_first, "trainer": trainer()}
        assert tune(hub, target, **options).size == (side, side)
        assert tune(hub, target, **options, size=(8, 10)).size == (8, 10)


class Watched(tiny.Small):
    """Notes how many images it is given at once."""

    most = 0

    def forward(self, x):
        Watched.most = max(Watched.most, len(x))
        return super().forward(x)


@pytest.mark.parametrize("augment", ["none", "crop"])
@pytest.mark.parametrize("method", ["single", "b-tuning", "kd", "ensemble", "distill", "zoo"])
def test_no_pass_is_larger_than_a_batch_of_training(method, augment):
    target = tiny.data(90)
    hub = {name: as_source(Watched(), transform=to_float) for name in "ab"}
    ranking = rank(hub, target, progress=False)
    Watched.most = 0
    tune(
        hub, target, method=method, top=2, ranking=ranking, augment=augment, validation=0.4,
        test=tiny.data(50, seed=1), trainer=trainer(batch_size=7),
    )  # fmt: skip
    assert 2 <= Watched.most <= 8  # those of an epoch differ by one


def test_deltas_attention_takes_as_many_channels_at_once_as_fit(monkeypatch):
    torch.manual_seed(0)
    watched = TransferModel(Watched(), 3, torch.rand(2, 3, 8, 8))
    torch.nn.init.normal_(watched.head.weight)
    images, targets = torch.rand(5, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    wanted = channel_attention(watched, "conv", images, targets)
    seen = []
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, given: seen.append(len(given[0]))
    )
    monkeypatch.setattr(sys.modules["hubfast.tuning.terms.delta"], "PIXELS", 5 * 8 * 8 * 2 + 1)
    found = channel_attention(watched, "conv", images, targets)
    hook.remove()
    assert max(seen) == 10  # two channels of six
    torch.testing.assert_close(found, wanted)


def to_float(picture):
    return v2.functional.pil_to_tensor(picture) / 255


class OnePixel(torch.nn.Module):
    """BatchNorm behind pooling: one value per channel and image."""

    def __init__(self):
        super().__init__()
        self.pool, self.norm = torch.nn.AdaptiveAvgPool2d(1), torch.nn.BatchNorm2d(3)
        self.fc = torch.nn.Linear(3, 5)

    def forward(self, x):
        return self.fc(self.norm(self.pool(x)).flatten(1))


def test_batch_norm_of_a_single_value_is_said_in_words():
    hub = {"a": as_source(OnePixel(), transform=to_float)}
    options = {"method": "single", "ranking": rank(hub, tiny.data(), progress=False)}
    with pytest.raises(ValueError, match=r"batch_size must be larger, .* 1 of 8 x 8 pixels"):
        tune(hub, tiny.data(), trainer=trainer(batch_size=1), **options)
    # 25 samples in batches of 8: none of a single one is left over.
    tune(hub, tiny.data(25), trainer=trainer(batch_size=8), validation=0.0, **options)


def test_other_errors_pass_as_they_are():
    from hubfast.nn.batch_norm import single_values_named

    with pytest.raises(ValueError, match=r"^another$"), single_values_named(1, (2, 2)):
        raise ValueError("another")


def test_zoo_tuning_settles_batch_norm_in_batches_of_one():
    hub = {name: as_source(tiny.Small(), transform=to_float) for name in "ab"}
    options = {"method": "zoo-lite", "top": 2, "validation": 0.0}
    tuned = tune(hub, tiny.data(), trainer=trainer(batch_size=1), **options)
    norm = tuned.module.model.norm
    assert not torch.equal(norm.running_mean, torch.zeros(6))
    assert not torch.equal(norm.running_var, torch.ones(6))


@pytest.mark.parametrize(
    ("per_second", "said"),
    [
        (0.0, "0.0 steps/s"),
        (0.004, "250 s per step"),
        (0.031, "32.3 s per step"),
        (0.4, "2.5 s per step"),
        (1.0, "1.0 steps/s"),
        (12.34, "12.3 steps/s"),
        (1234.5, "1234 steps/s"),
    ],
)
def test_a_speed_is_never_rounded_to_nothing(per_second, said):
    assert speed(per_second, "step") == said
