import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import ToTensor

from hubfast import as_hub, as_source, as_target_data
from hubfast.hub import Extraction, Source, StoredFeatures
from hubfast.hub.network import features_of

COUNT = 7


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (COUNT, 40, 36, 3), dtype=np.uint8)
    return as_target_data((images, np.arange(COUNT) % 3))


class Plain(nn.Module):
    """A module with a linear head, as torchvision's are."""

    def __init__(self, classes=4):
        super().__init__()
        self.body = nn.Sequential(
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5), nn.ReLU()
        )
        self.fc = nn.Linear(5, classes)

    def forward(self, x):
        return self.fc(self.body(x))


def run(source, data, **how):
    """All features and logits of a source."""
    batches = list(source.load().batches(data, Extraction(batch_size=3, **how)))
    assert torch.equal(torch.cat([b.index for b in batches]), torch.arange(len(data)))
    features = torch.cat([b.features for b in batches])
    return features, torch.cat([b.logits for b in batches]) if how.get("logits") else None


def small_timm(**config):
    module = timm.create_model("test_resnet", pretrained=False, num_classes=6)
    module.pretrained_cfg = {**module.pretrained_cfg, **config}
    return module.eval()


def test_timm_module_in_its_own_preprocessing(data):
    small = small_timm(input_size=(3, 32, 32), mean=(0.1,) * 3, crop_pct=1.0)
    large = small_timm(input_size=(3, 64, 64), mean=(0.9,) * 3, crop_pct=1.0)
    large.load_state_dict(small.state_dict())
    features, logits = run(as_source(small), data, logits=True)
    assert features.shape == (COUNT, small.num_features)
    assert not torch.allclose(features, run(as_source(large), data)[0], atol=1e-3)
    # by hand: resize, centre, normalise, pool, head
    config = timm.data.resolve_model_data_config(small)
    transform = timm.data.create_transform(**config, is_training=False)
    batch = torch.stack([transform(data[i]) for i in range(COUNT)])
    with torch.no_grad():
        torch.testing.assert_close(logits, small(batch))
        torch.testing.assert_close(features, small.forward_features(batch).mean((2, 3)))


def test_timm_checkpoint_of_each_kind(tmp_path, data):
    module = small_timm()
    expected = run(as_source(module), data, logits=True)
    state = module.state_dict()
    save_file(state, tmp_path / "plain.safetensors")
    torch.save(state, tmp_path / "plain.pth")
    torch.save({"epoch": 3, "model": state}, tmp_path / "wrapped.pth")
    parallel = {f"module.{key}": x for key, x in state.items()}
    torch.save({"state_dict": parallel}, tmp_path / "parallel.pth")
    for file in tmp_path.iterdir():
        found = run(as_source(f"timm:test_resnet@{file}"), data, logits=True)
        torch.testing.assert_close(found, expected)


def test_checkpoints_run_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("code was run",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(Exception, match=r"weights only, no pickled object runs"):
        as_source(f"timm:test_resnet@{tmp_path / 'evil.pth'}").load()


def test_bad_checkpoints_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint not found: .*none\.pth"):
        as_source(f"timm:test_resnet@{tmp_path / 'none.pth'}").load()
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(RuntimeError, match=r"holds no state dict of tensors"):
        as_source(f"timm:test_resnet@{tmp_path / 'list.pth'}").load()
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(RuntimeError, match=r"Missing keys: 75 of 75 \(conv1"):
        as_source(f"timm:test_resnet@{tmp_path / 'other.pth'}").load()


def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)

    def unreachable(*_, **__):
        raise OSError("unreachable")

    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr("socket.create_connection", unreachable)
    with pytest.raises(RuntimeError, match=r"huggingface.co not reached; .* timm:.*@FILE"):
        as_source("timm:resnet50.a1_in1k").load()
    with pytest.raises(RuntimeError, match=r"timm has no model 'nosuch'"):
        as_source("timm:nosuch").load()


def test_plain_module_gives_what_enters_its_last_linear(data):
    module = Plain().eval()
    features, logits = run(as_source(module, transform=ToTensor()), data, logits=True)
    batch = torch.stack([ToTensor()(data[i]) for i in range(COUNT)])
    with torch.no_grad():
        torch.testing.assert_close(features, module.body(batch))
        torch.testing.assert_close(logits, module(batch))


def test_module_that_does_not_end_in_a_linear_gives_its_output():
    module = Plain().body
    inputs = torch.rand(2, 3, 4, 4)
    out, logits = features_of(module, inputs, logits=False)
    torch.testing.assert_close(out, module(inputs))
    assert logits is None


def test_modules_are_run_in_eval_mode():
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.9))
    data = as_target_data((torch.randn(6, 3), torch.arange(6)))
    features, _ = run(as_source(module), data)
    before = module[0].running_mean.clone()
    torch.testing.assert_close(features, run(as_source(module), data)[0])
    assert torch.equal(before, module[0].running_mean)


def test_callables_of_every_kind(data):
    def colour(images):
        return np.stack([np.asarray(image).mean((0, 1)) for image in images])

    features, _ = run(as_source(colour), data)
    assert features.shape == (COUNT, 3)

    def both(batch):
        return batch.flatten(1)[:, :4], batch.flatten(1)[:, :2]

    features, logits = run(as_source(both, transform=ToTensor()), data, logits=True)
    assert (features.shape, logits.shape) == ((COUNT, 4), (COUNT, 2))


def test_maps_are_averaged():
    maps = torch.randn(6, 3, 2, 2)
    data = as_target_data((maps, torch.arange(6)))
    torch.testing.assert_close(run(as_source(lambda x: x), data)[0], maps.mean((2, 3)))


def test_hub_of_everything(tmp_path):
    for name in "ba":
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 2)))
    assert [s.name for s in as_hub(tmp_path)] == ["a", "b"]
    module = Plain()
    names = [s.name for s in as_hub([module, module, "timm:resnet18", str(tmp_path / "a.npy")])]
    assert names == ["Plain", "Plain (2)", "timm:resnet18", "a"]
    assert [s.name for s in as_hub({"mine": module, "other": len})] == ["mine", "other"]
    assert isinstance(
        as_hub(Source("x", lambda: StoredFeatures(tmp_path, np.zeros((1, 1)))))[0], Source
    )
    assert len(as_hub("minihub")) >= 8
    assert as_hub("minihub:resnet_digits")[0].name == "resnet_digits"


def test_bad_hubs_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"hub must hold at least one model"):
        as_hub([])
    with pytest.raises(ValueError, match=r"hub must hold timm:NAME.*got 'resnet50'"):
        as_hub("resnet50")
    with pytest.raises(ValueError, match=r"got 'timm:'"):
        as_hub("timm:")
    with pytest.raises(TypeError, match=r"got int"):
        as_hub([3])
    with pytest.raises(ValueError, match=r"no .* files in the folder"):
        as_hub(tmp_path)
    with pytest.raises(ValueError, match=r"transform is for modules and callables"):
        as_source("timm:resnet18", transform=ToTensor())


def test_mismatches_of_model_and_data_are_named(data):
    with pytest.raises(TypeError, match=r"no preprocessing of its own"):
        run(as_source(Plain()), data)
    floats = as_target_data((torch.randn(4, 3, 8, 8), torch.arange(4) % 2))
    with pytest.raises(TypeError, match=r"float tensors of shape \(3, 8, 8\); give uint8 images"):
        run(as_source(small_timm()), floats)
    with pytest.raises(ValueError, match=r"features must be a tensor \(batch, D\), got dict"):
        features_of(Dictionary(), torch.zeros(1, 2), logits=False)
    with pytest.raises(ValueError, match=r"features must be \(3, D\) for 3, got shape \(2, 5\)"):
        run(as_source(lambda batch: torch.zeros(2, 5)), data)


class Dictionary(nn.Module):
    def forward(self, x):
        return {"out": x}
