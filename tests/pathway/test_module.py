"""Hub-Pathway: what it computes, executors, training, freezing, its exact size and cost."""

import copy

import pytest
import torch
from pathways import CLASSES, MODELS, batch, small_hub
from torch import nn
from torch.testing import assert_close

from hubfast.pathway import HubModel, HubPathway, cached_features, pathway_generator
from hubfast.pathway.flops import inference_cost, training_cost
from hubfast.pathway.gpu_executors import Graphs, Streams
from hubfast.pathway.losses import exploration, task_loss
from hubfast.pathway.models import ResizedBatch
from hubfast.profiling.counts import parameters

AGGREGATORS = ("linear", "sum", "features")


def by_hand(hub, images):
    """Sample after sample, as the equations say, from the models' outputs."""
    routes = hub.route(images)
    resized = ResizedBatch(images)
    answers = []
    for b in range(len(images)):
        pieces = [torch.zeros(CLASSES) for _ in hub.models]
        for gate, m in zip(routes.gates[b], routes.chosen[b], strict=True):
            model = hub.models[m]
            pieces[m] = gate * model(resized.of(model.size)[b : b + 1])[0]
        answers.append(hub.aggregator.linear(torch.cat(pieces)))
    return torch.stack(answers)


@torch.no_grad()
@pytest.mark.parametrize("k", [1, 2, MODELS])
def test_answer_by_hand(k):
    hub = small_hub(k).eval()
    nn.init.normal_(hub.aggregator.linear.weight)
    nn.init.normal_(hub.aggregator.linear.bias)
    images, _ = batch()
    assert_close(hub(images), by_hand(hub, images))
    assert len(set(hub.routes.chosen[:, 0].tolist())) > 1  # the test sees several pathways


@torch.no_grad()
def test_linear_starts_as_weighted_sum():
    images, _ = batch()
    assert_close(small_hub().eval()(images), small_hub(aggregator="sum").eval()(images))


@torch.no_grad()
def test_prior_is_how_models_are_chosen_at_the_start():
    prior = [0.0, 6.0, 3.0, *[0.0] * (MODELS - 3)]
    hub = small_hub(2, prior=prior).eval()
    last = hub.generator.mean.module[-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    routes = hub.route(batch()[0])
    assert routes.chosen.tolist() == [[1, 2]] * len(routes.chosen)
    assert_close(routes.gates[0], torch.tensor([2 / 3, 1 / 3]))
    gone = routes.probabilities[0] / routes.probabilities[0, 1]
    assert_close(gone[0], torch.tensor(0.01))  # the generator can still find it


@torch.no_grad()
def test_all_models_and_equal_gates_are_the_ensemble():
    hub = small_hub(MODELS, aggregator="sum").eval()
    for last in (hub.generator.mean.module[-1],):
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    images, _ = batch()
    resized = ResizedBatch(images)
    ensemble = torch.stack([m(resized.of(m.size)) for m in hub.models]).mean(0)
    assert_close(hub(images), ensemble)


@torch.no_grad()
def test_models_get_their_size_and_normalisation():
    model = HubModel(nn.Identity(), mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.2))
    assert_close(model(torch.full((1, 3, 1, 1), 0.5)).flatten(), torch.tensor([0.8, 0.75, 1.0]))
    resized = ResizedBatch(torch.rand(2, 3, 8, 6))
    assert resized.of((4, 3)).shape == (2, 3, 4, 3)
    assert resized.of((4, 3)) is resized.of((4, 3))  # made once
    assert resized.of(None) is resized.of((8, 6)) is resized.images


@torch.no_grad()
@pytest.mark.parametrize("aggregator", AGGREGATORS)
@pytest.mark.parametrize("executor", ["dense", "threads", "auto"])
def test_executors_agree(executor, aggregator):
    hub = small_hub(aggregator=aggregator, classes=CLASSES, executor="loop").eval()
    images, _ = batch(33)
    expected = hub(images)
    hub.executor = executor
    assert_close(hub(images), expected)


def test_dense_trains_as_loop_does_with_frozen_batch_norm():
    images, targets = batch()
    gradients = {}
    for executor in ("loop", "dense"):
        hub = small_hub(executor=executor).train()
        for model in hub.models:
            model.eval()
        torch.manual_seed(3)  # of the noise
        sum(hub.losses(images, targets).values()).backward()
        gradients[executor] = {n: p.grad for n, p in hub.named_parameters() if p.grad is not None}
    for name, gradient in gradients["loop"].items():
        assert_close(gradient, gradients["dense"][name], rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_eval_is_deterministic_and_batch_invariant():
    hub = small_hub().eval()
    images, _ = batch(21)
    expected = hub(images)
    assert torch.equal(hub(images), expected)
    assert_close(torch.cat([hub(x[None]) for x in images]), expected)


def test_training_is_noisy():
    hub = small_hub().train()
    images, _ = batch()
    first, second = (hub.route(images).probabilities for _ in range(2))
    assert not torch.equal(first, second)
    hub = small_hub(noise=False).train()
    assert torch.equal(hub.route(images).probabilities, hub.route(images).probabilities)


@torch.no_grad()
def test_one_image_runs_k_models_and_no_noise():
    hub = small_hub(executor="auto").eval()
    ran = []
    for name in [f"models.{m}" for m in range(MODELS)] + ["generator.spread"]:
        hub.get_submodule(name).register_forward_hook(lambda *_, n=name: ran.append(n))
    for image in batch()[0]:
        ran.clear()
        hub(image[None])
        assert sorted(ran) == sorted(f"models.{m}" for m in hub.routes.chosen[0])


@pytest.mark.parametrize("aggregator", AGGREGATORS)
@pytest.mark.parametrize("k", [1, 2, MODELS])
def test_every_parameter_that_took_part_gets_a_gradient(k, aggregator):
    hub = small_hub(k, aggregator=aggregator, classes=CLASSES, entropy="sample").train()
    images, targets = batch(40)
    terms = hub.losses(images, targets)
    assert set(terms) == {"task", "exploration", "exploitation"}
    sum(terms.values()).backward()
    assert (hub.routes.counts > 0).all()
    for name, p in hub.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0 or name.endswith("stem.bias"), name


def test_losses_by_hand():
    hub = small_hub(exploration=0.3, exploitation=0.7).eval()
    images, targets = batch()
    found = hub.losses(images, targets)
    routes = hub.routes
    assert_close(found["task"], nn.functional.cross_entropy(hub(images), targets))
    each = routes.probabilities
    entropy = -(each * each.log()).sum(1).mean()
    assert_close(found["exploration"], 0.3 * (torch.tensor(MODELS).log() - entropy))
    resized, own = ResizedBatch(images), []
    for b in range(len(images)):
        for m in routes.chosen[b]:
            model = hub.models[m]
            logits = model(resized.of(model.size)[b : b + 1])
            own.append(nn.functional.cross_entropy(logits, targets[b : b + 1]))
    assert_close(found["exploitation"], 0.7 * torch.stack(own).mean())


def test_entropy_forms():
    sharp = torch.eye(2, dtype=torch.float64) * 100  # each sample sure, both models used
    from hubfast.ops import route

    routes = route(sharp, 1)
    assert_close(exploration(routes, "batch"), torch.tensor(0.0, dtype=torch.float64))
    assert_close(exploration(routes, "sample"), torch.tensor(2.0, dtype=torch.float64).log())


def test_regression_targets():
    outputs = torch.tensor([[1.0], [3.0]])
    assert_close(task_loss(outputs, torch.tensor([0.0, 1.0])), torch.tensor(2.5))


def test_batch_norm_of_few_samples_keeps_its_statistics():
    hub = small_hub(min_count=6).train()
    images, _ = batch(12)
    before = [copy.deepcopy(m.module.norm.running_mean) for m in hub.models]
    hub(images)
    counts = hub.routes.counts.tolist()
    assert min(counts) < 6 <= max(counts)
    for model, old, count in zip(hub.models, before, counts, strict=True):
        assert torch.equal(model.module.norm.running_mean, old) == (count < 6)
        assert model.module.norm.training


def test_one_sample_trains():
    hub = small_hub().train()
    images, targets = batch(1)
    sum(hub.losses(images, targets).values()).backward()
    unused = set(range(MODELS)) - set(hub.routes.chosen[0].tolist())
    for m in unused:
        assert all(p.grad is None for p in hub.models[m].parameters())


def fit(hub, steps, optimizer=None, start=0, accumulate=1, autocast=False):
    optimizer = optimizer or torch.optim.AdamW(hub.parameters(), 3e-3)
    hub.train()
    losses = []
    for step in range(start, start + steps):
        images, targets = batch(16, seed=step % 2)
        for part in range(accumulate):
            rows = slice(part * 16 // accumulate, (part + 1) * 16 // accumulate)
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = sum(hub.losses(images[rows], targets[rows]).values())
            (loss / accumulate).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses, optimizer


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"autocast": True}], ids=str)
def test_trains_in_a_plain_loop(options):
    losses, _ = fit(small_hub(), 60, **options)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_resumes_to_the_same_result():
    whole = small_hub()
    torch.manual_seed(5)
    fit_seeded(whole, 0, 6)
    first = small_hub()
    optimizer = fit_seeded(first, 0, 3)
    state = copy.deepcopy((first.state_dict(), optimizer.state_dict()))
    second = small_hub(seed=9)
    second.load_state_dict(state[0])
    optimizer = torch.optim.AdamW(second.parameters(), 3e-3)
    optimizer.load_state_dict(state[1])
    fit_seeded(second, 3, 6, optimizer)
    for (name, a), b in zip(whole.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def fit_seeded(hub, start, stop, optimizer=None):
    for step in range(start, stop):
        _, optimizer = fit(hub, 1, optimizer, start=step)
    return optimizer


def test_frozen_hub_trains_from_cached_features():
    images, targets = batch(14)
    hub = small_hub(executor="loop")
    hub.freeze()
    features = cached_features(hub.models, images.split(4))
    hub.train()
    states = [copy.deepcopy(m.module.norm.state_dict()) for m in hub.models]
    gradients = []
    for known in (None, features):
        torch.manual_seed(2)  # of the noise
        terms = hub.losses(images, targets, features=known)
        sum(terms.values()).backward()
        gradients.append({n: p.grad for n, p in hub.named_parameters() if p.grad is not None})
        hub.zero_grad()
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-5)
    trained = {name for name in gradients[0] if name.startswith("models")}
    assert trained
    assert all(".fc." in name for name in trained)
    for model, state in zip(hub.models, states, strict=True):
        assert_close(model.module.norm.state_dict(), state)


def test_exact_size_and_cost():
    """Five ResNet-50 with 100 classes and k = 2: the published figures."""
    import timm

    with torch.device("meta"):
        hub = HubPathway([timm.create_model("resnet50") for _ in range(5)], 2, classes=100)
    assert parameters(hub) == 128_431_474
    assert parameters(hub.models) == 118_564_660
    cost = inference_cost(hub, 224)
    assert cost.hub == pytest.approx(9.11e9, abs=0.02e9)
    assert cost.ensemble == pytest.approx(20.55e9, abs=0.005e9)
    assert cost.limit == pytest.approx(2.26, abs=0.005)
    assert training_cost(hub, 224).limit == pytest.approx(2.066, abs=0.001)
    assert all(p.grad is None for p in hub.parameters())


def test_timm_models_bring_size_and_normalisation():
    import timm

    models = {"a": timm.create_model("test_resnet"), "b": timm.create_model("test_vit")}
    hub = HubPathway(models, 1, classes=7, generator=pathway_generator("test_resnet", 2, size=32))
    assert hub.names == ["a", "b"]
    assert [m.size for m in hub.models] == [(160, 160)] * 2
    assert hub.models[0].mean.flatten().tolist() == pytest.approx([0.5] * 3)
    assert hub.eval()(torch.rand(2, 3, 40, 40)).shape == (2, 7)


def test_names_become_unique():
    assert small_hub().names == [f"model {m}" for m in range(MODELS)]
    models = [HubModel(nn.Linear(2, 2), name="same") for _ in range(2)]
    hub = HubPathway(models, 1, classes=2, generator=pathway_generator("test_resnet", 2))
    assert hub.names == ["same", "same (2)"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 5}, r"k must be in 1..4, the number of models, got 5"),
        ({"aggregator": "mean"}, "aggregator must be linear, sum or features, got 'mean'"),
        ({"entropy": "all"}, "entropy must be batch or sample, got 'all'"),
        ({"executor": "gpu"}, r"executor must be one of \['auto', 'loop'"),
        ({"aggregator": "features"}, "classes must be given for the head"),
    ],
    ids=str,
)
def test_refuses_options(change, message):
    with pytest.raises(ValueError, match=message):
        small_hub(**change)


def test_refuses_models():
    with pytest.raises(ValueError, match="models must hold at least one model"):
        HubPathway([], 1)
    with pytest.raises(TypeError, match=r"models must hold nn\.Modules, got str"):
        HubPathway(["resnet50"], 1)
    with pytest.raises(ValueError, match="Linear must have num_classes, its width, or classes"):
        HubPathway([nn.Linear(2, 2)], 1, generator=pathway_generator("test_resnet", 1))
    with pytest.raises(TypeError, match=r"plain must have forward_features\(\), as timm models"):
        HubModel(nn.Linear(2, 2), name="plain").freeze()


def test_refuses_batches():
    hub = small_hub(executor=Graphs()).eval()
    with pytest.raises(ValueError, match="images must be float"):
        hub(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    images, _ = batch()
    with torch.no_grad(), pytest.raises(RuntimeError, match="Graphs must run on a GPU, got cpu"):
        hub(images)
    hub.executor = Streams()
    with pytest.raises(RuntimeError, match="Streams must run on a GPU, got cpu"):
        hub(images)
    hub.executor = "threads"
    with pytest.raises(RuntimeError, match="'threads' must run in eval mode"):
        hub(images)
    with pytest.raises(ValueError, match="features must be of 4 models, got 1"):
        hub(images, features=[images])


def test_refuses_outputs_of_another_width():
    hub = small_hub()
    hub.models[0].module.fc = nn.Linear(4, 7)
    with pytest.raises(ValueError, match=r"models must give logits \(rows, 3\), got"):
        hub(batch(40)[0])
