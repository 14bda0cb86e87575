"""Exported hubs: loaded whole, lazily under a memory limit, with errors; diagnostics and survey."""

import json

import pytest
import torch
from pathways import CLASSES, MODELS, Small, batch, network, small_hub
from torch import nn
from torch.testing import assert_close

from hubfast.nn.timm_twin import timm_recipe
from hubfast.pathway import (
    HubPathway,
    LoadHistory,
    PathwayGenerator,
    balance,
    pathway_generator,
    survey,
)
from hubfast.pathway.store import size_of


def small_generator():
    networks = network(), network()
    for net in networks:
        net(torch.zeros(1, 3, 16, 16))
    return PathwayGenerator(*networks)


def builders(classes=CLASSES):
    found = {f"model {m}": lambda m=m: Small(4 + m, classes) for m in range(MODELS)}
    for m in range(MODELS):
        if not classes:
            found[f"model {m}"] = lambda m=m: _headless(m)
    return {**found, "generator": small_generator}


def _headless(m):
    model = Small(4 + m)
    model.reset_classifier(0)
    return model


@torch.no_grad()
@pytest.mark.parametrize("aggregator", ["linear", "sum", "features"])
def test_round_trip(tmp_path, aggregator):
    hub = small_hub(
        aggregator=aggregator, classes=CLASSES, exploration=0.3, prior=[1, *[0] * (MODELS - 1)]
    )
    hub.eval()
    for p in hub.aggregator.parameters():
        nn.init.normal_(p)
    hub.save(tmp_path / "hub")
    images, _ = batch()
    expected = hub(images)
    how = builders(0 if aggregator == "features" else CLASSES)
    loaded = HubPathway.load(tmp_path / "hub", builders=how)
    assert not loaded.training
    assert torch.equal(loaded(images), expected)
    assert loaded.options == hub.options
    assert [m.size for m in loaded.models] == [m.size for m in hub.models]
    lazy = HubPathway.load(tmp_path / "hub", builders=how, memory_limit=10**6)
    assert_close(lazy(images), expected)


@torch.no_grad()
def test_lazy_hub_stays_within_its_limit(tmp_path):
    hub = small_hub().eval()
    hub.save(tmp_path)
    sizes = [size_of(m.module) for m in hub.models]
    limit = sum(sorted(sizes)[-2:])  # two of four
    lazy = HubPathway.load(tmp_path, builders=builders(), memory_limit=limit)
    store = lazy.models[0].module.store
    assert store.resident == 0
    held = []
    for model in lazy.models:
        model.register_forward_hook(lambda *_: held.append(store.resident))
    for seed in range(4):
        images, _ = batch(seed=seed)
        assert_close(lazy(images), hub(images))
    assert 0 < max(held) <= limit
    loads = store.loads
    one = batch()[0][:1]
    lazy(one)
    loads = store.loads
    lazy(one)  # the same two models
    assert store.loads == loads
    with pytest.raises(RuntimeError, match="memory_limit is for inference"):
        lazy.train()(one)
    small = HubPathway.load(tmp_path, builders=builders(), memory_limit=min(sizes) - 1)
    with pytest.raises(ValueError, match="memory_limit must hold a model of"):
        small(one)


@torch.no_grad()
def test_timm_models_need_no_builders(tmp_path):
    import timm

    models = [timm.create_model(name) for name in ("test_resnet", "test_vit")]
    generator = pathway_generator("test_resnet", 2, size=32)
    hub = HubPathway(models, 1, classes=5, generator=generator).eval()
    hub.save(tmp_path)
    images = torch.rand(3, 3, 40, 40)
    for limit in (None, 10**8):
        assert_close(HubPathway.load(tmp_path, memory_limit=limit)(images), hub(images))


def test_recipe_is_that_of_the_same_layers():
    import timm

    model = timm.create_model("test_resnet", num_classes=4)
    assert timm_recipe(model) == {"model_name": "test_resnet", "num_classes": 4}
    assert timm_recipe(timm.create_model("test_resnet", act_layer="gelu")) is None
    assert timm_recipe(nn.Linear(2, 2)) is None


def test_load_refuses(tmp_path):
    with pytest.raises(FileNotFoundError, match="no exported hub in"):
        HubPathway.load(tmp_path)
    small_hub().save(tmp_path)
    with pytest.raises(ValueError, match="builders must hold 'model 0': timm does not build it"):
        HubPathway.load(tmp_path)
    with pytest.raises(ValueError, match="builders must hold 'generator'"):
        HubPathway.load(tmp_path, builders={k: v for k, v in builders().items() if k[0] == "m"})
    with pytest.raises(RuntimeError, match="size mismatch"):
        HubPathway.load(tmp_path, builders={**builders(), "model 0": lambda: Small(9)})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "format": 2}))
    with pytest.raises(ValueError, match="must have format 1, got 2"):
        HubPathway.load(tmp_path)


def test_balance_by_hand():
    from hubfast.ops import route

    found = balance(route(torch.tensor([[9.0, 0.0]] * 3 + [[0.0, 9.0]]), 1))
    assert found["load_cv"] == pytest.approx(0.5)  # 3 and 1
    assert found["largest_share"] == 0.75
    assert 0 < found["entropy"] < 0.01
    assert found["entropy_of_mean"] == pytest.approx(0.5623, abs=1e-3)


def test_history_by_hand():
    from hubfast.ops import route

    history = LoadHistory(["a", "b"])
    for rows in ([[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]], [[0.0, 1.0]]):
        history.add(route(torch.tensor(rows), 1))
    assert len(history) == 4
    assert history.shares(2).tolist() == [[0.5, 0.5], [0.0, 1.0]]
    assert history.shares().shape == (4, 2)
    with pytest.raises(ValueError, match="the hub has not run yet"):
        history.add(None)
    with pytest.raises(ValueError, match="the history has no steps"):
        LoadHistory(["a"]).shares()


def test_survey():
    hub = small_hub().train()
    images, targets = batch(40)
    found = survey(hub, images, targets, class_names=["x", "y", "z"], shown=5, batch_size=16)
    assert hub.training
    routes = hub.eval().route(images)
    assert (found.classes, found.k, found.samples) == (["x", "y", "z"], 2, 40)
    assert_close(found.load, routes.counts.double() / 40)
    assert_close(found.shares.sum(1), torch.full((3,), 2.0, dtype=torch.float64))
    for m in range(MODELS):
        takers = (routes.chosen == m).any(1)
        assert_close(found.shares[1, m], takers[targets == 1].double().mean())
        gates = routes.gates[routes.chosen == m]
        assert_close(found.gates[m], gates.mean())
        assert len(found.images[m]) == min(5, len(gates))
        best = routes.order[routes.offsets[m] : routes.offsets[m + 1]][gates_of(routes, m).argmax()]
        assert torch.equal(found.images[m][0], images[best // 2])
    assert found.history is None
    assert survey(hub, images).classes == []
    with pytest.raises(ValueError, match="targets must be of 40 images, got 3"):
        survey(hub, images, targets[:3])
    with pytest.raises(ValueError, match="images must be"):
        survey(hub, images[:0])


def gates_of(routes, m):
    return routes.gates.flatten()[routes.order[routes.offsets[m] : routes.offsets[m + 1]]]
