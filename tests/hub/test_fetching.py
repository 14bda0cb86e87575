"""Weights of the next model are fetched meanwhile, and only where they will be asked for."""

from threading import Event

import pytest

from hubfast import as_source
from hubfast.hub.fetching import Fetcher


@pytest.fixture
def asked(monkeypatch):
    """The files that are asked for; every second kind of file is missing."""
    found = []

    def download(repository, file):
        found.append((repository, file))
        if file.endswith(".safetensors") and "old" in repository:
            raise FileNotFoundError(file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("hubfast.hub.fetching.unreachable_host", lambda *args: None)
    return found


def fetched(*specs):
    fetcher = Fetcher()
    for spec in specs:
        fetcher.ask(as_source(spec))
    fetcher._pool.shutdown(wait=True)


def test_timm_and_transformers(asked):
    fetched("timm:resnet18.a1_in1k", "hf:someone/old", "timm:resnet18.a1_in1k")
    assert asked == [
        ("timm/resnet18.a1_in1k", "model.safetensors"),
        ("someone/old", "model.safetensors"),
        ("someone/old", "pytorch_model.bin"),
    ]


@pytest.mark.parametrize(
    "spec",
    ["timm:resnet18?pretrained=false", "timm:resnet18@w.pt", "hf:./folder", "features.npy", len],
)
def test_nothing_to_fetch(asked, spec):
    fetched(spec)
    assert asked == []


def test_a_fault_is_left_to_loading(monkeypatch):
    called = Event()

    def download(repository, file):
        called.set()
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("hubfast.hub.fetching.unreachable_host", lambda *args: None)
    fetched("hf:someone/else")
    assert called.is_set()
