"""A block: samples are read once, framed as every model's own transform does, to the last bit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from hubfast import as_target_data
from hubfast.data.block import Block
from hubfast.data.images import ImageFiles
from hubfast.hub.preprocessing import KNOWN, TimmTransform

COUNT = 5


class Counting(ImageFiles):
    """Image files that count how often they are opened."""

    opened = 0

    def __getitem__(self, index):
        if not isinstance(index, slice):
            self.opened += 1
        return super().__getitem__(index)


@pytest.fixture
def data(tmp_path):
    generator = np.random.default_rng(0)
    for i in range(COUNT):
        pixels = generator.integers(0, 256, (37 + i, 52 - i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    files = Counting([tmp_path / f"{i}.png" for i in range(COUNT)])
    names = [f"{i}.png" for i in range(COUNT)]
    found = as_target_data(([Image.new("RGB", (4, 4))] * COUNT, np.arange(COUNT) % 2))
    return replace(found, samples=files, names=names)


def transform(side=24, **config):
    chosen = {"input_size": (3, side, side), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
    return TimmTransform({"interpolation": "bilinear", "crop_pct": 1.0, **chosen, **config})


def distinct_configs():
    """One of timm's configurations for each way to resize, crop and normalise."""
    found = {}
    for name in timm.list_models(pretrained=True):
        config = timm.models.get_pretrained_cfg(name).to_dict()
        config = {key: config[key] for key in KNOWN if config.get(key) is not None}
        if config["input_size"][0] in (1, 3) and max(config["input_size"]) <= 256:
            found.setdefault(repr(sorted(config.items())), config)
    return list(found.values())


def test_all_geometries_of_timm_to_the_last_bit(data):
    transforms = [TimmTransform(config) for config in distinct_configs()]
    assert len({one.geometry for one in transforms}) > 30
    block = Block(data)
    block.read(transforms, room=0)
    assert data.samples.opened == COUNT
    for own in transforms:
        pixels = block.pixels(own)
        assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (COUNT, *own.shape))
        expected = torch.stack([own(data[i]) for i in range(2)])
        assert torch.equal(own.normalised(pixels[:2]), expected)


def test_samples_are_read_once_for_all_models(data):
    block = Block(data)
    block.read([transform()])
    block.pixels(transform(16))  # a model that comes later
    block.pixels(transform(mean=(0.0, 0.0, 0.0)))  # of the geometry of the first
    assert [block[i].size for i in range(COUNT)] == [(52 - i, 37 + i) for i in range(COUNT)]
    assert data.samples.opened == COUNT


def test_geometries_are_equal_also_behind_json():
    config = json.loads(json.dumps(transform().config))
    assert TimmTransform(config).geometry == transform().geometry
    assert TimmTransform({**config, "crop_pct": 0.9}).geometry != transform().geometry


def test_what_was_dropped_is_read_again(data):
    block = Block(data)
    block.read([transform()], room=0)
    before = block.pixels(transform()).clone()
    assert block.holds(transform())
    assert not block.holds(transform(16))
    block.drop()
    assert not block.holds(transform())
    assert torch.equal(block.pixels(transform()), before)
    assert data.samples.opened == 2 * COUNT


def test_unreadable_samples_are_left_out_everywhere(data, tmp_path):
    (tmp_path / "1.png").write_bytes(b"no image")
    block = Block(data)
    block.read([transform()])
    assert len(block) == COUNT - 1
    assert block.rows().tolist() == [0, 2, 3, 4]
    assert block.targets.tolist() == [0, 0, 1, 0]
    assert [bool(one.fault) for one in block.seen] == [False, True, False, False, False]
    expected = torch.stack([transform().pixels(data[i]) for i in (0, 2, 3, 4)])
    assert torch.equal(block.pixels(transform()), expected)
    block.drop()
    assert block[1].size == (50, 39)


def test_one_that_cannot_be_framed_fails_for_its_model_alone(data):
    class Broken(TimmTransform):
        def pixels(self, image):
            raise RuntimeError("out of ideas")

    broken = Broken({**transform(16).config})
    block = Block(data)
    block.read([broken, transform()])
    assert len(block.pixels(transform())) == COUNT
    with pytest.raises(RuntimeError, match="out of ideas"):
        block.pixels(broken)


def test_texts_and_numbers_are_no_images():
    for samples in (["a", "b", "cc"], torch.rand(3, 4)):
        block = Block(as_target_data((samples, [0, 1, 0]), task="classification"))
        block.read([transform()], room=0)
        assert not block.images
        assert [len(block[i]) for i in range(3)] == [len(one) for one in samples]
        assert block.holds(transform())


@pytest.mark.parametrize("workers", [0, 2])
def test_other_data_sets_by_worker_processes(workers):
    class Squares(torch.utils.data.Dataset):
        targets = None

        def __len__(self):
            return 6

        def __getitem__(self, index):
            if index == 4:
                raise OSError("gone")
            return Image.new("L", (8, 8), 10 * index), index % 2

    data = as_target_data((list(range(6)), [0, 1] * 3), task="classification")
    block = Block(replace(data, samples=Squares()), workers)
    block.read([transform(8)])
    assert block.rows().tolist() == [0, 1, 2, 3, 5]
    assert block.pixels(transform(8))[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 50]
    assert block.seen[4].fault == "OSError: gone"


def test_as_many_decoded_images_are_kept_as_there_is_room_for(data):
    block = Block(data)
    block.read(room=2.5 * 4 * 52 * 37)
    expected = [np.asarray(data[i]) for i in range(COUNT)]
    data.samples.opened = 0
    assert all(np.array_equal(np.asarray(block[i]), expected[i]) for i in range(COUNT))
    assert data.samples.opened == COUNT - 2
