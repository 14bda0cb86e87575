import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from hubfast import as_target_data
from hubfast.data import TargetData


@pytest.fixture
def folder(tmp_path):
    """An image folder of 3 classes with 4, 8 and 12 pictures, one of them grey."""
    rng = np.random.default_rng(0)
    for name, count in (("ant", 4), ("bee", 8), ("cat", 12)):
        (tmp_path / name).mkdir()
        for i in range(count):
            shape = (20, 30) if (name, i) == ("bee", 0) else (20, 30, 3)
            picture = rng.integers(0, 255, shape, dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_image_folder(folder):
    data = as_target_data(str(folder))
    assert len(data) == 24
    assert data.task == "classification"
    assert data.class_names == ("ant", "bee", "cat")
    assert data.targets.bincount().tolist() == [4, 8, 12]
    assert [data[i].mode for i in (0, 4, 23)] == ["RGB"] * 3
    assert data.name == folder.name
    assert "n=24, 3 classes" in repr(data)


def test_split_keeps_proportions_and_is_seeded(folder):
    data = as_target_data(folder)
    first, second = data.split(0.5, seed=3)
    assert first.targets.bincount().tolist() == [2, 4, 6]
    assert sorted([*first.rows().tolist(), *second.rows().tolist()]) == list(range(24))
    again = data.split(0.5, seed=3)[0]
    other = data.split(0.5, seed=4)[0]
    assert first.rows().tolist() == again.rows().tolist() != other.rows().tolist()
    assert torch.equal(data.targets[first.rows()], first.targets)


def test_sample(folder):
    data = as_target_data(folder)
    assert data.sample(6).targets.bincount().tolist() == [1, 2, 3]
    assert data.sample(None) is data.sample(24) is data.sample(99) is data
    nested = data.sample(12).sample(6)
    assert torch.equal(data.targets[nested.rows()], nested.targets)
    assert nested[0].tobytes() == data[int(nested.rows()[0])].tobytes()


def test_split_with_a_single_sample_of_a_class():
    data = as_target_data((np.zeros((10, 4, 4, 3), np.uint8), np.array([0] * 9 + [1])))
    first, second = data.split(5)
    assert len(first) == len(second) == 5


@pytest.mark.parametrize("first", [0, 24, 25, -1, 0.0001])
def test_bad_split(folder, first):
    with pytest.raises(ValueError, match=r"first must leave both parts samples of 24"):
        as_target_data(folder).split(first)


def test_arrays_and_npz(tmp_path):
    images, targets = np.zeros((5, 8, 8, 3), np.uint8), np.arange(5) % 2
    data = as_target_data((images, targets))
    assert isinstance(data[0], Image.Image)
    assert data[0].size == (8, 8)
    np.savez(tmp_path / "d.npz", images=images, targets=targets.astype(float))
    loaded = as_target_data(tmp_path / "d.npz")
    assert (loaded.task, loaded.name) == ("regression", "d")
    assert as_target_data(tmp_path / "d.npz", task="classification").task == "classification"
    np.save(tmp_path / "t.npy", targets)
    assert as_target_data(tmp_path / "t.npy").samples is None
    grey = as_target_data((images[..., 0], targets))
    assert grey[0].mode == "RGB"


def test_datasets():
    class Pairs(Dataset):
        def __init__(self):
            self.read = 0

        def __len__(self):
            return 6

        def __getitem__(self, index):
            self.read += 1
            return torch.full((3, 4, 4), float(index)), index % 3

    pairs = Pairs()
    data = as_target_data(pairs)
    assert data.targets.tolist() == [0, 1, 2, 0, 1, 2]
    assert data[5].mean() == 5.0
    tensors = TensorDataset(torch.zeros(4, 2), torch.rand(4))
    assert as_target_data(tensors).task == "regression"
    assert as_target_data(data) is data


def test_minihub_target():
    data = as_target_data("minihub:angle")
    assert (data.task, len(data), data[0].size) == ("regression", 200, (32, 32))


def test_bad_data_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data not found: .*nowhere"):
        as_target_data(tmp_path / "nowhere")
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(ValueError, match=r"data must be a folder, an .npz or a .npy file"):
        as_target_data(tmp_path / "x.txt")
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"must hold 'targets', got \['a'\]"):
        as_target_data(tmp_path / "x.npz")
    with pytest.raises(TypeError, match=r"data must be a path, .* got int"):
        as_target_data(3)
    with pytest.raises(ValueError, match=r"targets for classification must be \(3,\)"):
        as_target_data((np.zeros((3, 4, 4, 3), np.uint8), np.zeros(2, int)))
    with pytest.raises(ValueError, match=r"target must be one of"):
        as_target_data("minihub:nothing")
    with pytest.raises(FileNotFoundError, match=r"no class folder|Couldn't find any class folder"):
        as_target_data(tmp_path)
    odd = TargetData(
        "odd", [np.zeros((2, 2, 7), np.uint8)], torch.zeros(1).long(), "classification"
    )
    with pytest.raises(ValueError, match=r"images must be \(height, width\).*got \(2, 2, 7\)"):
        odd[0]
    with pytest.raises(ValueError, match=r"'targets' has targets only"):
        as_target_data(np.zeros(3, int))[0]
