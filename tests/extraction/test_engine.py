"""Each sample is read once for all models, in any memory, with the same result."""

import numpy as np
import pytest
import torch
from counted_models import hub_of, numbers, problem
from PIL import Image

import hubfast
from hubfast import as_source, as_target_data
from hubfast.data.images import ImageFiles
from hubfast.hub import Network, Source
from hubfast.hub.preprocessing import TimmTransform

COUNT = 300


class Counting(ImageFiles):
    """Image files that count how often each is opened."""

    def __init__(self, images):
        super().__init__(images)
        self.opened = np.zeros(len(images), int)

    def __getitem__(self, index):
        if not isinstance(index, slice):
            self.opened[index] += 1
        return super().__getitem__(index)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for i in range(COUNT):
        pixels = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        pixels[..., 0] //= 1 + i % 3  # the class can be seen
        Image.fromarray(pixels).save(path / f"{i}.png")
    return path


@pytest.fixture
def data(folder):
    from dataclasses import replace

    found = as_target_data(([folder / f"{i}.png" for i in range(COUNT)], np.arange(COUNT) % 3))
    return replace(found, samples=Counting(found.samples.images))


class Means(torch.nn.Module):
    """Features are means over stripes of the image."""

    def __init__(self, stripes):
        super().__init__()
        self.stripes = stripes

    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images, (self.stripes, 1)).flatten(1)


def framed(side, stripes, loads=None):
    """A source of a module that frames images as timm does, loaded anew each time."""
    config = {"input_size": (3, side, side), "mean": (0.5,) * 3, "std": (0.2,) * 3}
    transform = TimmTransform({"interpolation": "bilinear", "crop_pct": 1.0, **config})

    def load():
        if loads is not None:
            loads.append(side)
        return Network(Means(stripes), transform)

    return Source(f"{side}/{stripes}", load)


def opaque(images):
    return np.array([np.asarray(image).mean((0, 1)) for image in images])


def rank(hub, data, **options):
    return hubfast.rank(hub, data, cache=False, progress=False, **options)


HUB = [(16, 1), (8, 2), (16, 3), (12, 2)]


def hub(loads=None, *, with_opaque=True):
    sources = [framed(*each, loads) for each in HUB]
    return [*sources, as_source(opaque, name="opaque")] if with_opaque else sources


@pytest.mark.parametrize("with_opaque", [True, False])
def test_each_image_is_read_once(data, with_opaque):
    found = rank(hub(with_opaque=with_opaque), data, batch_size=50)
    assert len(found.scored) == len(HUB) + with_opaque
    # The later blocks are read when it is known how all models frame images.
    assert (data.samples.opened == 1).all()


@pytest.mark.parametrize("memory", ["1K", "200K", "1G"])
def test_memory_changes_no_bit(data, memory):
    plain = rank(hub(), data)
    data.samples.opened[:] = 0
    loads = []
    found = rank(hub(loads), data, memory=memory)
    assert numbers(found) == numbers(plain)
    if memory == "1G":
        assert (data.samples.opened == 1).all()
    assert len(loads) >= len(HUB)


@pytest.mark.parametrize("memory", ["200K", "1G"])
def test_reading_ahead_changes_no_bit(data, monkeypatch, memory):
    """As a ranking on a GPU does."""
    from hubfast.extraction.feed import Feed

    plain = rank(hub(), data)
    data.samples.opened[:] = 0
    monkeypatch.setattr(
        "hubfast.ranking.session.Feed", lambda *rest, **how: Feed(*rest, **{**how, "ahead": True})
    )
    found = rank(hub(), data, memory=memory)
    assert numbers(found) == numbers(plain)
    assert found.notes == plain.notes
    if memory == "1G":
        assert (data.samples.opened == 1).all()


def test_models_alone_give_what_they_give_together(data):
    together = {row[0]: row[1] for row in numbers(rank(hub(), data))}
    for source in hub():
        ((name, score, *_),) = numbers(rank([source], data))
        assert score == together[name]


def test_a_model_that_fails_later_loses_nobody(data):
    seen = []

    def late(images):
        seen.append(len(images))
        if sum(seen) > 150:
            raise RuntimeError("the third block is cursed")
        return opaque(images)

    found = rank([framed(8, 2), as_source(late, name="late"), framed(16, 1)], data, batch_size=64)
    assert {m.name: m.error for m in found.failed} == {
        "late": "RuntimeError: the third block is cursed"
    }
    assert len(found.scored) == 2


def test_too_many_unreadable_samples_are_no_fault_of_a_model(tmp_path):
    for i in range(40):
        (tmp_path / f"{i}.png").write_bytes(b"nothing")
    data = as_target_data(([tmp_path / f"{i}.png" for i in range(40)], np.arange(40) % 2))
    with pytest.raises(ValueError, match="40 of 40 samples cannot be read"):
        rank([framed(8, 1)], data)


def test_interrupted_before_any_model_was_done(data):
    """All are ranked by the first block, which is said."""
    count = [0]

    def slow(images):
        count[0] += len(images)
        if count[0] > 128:
            raise KeyboardInterrupt
        return opaque(images)

    found = rank([as_source(slow, name="slow"), *hub(with_opaque=False)], data, batch_size=32)
    assert found.interrupted
    assert (len(found.scored), found.samples) == (len(HUB) + 1, 128)
    assert any("first 128 of 300 samples" in note for note in found.notes)


def test_scores_that_need_fewer_samples_read_no_more():
    samples, targets, features = problem(3000)
    sources, calls = hub_of(features)
    found = rank(sources, (samples, targets), metric="knn")
    assert {name: sum(each) for name, each in calls.items()} == dict.fromkeys(calls, 2048)
    assert found.samples == 2048
    sources, calls = hub_of(features)
    rank(sources, (samples, targets), metrics=["knn", "logme"])
    assert {sum(each) for each in calls.values()} == {3000}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory": "plenty"}, "memory must be a size such as 500M or 2G, got 'plenty'"),
        ({"memory": 0}, "memory must be a size"),
        ({"budget": "0"}, "budget must be a length of time such as 90s, 10m or 1h, got '0'"),
        ({"budget": "soon"}, "budget must be a length of time"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"precision": "fp8"}, r"precision must be one of \('fp32', 'bf16'\), got 'fp8'"),
        ({"race": True, "confidence": 1.0}, "confidence must be between 0 and 1, got 1.0"),
        ({"race": True, "top": 0}, "top must be at least 1, got 0"),
        ({"race": True, "tolerance": -1.0}, "tolerance must be finite and at least 0"),
        ({"race": True, "metrics": ["logme", "knn"]}, "a race needs one metric"),
        ({"race": True, "metric": "parameters"}, "nothing to race by 'parameters'"),
    ],
)
def test_wrong_arguments_are_found_before_any_model_runs(data, arguments, message):
    loads = []
    with pytest.raises(ValueError, match=message):
        rank(hub(loads), data, **arguments)
    assert not loads


def test_bfloat16():
    _, targets, _ = problem(300)
    torch.manual_seed(0)
    images = torch.rand(300, 3, 8, 8) + torch.from_numpy(targets)[:, None, None, None] / 4
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten())
    plain, half = (
        rank([as_source(body, name="body")], (images, targets), precision=precision)
        for precision in ("fp32", "bf16")
    )
    assert plain[0].score != half[0].score
    assert half[0].score == pytest.approx(plain[0].score, abs=0.02)


def test_a_torch_dataset_is_read_once_also_to_be_hashed(tmp_path):
    class Squares(torch.utils.data.Dataset):
        targets = None

        def __init__(self):
            self.reads = []

        def __len__(self):
            return 200

        def __getitem__(self, index):
            self.reads.append(index)
            return Image.new("RGB", (8, 8), (index, 0, 0)), index % 2

    squares = Squares()
    data = as_target_data(squares, progress=False)
    squares.reads.clear()
    calls = []

    def shade(images):
        calls.append(len(images))
        return opaque(images)

    hub = [as_source(shade, name="shade", key="shade"), as_source(opaque, name="other", key="o")]
    first, again = (hubfast.rank(hub, data, cache_dir=tmp_path, progress=False) for _ in range(2))
    assert numbers(first) == numbers(again)
    assert sum(calls) == 200
    assert sorted(squares.reads) == sorted([*range(200)] * 2)
