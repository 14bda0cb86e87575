"""Loss terms, against hand-computed values and independent forms."""

import copy
import math

import pytest
import timm
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from hubfast.scores.logme.logme import LogME
from hubfast.tuning import (
    BSS,
    DELTA,
    KD,
    L2SP,
    BTuning,
    CachedTeachers,
    CoTuning,
    Ensemble,
    Regularised,
    SoftTargets,
    StochNorm,
    TargetEncoder,
    TaskLoss,
    Teachers,
    TransferModel,
    b_tuning,
    bss,
    cache,
    category_relationship,
    channel_attention,
    co_tuning,
    delta,
    kd,
    l2_sp,
    plain_norm,
    soft_targets,
    stoch_norm,
    teacher_weights,
)
from hubfast.tuning.terms.delta import feature_maps

CLASSES = TargetEncoder("classification", 3, ("a", "b", "c"), torch.arange(3))


def svd_bss(features, k=1):
    return torch.linalg.svdvals(features.double())[-k:].square().sum()


def test_bss_by_hand():
    features = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0]])  # singular values 3 and 2
    assert bss(features).item() == pytest.approx(4)
    assert bss(features, k=2).item() == pytest.approx(13)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_bss_is_that_of_the_svd(rows, width, k, seed):
    torch.manual_seed(seed)
    x, k = torch.randn(rows, width), min(k, rows, width)
    assert bss(x, k).item() == pytest.approx(svd_bss(x, k).item(), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (1, 3)])
def test_bss_gradient(shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bss, (x,))


def test_bss_gradient_is_finite_where_that_of_the_svd_is_not():
    x = torch.ones(6, 9, requires_grad=True)  # rank 1: five equal singular values, all zero
    bss(x, k=3).backward()
    assert bool(torch.isfinite(x.grad).all())
    y = torch.ones(6, 9, dtype=torch.float64, requires_grad=True)
    u, s, v = torch.linalg.svd(y, full_matrices=False)
    (s.square().sum() + 0 * (u.sum() + v.sum())).backward()
    zero = torch.zeros(4, 4, requires_grad=True)
    bss(zero).backward()
    assert zero.grad.abs().max() == 0


def test_bss_has_no_second_derivative():
    x = torch.randn(4, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(bss(x), x, create_graph=True)
    with pytest.raises(RuntimeError, match="bss has no second derivative"):
        gradient.sum().backward()


def test_bss_under_autocast():
    x = torch.randn(6, 20, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        features = F.linear(x, torch.eye(20))
        value = bss(features)
    assert features.dtype == torch.bfloat16
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(svd_bss(features.detach()).item(), rel=1e-5)
    value.backward()
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's own
def test_bss_as_an_op():
    for shape in ((4, 7), (7, 4)):
        x = torch.randn(shape, requires_grad=True)
        torch.library.opcheck(torch.ops.hubfast.bss, (x, 2, None))
    compiled = torch.compile(bss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), bss(x))


@pytest.mark.parametrize("shape", [(48, 300), (300, 48), (5, 5), (1, 9)])
def test_bss_backends_agree(shape):
    x = torch.randn(shape).relu()
    k = min(3, *shape)
    found = {}
    for backend in ("native", "scipy", "torch"):
        leaf = x.clone().requires_grad_()
        value = bss(leaf, k, backend=backend)
        value.backward()
        found[backend] = value.detach(), leaf.grad
    for backend in ("native", "scipy"):
        torch.testing.assert_close(found[backend], found["torch"], rtol=1e-4, atol=1e-5)
    for backend in found:  # which the Trainer then names
        assert math.isnan(bss(torch.full(shape, float("nan")), backend=backend))


@pytest.mark.parametrize("k", [0, 5])
def test_bss_refuses_k(k):
    with pytest.raises(ValueError, match=rf"k in 1\.\.min\(B, D\), got k={k}"):
        bss(torch.zeros(4, 9), k)


def test_l2_sp_by_hand():
    assert l2_sp([torch.tensor([1.0, 2.0])], [torch.tensor([0.0, 4.0])]).item() == 2.5
    model = tiny.model()
    term = L2SP(model, weight=2.0, head_weight=0.5)
    method = Regularised(model, TaskLoss(CLASSES), {"l2_sp": term})
    images, targets = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    head = sum(p.square().sum() for p in model.head.parameters())
    assert method.losses(images, targets)["l2_sp"].item() == pytest.approx(0.25 * head.item())
    with torch.no_grad():
        model.model.conv.bias += 1.0
    grown = 0.25 * head.item() + 2.0 * 0.5 * len(model.model.conv.bias)
    assert method.losses(images, targets)["l2_sp"].item() == pytest.approx(grown, rel=1e-5)
    assert not any("start" in n and p.requires_grad for n, p in method.named_parameters())


def test_delta_by_hand():
    maps, start = torch.ones(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    maps[0, 1] = 3
    assert delta(maps, start).item() == 0.5 * (4 * 1 + 4 * 9)
    attention = torch.tensor([0.25, 0.75])
    assert delta(maps, start, attention).item() == pytest.approx(0.5 * 2 * (0.25 * 1 + 0.75 * 9))
    with pytest.raises(ValueError, match=r"maps must be \(B, C, H, W\) like start"):
        delta(maps, start[:, :1])


def test_delta_term_follows_the_model_and_leaves_no_hooks():
    model = tiny.model(norm=lambda width: nn.Identity())
    method = Regularised(model, TaskLoss(CLASSES), {"delta": DELTA(model, {"conv": None})})
    images, targets = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    head = 0.005 * sum(p.square().sum().item() for p in model.head.parameters())
    method.train()
    assert method.losses(images, targets)["delta"].item() == pytest.approx(head)
    with torch.no_grad():
        model.model.conv.bias += 1.0  # every map value moves by 1
    moved = 0.01 * 0.5 * 4 * 6 * 64
    found = method.losses(images, targets)["delta"]
    assert found.item() == pytest.approx(head + moved, rel=1e-5)
    found.backward()
    assert model.model.conv.weight.grad is not None
    assert all(p.grad is None for p in method.terms["delta"].parameters())
    assert not any(m._forward_hooks for m in method.modules())


def test_channel_attention_is_what_zeroing_a_filter_costs():
    model = tiny.model(norm=lambda width: nn.Identity())
    with torch.no_grad():
        model.head.weight.normal_()
    images, targets = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    found = channel_attention(model, "conv", images, targets, chunk=4)
    losses = []
    for channel in range(6):
        without = copy.deepcopy(model)
        with torch.no_grad():
            without.model.conv.weight[channel] = 0
            without.model.conv.bias[channel] = 0
        losses.append(F.cross_entropy(without(images), targets))
    gain = torch.stack(losses) - F.cross_entropy(model(images), targets)
    wanted = ((gain - gain.mean()) / gain.std() / 5).softmax(0)
    torch.testing.assert_close(found, wanted)
    assert found.sum().item() == pytest.approx(1)


def test_feature_maps_refuse_vectors():
    model = tiny.model()
    with pytest.raises(ValueError, match=r"module 'drop' must give maps"):
        channel_attention(model, "drop", torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    with feature_maps(model.model, ["conv"]) as maps:
        model(torch.rand(2, 3, 8, 8))
    assert maps["conv"].shape == (2, 6, 8, 8)


def test_co_tuning_by_hand():
    probabilities = torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.7, 0.3]])
    relationship = category_relationship(probabilities, torch.tensor([0, 1, 0]), 2)
    torch.testing.assert_close(relationship, torch.tensor([[0.6, 0.4], [0.1, 0.9]]))
    logits = torch.tensor([[0.0, math.log(3)]])
    wanted = -(0.6 * math.log(0.25) + 0.4 * math.log(0.75))
    assert co_tuning(logits, relationship, torch.tensor([0])).item() == pytest.approx(wanted)
    with pytest.raises(ValueError, match=r"every class, got none of \[2\]"):
        category_relationship(probabilities, torch.tensor([0, 1, 0]), 3)


def test_co_tuning_tunes_a_copy_of_the_source_head():
    model = tiny.model()
    (source,) = model.source_head
    before = source.weight.clone()
    relationship = torch.full((3, 5), 0.2)
    term = CoTuning(source, relationship)
    method = Regularised(model, TaskLoss(CLASSES), {"co_tuning": term})
    found = method.losses(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))["co_tuning"]
    found.backward()
    assert term.source_head.weight.grad is not None
    assert source.weight.grad is None
    assert torch.equal(source.weight, before)


def test_kd_by_hand():
    features, teacher = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0, 1.0]])
    project = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        project.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))  # gives 1, 2, 3
    assert kd(features, [teacher], [project]).item() == 0 + 1 + 4
    assert kd(features, [teacher, teacher], [project, nn.Identity()][:1] * 2).item() == 5


def test_kd_learns_its_projections():
    model, teacher = tiny.model(), tiny.model(width=4, seed=1)
    term = KD(6, [4], Teachers([teacher]), weight=0.5)
    method = Regularised(model, TaskLoss(CLASSES), {"kd": term}).train()
    images = torch.rand(4, 3, 8, 8)
    found = method.losses(images, torch.tensor([0, 1, 2, 0]))["kd"]
    found.backward()
    assert term.projections[0].weight.grad is not None
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert not teacher.training


def test_soft_targets_by_hand():
    logits, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(9), 0.0]])
    at_one = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert soft_targets(logits, teacher, 1.0).item() == pytest.approx(at_one)
    at_two = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert soft_targets(logits, teacher, 2.0).item() == pytest.approx(4 * at_two)


def test_teacher_weights():
    weights = teacher_weights([0.5, 0.4], 0.1)
    assert weights.tolist() == pytest.approx([math.e / (1 + math.e), 1 / (1 + math.e)])
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        teacher_weights([1.0], 0)


def test_b_tuning_by_hand():
    features, teacher = torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0]])
    means, teacher_means = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]])
    found = b_tuning(features, means, [teacher] * 2, [teacher_means] * 2, torch.tensor([0.5, 0.5]))
    assert found.item() == (3 - 6) ** 2


def test_b_tuning_takes_logme_of_any_widths():
    pictures, labels = tiny.pictures()
    model, teachers = tiny.model(), [tiny.model(width=w, seed=w) for w in (4, 9)]
    online = Teachers(teachers)
    cached = cache(online, pictures)
    targets = pictures.data.targets
    fits = [LogME.fit(cached.values[k], targets) for k in range(2)]
    own = LogME.fit(cache(Teachers([copy.deepcopy(model)]), pictures).values[0], targets)
    found = {}
    images, rows = pictures.batch([3, 1, 4]), torch.tensor([3, 1, 4])
    for name, each in (("online", online), ("cached", cached)):
        term = BTuning(own.means, each, [f.means for f in fits], [f.score for f in fits])
        method = Regularised(model, TaskLoss(labels), {"b_tuning": term}).eval()
        found[name] = method.losses(images, pictures.targets[rows], rows)["b_tuning"]
    torch.testing.assert_close(found["online"], found["cached"])
    weights = teacher_weights([f.score for f in fits]).float()
    wanted = sum(
        w * torch.as_tensor(f.decision_function(t.features(images).detach())).float()
        for w, f, t in zip(weights, fits, teachers, strict=True)
    )
    ours = torch.as_tensor(own.decision_function(model.features(images).detach())).float()
    torch.testing.assert_close(found["online"], 100 * F.mse_loss(ours, wanted))
    with pytest.raises(ValueError, match="rows must say which samples"):
        method.losses(images, pictures.targets[rows])


def test_teachers_of_augmented_pictures_are_not_cached():
    pictures, _ = tiny.pictures(augment="crop")
    with pytest.raises(ValueError, match="must not be augmented"):
        cache(Teachers([tiny.model()]), pictures)


def test_soft_targets_term_reads_one_tuned_teacher():
    teacher = Ensemble([tiny.model(seed=1), tiny.model(seed=2)], TaskLoss(CLASSES))
    model = tiny.model()
    term = SoftTargets(Teachers([teacher], "logits"), weight=3.0, temperature=2.0)
    method = Regularised(model, TaskLoss(CLASSES), {"distill": term}).eval()
    images = torch.rand(4, 3, 8, 8)
    found = method.losses(images, torch.tensor([0, 1, 2, 0]))["distill"]
    wanted = 3 * soft_targets(model(images), teacher(images), 2.0)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_stoch_norm(p):
    norm = nn.BatchNorm2d(400)
    torch.nn.init.normal_(norm.weight)
    twin, x = copy.deepcopy(norm), torch.randn(5, 400, 2, 2) + 1
    layer = StochNorm(norm, p).train()
    out = layer(x)
    batch = twin.train()(x)  # updates its running statistics as well
    running = twin.eval()(x)
    by_batch = (out - batch).abs().amax((0, 2, 3)) < 1e-6
    by_running = (out - running).abs().amax((0, 2, 3)) < 1e-6
    assert bool((by_batch | by_running).all())
    assert by_running.float().mean().item() == pytest.approx(p, abs=0.1)
    torch.testing.assert_close(norm.running_var, twin.running_var)
    torch.testing.assert_close(layer.eval()(x), twin(x))


def test_stoch_norm_converts_and_back():
    model = timm.create_model("test_resnet", num_classes=4).eval()
    images = torch.rand(2, 3, 32, 32)
    converted = stoch_norm(model)
    assert sum(isinstance(m, StochNorm) for m in converted.modules()) > 3
    torch.testing.assert_close(converted(images), model(images))
    converted.train()(images).sum().backward()
    back = plain_norm(converted)
    assert back.state_dict().keys() == model.state_dict().keys()
    with pytest.raises(ValueError, match=r"p must be in 0\.\.1, got 2"):
        stoch_norm(model, 2)
    with pytest.raises(ValueError, match="must have BatchNorm layers"):
        stoch_norm(nn.Linear(2, 2))


def test_ensemble_trains_members_alone_and_averages_probabilities():
    members = [tiny.model(seed=k) for k in range(2)]
    ensemble = Ensemble(members, TaskLoss(CLASSES)).eval()
    images, targets = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    mean = torch.stack([m(images).softmax(1) for m in members]).mean(0)
    torch.testing.assert_close(ensemble(images).softmax(1), mean)
    losses = ensemble.losses(images, targets)
    torch.testing.assert_close(losses["member_2"], F.cross_entropy(members[1](images), targets))
    with pytest.raises(ValueError, match="members must hold"):
        Ensemble([], TaskLoss(CLASSES))


def test_terms_add_up_and_take_their_weight():
    model = tiny.model()
    method = Regularised(model, TaskLoss(CLASSES), {"bss": BSS(0.5)}).eval()
    images, targets = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    found = method.losses(images, targets)
    torch.testing.assert_close(found["bss"], 0.5 * bss(model.features(images)))
    torch.testing.assert_close(found["task"], F.cross_entropy(model(images), targets))


def test_cached_teachers_are_no_part_of_a_checkpoint():
    assert CachedTeachers([torch.ones(3, 2)]).state_dict() == {}
    assert isinstance(tiny.model(), TransferModel)
