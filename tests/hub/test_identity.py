"""Whatever changes what a model computes changes its identity, and nothing else does."""

import hashlib
import importlib.metadata
import json
import os
import sys
from types import SimpleNamespace

import huggingface_hub.constants
import numpy as np
import onnx
import pytest
import timm
import torch
from onnx.external_data_helper import convert_model_to_external_data
from safetensors.torch import save_file
from small_graphs import Draft, dense
from torch import nn

from hubfast import as_hub, as_source
from hubfast.hub import Source
from hubfast.hub import identity as identity_module
from hubfast.hub.identity import identity, versions
from hubfast.hub.keras.settings import set_backend
from hubfast.hub.local_files import below, timm_weights
from hubfast.utils.file_hashes import FileHashes

NAME = "test_resnet.r160_in1k"


def of(spec, **how):
    """The identity of a source, which JSON holds as it is."""
    found = identity(spec if isinstance(spec, Source) else as_source(spec, **how))
    assert found == json.loads(json.dumps(found))
    return found


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def flip(path):
    """Changes the last byte of a file."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.fixture(autouse=True)
def empty_caches(tmp_path, monkeypatch):
    """No model of this machine's caches is found."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HUBFAST_CACHE", str(tmp_path / "hubfast"))


def snapshot(tmp_path, repository, commit="c0ffee", **files):
    """Files of a repository as huggingface_hub keeps them: links to blobs."""
    home = tmp_path / "hf" / f"models--{repository.replace('/', '--')}"
    folder = home / "snapshots" / commit
    for place in (home / "refs", home / "blobs", folder):
        place.mkdir(parents=True, exist_ok=True)
    (home / "refs" / "main").write_text(commit)
    for name, content in files.items():
        blob = home / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (folder / name.replace("__", ".")).symlink_to(blob)
    return folder


def trained(seed):
    torch.manual_seed(seed)
    return timm.create_model("test_resnet").state_dict()


def saved(tmp_path, seed):
    save_file(trained(seed), tmp_path / "w.safetensors")
    return (tmp_path / "w.safetensors").read_bytes()


def test_published_weights_are_known_once_they_are_here(tmp_path, monkeypatch):
    """The file that is hashed is the one that timm then loads."""
    assert of(f"timm:{NAME}") is None
    content = saved(tmp_path, 0)
    folder = snapshot(tmp_path, "timm/test_resnet.r160_in1k", model__safetensors=content)
    found = of(f"timm:{NAME}")
    assert found["weights"] == hashlib.sha256(content).hexdigest()
    assert found["config"]["mean"] == [0.5, 0.5, 0.5]
    assert found["versions"]["timm"] == importlib.metadata.version("timm")
    assert str(tmp_path) not in json.dumps(found)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    loaded = as_source(f"timm:{NAME}").load().run.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in trained(0).items())
    newer = saved(tmp_path, 1)
    snapshot(tmp_path, "timm/test_resnet.r160_in1k", "beef", model__safetensors=newer)
    assert of(f"timm:{NAME}")["weights"] == hashlib.sha256(newer).hexdigest()
    (folder.parent / "beef" / "model.safetensors").resolve().write_bytes(content)  # in its place
    assert of(f"timm:{NAME}") == found


@pytest.mark.parametrize(
    ("config", "files", "wanted"),
    [
        ({"hf_hub_id": "a/b"}, {"pytorch_model__bin": b"1"}, b"1"),
        ({"hf_hub_id": "a/b"}, {"pytorch_model__bin": b"1", "model__safetensors": b"2"}, b"2"),
        ({"hf_hub_id": "a/b", "hf_hub_filename": "x.bin"}, {"x__bin": b"1"}, b"1"),
        ({"hf_hub_id": "a/b", "hf_hub_filename": "x.npz"}, {"x__npz": b"3"}, b"3"),
        ({"hf_hub_id": "a/b@beef"}, {"model__safetensors": b"1"}, None),
        ({"hf_hub_id": "a/b", "url": "https://x.org/kept.pth"}, {}, None),
        ({"url": "https://x.org/kept.pth?download=1"}, {}, b"kept"),
        ({"url": "https://x.org/other.pth"}, {}, None),
        ({"file": "own.pth"}, {}, b"own"),
        ({"source": "local-dir", "file": "."}, {}, None),
        ({}, {}, None),
    ],
)
def test_where_timm_finds_weights(tmp_path, monkeypatch, config, files, wanted):
    monkeypatch.chdir(tmp_path)
    snapshot(tmp_path, "a/b", **files)
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints" / "kept.pth").write_bytes(b"kept")
    (tmp_path / "own.pth").write_bytes(b"own")
    path = timm_weights(timm.models.PretrainedCfg(**config))
    assert (None if path is None else path.read_bytes()) == wanted


def test_timm_is_asked_for_files_of_before(tmp_path, monkeypatch):
    snapshot(tmp_path, "a/b", model__safetensors=b"new")
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints" / "kept.pth").write_bytes(b"kept")
    config = timm.models.PretrainedCfg(hf_hub_id="a/b", url="https://x.org/kept.pth")
    assert timm_weights(config).read_bytes() == b"new"
    monkeypatch.setenv("TIMM_USE_OLD_CACHE", "1")
    assert timm_weights(config).read_bytes() == b"kept"


def test_random_weights_and_checkpoints(tmp_path):
    random = of("timm:test_resnet?pretrained=false")
    assert random["weights"] == "random, seed 0"
    assert random["versions"]["torch"] == importlib.metadata.version("torch").partition("+")[0]
    assert of("timm:test_vit?pretrained=false") != random
    path = tmp_path / "a.safetensors"
    path.write_bytes(saved(tmp_path, 0))
    before = of(f"timm:test_resnet@{path}")
    assert before["weights"] == sha(path)
    assert of(f"timm:test_resnet@{path.rename(tmp_path / 'b.safetensors')}") == before
    flip(tmp_path / "b.safetensors")
    assert of(f"timm:test_resnet@{tmp_path / 'b.safetensors'}") != before
    assert of(f"timm:test_vit@{tmp_path / 'b.safetensors'}")["name"] == "test_vit"


def test_architectures_of_others_are_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(timm.models, "model_entrypoint", lambda name: saved)
    assert of("timm:test_resnet?pretrained=false") is None


def graph(tmp_path, **external):
    """An ONNX file whose weights are in files beside it."""
    draft = Draft()
    draft.features()
    draft.save(tmp_path / "plain.onnx", dense(draft))
    model = onnx.load(tmp_path / "plain.onnx")
    convert_model_to_external_data(model, size_threshold=0, **external)
    (tmp_path / "graph").mkdir()
    onnx.save(model, tmp_path / "graph" / "m.onnx")
    return tmp_path / "graph"


def keras(tmp_path):
    return tmp_path / "m.keras"


@pytest.fixture
def files(tmp_path):
    """A model of each kind that is files, by its spec, and a file of each that counts."""
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    (tmp_path / "hf-model").mkdir()
    (tmp_path / "onnx-one").mkdir()
    (tmp_path / "onnx-many").mkdir()
    one = graph(tmp_path / "onnx-one", all_tensors_to_one_file=True, location="m.data")
    many = graph(tmp_path / "onnx-many", all_tensors_to_one_file=False)
    weights = [path for path in many.iterdir() if path.name != "m.onnx"]
    assert len(weights) > 1
    for name in ("saved/saved_model.pb", "saved/variables/v.data", "e/m.pt2", "k/m.keras"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    for name in ("model.safetensors", "tokenizer.json", "vocab.txt", "modeling_own.py"):
        (tmp_path / "hf-model" / name).write_bytes(name.encode())
    (tmp_path / "hf-model" / "config.json").write_text('{"model_type": "vit"}')
    return {
        f"hf:{tmp_path / 'hf-model'}": list((tmp_path / "hf-model").iterdir()),
        f"tfhub:{tmp_path / 'saved'}": [
            tmp_path / "saved/saved_model.pb",
            tmp_path / "saved/variables/v.data",
        ],
        f"export:{tmp_path / 'e/m.pt2'}": [tmp_path / "e/m.pt2"],
        str(tmp_path / "k/m.keras"): [tmp_path / "k/m.keras"],
        f"onnx:{one / 'm.onnx'}": [one / "m.data"],
        str(many / "m.onnx"): weights,
    }


def test_every_file_counts(files):
    for spec, parts in files.items():
        met = [of(spec)]
        assert met[0] is not None, spec
        for part in parts:
            if part.name != "config.json":
                flip(part)
                met.append(of(spec))
        assert len({*map(json.dumps, met)}) == len(met), spec


def test_options_count(files):
    preprocessing = {"input_size": 8, "mean": [0.5] * 3, "std": [0.5] * 3}
    for spec in files:
        hub = [as_source(spec), as_source(spec, trust=True)]
        hub += as_hub([spec])
        met = {json.dumps(of(source)) for source in hub}
        assert len(met) == 2, spec
        for changed in (preprocessing, {**preprocessing, "crop_pct": 0.9}):
            met.add(json.dumps(of(entry(spec, preprocessing=changed))))
        assert len(met) == 4, spec


def entry(spec, **options):
    """The source of an entry of a hub file in the current folder."""
    with open("hub.yaml", "w") as file:
        json.dump({"models": [{"model": spec, **options}]}, file)
    (source,) = as_hub("hub.yaml")
    return source


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_matching_by_order_counts(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"weights")
    spec = f"timm:test_resnet@{path}"
    assert of(entry(spec, keys="by_order")) != of(entry(spec)) == of(spec)
    assert of(entry(spec, name="other", note="n", licence="MIT", imagenet=70)) == of(spec)


@pytest.mark.parametrize("name", ["m.json", "config.json", "preprocessor_config.json"])
def test_preprocessing_beside_a_file_counts(files, name):
    for spec, (part, *_) in files.items():
        if spec.startswith(("hf:", "tfhub:")):
            continue
        before = of(spec)
        beside = part.parent / name
        beside.write_text("{}")
        after = of(spec)
        assert after != before
        beside.write_text('{"mean": 0}')
        assert of(spec) not in (before, after)
        beside.unlink()
        assert of(spec) == before


def test_files_may_move(files, tmp_path):
    before = {spec: of(spec) for spec in files}
    (tmp_path / "moved").mkdir()
    for name in ("hf-model", "saved", "e", "k", "onnx-one", "onnx-many"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    for spec, found in before.items():
        assert of(spec) is None or spec.startswith("hf:"), spec
        assert of(spec.replace(str(tmp_path), str(tmp_path / "moved"))) == found


def test_an_edit_that_keeps_size_and_time(tmp_path):
    hashes, path = FileHashes(), tmp_path / "m.pt2"
    path.write_bytes(b"one")
    os.utime(path, (1e9, 1e9))
    before = identity(as_source(path), hashes)
    assert before == identity(as_source(path), hashes)
    path.write_bytes(b"two")
    os.utime(path, (1e9, 1e9))
    assert identity(as_source(path), hashes) != before


def test_what_is_not_there_or_broken_is_unknown(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    (tmp_path / "lost").mkdir()
    lost = graph(tmp_path / "lost", all_tensors_to_one_file=True, location="m.data")
    (lost / "m.data").unlink()
    for spec in ("gone.onnx", "gone.pt2", "gone.keras", "tfhub:gone", "hf:a/b", "minihub:none"):
        assert of(spec) is None, spec
    for spec in (tmp_path / "bad.onnx", lost / "m.onnx", "timm:no_such_model", "timm:test_vit@no"):
        assert of(spec) is None, spec


def test_what_cannot_be_known_is_unknown(tmp_path):
    np.save(tmp_path / "f.npy", np.ones((3, 2)))
    assert of(tmp_path / "f.npy") is None
    assert of("torchhub:folder/model") is None
    assert of(Source("own", lambda: None)) is None
    assert of(nn.Linear(2, 2)) is None
    assert of(lambda x: x) is None


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("adapter_config.json", "{}"),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": "org/other--tok.Tok"}}'),
        ("config.json", '{"auto_map": {"AutoModel": "org/other--model.Own"}}'),
    ],
)
def test_transformers_with_parts_elsewhere_are_unknown(files, file, content, tmp_path):
    spec = f"hf:{tmp_path / 'hf-model'}"
    assert of(spec) is not None
    (tmp_path / "hf-model" / file).write_text(content)
    assert of(spec) is None


def test_transformers_from_the_cache(tmp_path):
    """Files that are fetched only when they are needed change nothing; an edit does."""
    folder = snapshot(tmp_path, "org/m", config__json=b"{}", model__safetensors=b"w")
    before = of("hf:org/m")
    assert (before["name"], before["commit"], before["edited"]) == ("org/m", "c0ffee", {})
    assert "timm" not in before["versions"]
    snapshot(tmp_path, "org/m", tokenizer__json=b"[]")
    assert of("hf:org/m") == before
    for name in ("tokenizer.json", "model.safetensors"):
        blob = (folder / name).resolve()
        content = blob.read_bytes()
        blob.write_bytes(b"edited")
        after = of("hf:org/m")
        assert after["edited"] == {name: hashlib.sha256(b"edited").hexdigest()}
        blob.write_bytes(content)
        assert of("hf:org/m") == before
    snapshot(tmp_path, "org/m", "beef", config__json=b"{}", model__safetensors=b"w")
    assert of("hf:org/m") != before
    snapshot(tmp_path, "org/wrapped", config__json=b'{"model_type": "timm_wrapper"}')
    assert "timm" in of("hf:org/wrapped")["versions"]


def test_small_files_in_the_cache_have_names_of_git(tmp_path):
    folder = snapshot(tmp_path, "org/m", config__json=b"{}")
    (folder / "config.json").unlink()
    blob = folder.parent.parent / "blobs" / "9e26dfeeb6e641a33dae4961196235bdb965b21b"
    blob.write_bytes(b"{}")  # `printf {} | git hash-object --stdin` gives this name
    (folder / "config.json").symlink_to(blob)
    assert of("hf:org/m")["edited"] == {}
    blob.write_bytes(b"{ }")
    assert [*of("hf:org/m")["edited"]] == ["config.json"]


def test_hidden_files_do_not_count(tmp_path):
    for name in (".git/x", "a/b.txt", ".hidden", "c.py"):
        (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "f" / name).write_text("")
    assert [*below(tmp_path / "f")] == ["a/b.txt", "c.py"]


def test_the_minihub():
    found = of("minihub:resnet_digits")
    assert len(found["weights"]) == 64
    assert of("minihub:resnet_letters") != found
    assert of("minihub:convnext_textures") is None  # it is not trained yet


def test_settings_of_keras(files, tmp_path, monkeypatch):
    spec = str(tmp_path / "k" / "m.keras")
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    usual = of(spec)
    assert usual["settings"]["backend"] == "torch"
    config = SimpleNamespace(**{k: lambda v=v: v for k, v in usual["settings"].items()})
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(config=config))
    assert of(spec) == usual  # what is told before Keras is imported is what it is afterwards
    monkeypatch.delitem(sys.modules, "keras")
    (tmp_path / "keras.json").write_text('{"image_data_format": "channels_first"}')
    first = of(spec)
    assert first["settings"]["image_data_format"] == "channels_first"
    assert first["settings"]["backend"] == "torch"  # Keras itself writes the other one there
    (tmp_path / "keras.json").write_text('{"backend": "tensorflow"}')
    assert of(spec) == usual
    set_backend()
    assert os.environ.pop("KERAS_BACKEND") == "torch"
    (tmp_path / "keras.json").write_text("{broken")
    assert of(spec) == usual
    (tmp_path / "keras.json").write_text('{"backend": "numpy"}')
    assert of(spec)["settings"]["backend"] == "numpy"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert of(spec)["settings"]["backend"] == "jax"


@pytest.mark.parametrize("package", ["torch", "torchvision", "timm"])
def test_versions_count(monkeypatch, package):
    before = of("timm:test_resnet?pretrained=false")
    version = importlib.metadata.version
    newer = {package: "99.1.2+cu126"}
    monkeypatch.setattr(importlib.metadata, "version", lambda p: newer.get(p) or version(p))
    assert of("timm:test_resnet?pretrained=false") != before
    wanted = "99.1.2" if package == "timm" else "99.1"
    assert versions(package, "no-such-package") == {package: wanted}
    assert versions(package, exact=True) == {package: "99.1.2"}


def test_the_format_of_features_counts(monkeypatch):
    before = of("timm:test_resnet?pretrained=false")
    monkeypatch.setattr(identity_module, "FORMAT", 2)
    assert of("timm:test_resnet?pretrained=false") != before


class Small(nn.Module):
    def __init__(self, width=4, kernel=3):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, width, 3, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(width)
        self.register_buffer("scale", torch.ones(width), persistent=False)

    def forward(self, x):
        return self.norm(self.conv(x)).mean((2, 3)) * self.scale


class Other(Small):
    def forward(self, x):
        return super().forward(x) + 1


def changes():
    def weight(m):
        with torch.no_grad():
            m.conv.weight[0, 0, 0, 0] += 1e-3

    def statistics(m):
        m.norm.running_mean[0] = 1

    def buffer(m):
        m.scale[0] = 2

    def layer(m):
        m.conv.stride = (2, 2)

    def number(m):
        m.half()

    return [weight, statistics, buffer, layer, number]


@pytest.mark.parametrize("change", changes(), ids=lambda change: change.__name__)
def test_a_changed_module_under_one_key(change):
    module = Small()
    before = of(module, key="mine")
    assert of(module, key="mine") == of(Small(), key="mine") == before
    change(module)
    assert of(module, key="mine") != before


def test_the_key_class_and_transform_of_a_module():
    def half(image):
        return image

    found = [
        of(Small(), key="a"),
        of(Small(), key="b"),
        of(Other(), key="a"),
        of(nn.Sequential(Small()), key="a"),
        of(Small(), key="a", transform=half),
        of(Small(), key="a", transform=lambda image: image + 1),
        of(half, key="a"),
        of(Source("own", lambda: None, key="a")),
    ]
    assert None not in found
    assert len({*map(json.dumps, found)}) == len(found)
    assert of(nn.DataParallel(Small()), key="a") == found[0]
    assert of(as_source(as_source(Small()), key="a")) == found[0]
    assert as_hub([as_source(Small(), key="a")])[0].key == "a"


def test_a_timm_module_counts_with_its_preprocessing():
    module = timm.create_model("test_resnet")
    before = of(module, key="a")
    module.pretrained_cfg = {**module.pretrained_cfg, "crop_pct": 0.5}
    assert of(module, key="a") != before


@pytest.mark.filterwarnings("ignore:`torch.jit.trace.*is deprecated:FutureWarning")
def test_torchscript_programs_count():
    class Twice(nn.Module):
        def forward(self, x):
            return x * 2

    class Thrice(nn.Module):
        def forward(self, x):
            return x * 3

    twice, thrice = (torch.jit.trace(kind(), torch.ones(1)) for kind in (Twice, Thrice))
    assert of(twice, key="a") != of(thrice, key="a")
    assert of(twice, key="a") == of(torch.jit.trace(Twice(), torch.ones(1)), key="a")


@pytest.mark.filterwarnings("ignore:.*[sS]parse:UserWarning")
def test_state_of_other_kinds_counts():
    class Extra(nn.Module):
        extra = 1

        def get_extra_state(self):
            return {"extra": self.extra}

    module = Extra()
    module.register_buffer("sparse", torch.eye(3).to_sparse())
    met = [of(module, key="a"), of(module, key="a")]
    assert met[0] == met[1]
    module.extra = 2
    met.append(of(module, key="a"))
    module.sparse = (2 * torch.eye(3)).to_sparse()
    met.append(of(module, key="a"))
    assert len({*map(json.dumps, met)}) == 3


@pytest.mark.parametrize("spec", ["timm:test_resnet", "a.onnx"])
def test_a_spec_takes_no_key(spec):
    with pytest.raises(ValueError, match="key is for modules and callables, not for"):
        as_source(spec, key="a")
