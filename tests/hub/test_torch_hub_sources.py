"""Repositories of torch.hub, each written on the spot."""

import sys

import numpy as np
import pytest
import torch
from small_models import torch_hub_repository
from sources import COUNT, close, prepared, run

from hubfast import as_source

pytestmark = pytest.mark.usefixtures("offline")


def test_torch_hub_repositories_do_not_share_modules(tmp_path, data):
    before, path = set(sys.modules), list(sys.path)
    first = torch_hub_repository(tmp_path / "first", 1.0)
    second = torch_hub_repository(tmp_path / "second", 2.0)
    for folder, value in ((first, 1.0), (second, 2.0)):
        features, logits, _ = run(as_source(f"torchhub:{folder}/small", trust=True), data)
        mean = torch.stack(
            [torch.from_numpy(np.asarray(data[i]) / 255.0).float() for i in range(COUNT)]
        ).mean((1, 2))
        expected = value * mean.sum(1, keepdim=True) + value
        close(features, expected.expand(COUNT, 4))
        close(logits, (4 * value * expected + value).expand(COUNT, 2))
    assert "models" not in set(sys.modules) - before
    assert sys.path == path


def test_torch_hub_needs_trust_and_names_what_is_wrong(tmp_path, data):
    folder = torch_hub_repository(tmp_path / "repo", 1.0)
    (folder / "marker.py").write_text("raise SystemExit('ran')")
    with pytest.raises(PermissionError, match=r"runs the repository's own Python code"):
        as_source(f"torchhub:{folder}/small").load()
    with pytest.raises(RuntimeError, match=r"has no entry point 'nothing'"):
        as_source(f"torchhub:{folder}/nothing", trust=True).load()
    with pytest.raises(RuntimeError, match=r"must return a module, got <class 'int'>"):
        as_source(f"torchhub:{folder}/no_module", trust=True).load()
    with pytest.raises(FileNotFoundError, match=r"no hubconf.py"):
        as_source(f"torchhub:{tmp_path}/small", trust=True).load()
    with pytest.raises(FileNotFoundError, match=r"is no folder, nor OWNER/NAME"):
        as_source("torchhub:nowhere/small", trust=True).load()
    with pytest.raises(ValueError, match=r"must be torchhub:REPO/MODEL"):
        as_source("torchhub:small", trust=True).load()
    with pytest.raises(TypeError, match=r"no preprocessing of its own.*in a hub file"):
        run(as_source(f"torchhub:{folder}/plain", trust=True), data)


def test_torchvision_entry_points_get_their_weights_and_preprocessing(tmp_path, data, monkeypatch):
    import torchvision

    model = torchvision.models.squeezenet1_1().eval()
    (tmp_path / "hubconf.py").write_text("from torchvision.models import squeezenet1_1")
    asked = []

    def weights_from(url, **_):
        asked.append(url)
        return model.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", weights_from)
    source = as_source(f"torchhub:{tmp_path}/squeezenet1_1", trust=True)
    features, _, _ = run(source, data.subset(torch.arange(2)))
    accuracy = source.load().imagenet
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    assert asked == [weights.url] * 2
    assert accuracy == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    with torch.no_grad():
        close(features, model(prepared(data.subset(torch.arange(2)), weights.transforms())))


def test_remote_torch_hub_repository(tmp_path, data, monkeypatch):
    """One that is in torch.hub's folder is used from there; one that is not, is asked for."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    torch_hub_repository(tmp_path / "owner_name_v1", 1.0)
    assert run(as_source("torchhub:owner/name:v1/small", trust=True), data)[0].shape == (COUNT, 4)

    def unreachable(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "list", unreachable)
    with pytest.raises(RuntimeError, match=r"could not be fetched \(OSError: no route\).*local"):
        as_source("torchhub:owner/name/small", trust=True).load()
