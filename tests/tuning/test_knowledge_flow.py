"""Knowledge Flow: published costs, independence of the student."""

import pytest
import timm
import tiny
import torch

from hubfast.profiling import counts
from hubfast.tuning import KnowledgeFlow, Recipe, TargetEncoder, TaskLoss, Trainer, TransferModel
from hubfast.tuning.methods.knowledge_flow import stage_names


def resnets(count, outputs=3):
    images = torch.rand(2, 3, 8, 8)
    return [TransferModel(timm.create_model("test_resnet"), outputs, images) for _ in range(count)]


def flow(steps=10, teachers=2):
    labels = TargetEncoder("classification", 3, ("a", "b", "c"), torch.arange(3))
    models = resnets(1 + teachers)
    images = torch.rand(2, 3, 8, 8)
    return KnowledgeFlow(models[0], models[1:], TaskLoss(labels), images, steps)


def test_five_resnet50_cost_what_is_published():
    with torch.device("meta"):
        images = torch.zeros(1, 3, 224, 224)
        models = [TransferModel(timm.create_model("resnet50"), 100, images) for _ in range(6)]
        labels = TargetEncoder("classification", 100, ())
        method = KnowledgeFlow(models[0], models[1:], TaskLoss(labels), images, steps=10)
    assert counts.parameters(method) == 169_105_892
    assert round(counts.operations(method.train(), images) / 1e9, 2) == 28.83
    assert counts.parameters(method.deployed) == 23_712_932
    assert round(counts.operations(method.deployed, images) / 1e9, 2) == 4.12


def test_the_student_starts_and_ends_alone():
    method = flow(steps=3)
    images, targets = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    alone = method.eval()(images)
    for norm in method.student.modules():  # training mode with the statistics of eval
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 0.0
            norm.training = False
    method.training = True
    torch.testing.assert_close(method(images), alone)
    with torch.no_grad():
        for weight in method.flows.parameters():
            weight.normal_()
    assert not torch.allclose(method(images), alone)
    found = [method.losses(images, targets) for _ in range(3)]
    assert found[0]["dependence"] == 0  # its weight grows from zero
    assert found[2]["dependence"] > 0
    torch.testing.assert_close(method(images), alone)  # all steps are taken
    torch.testing.assert_close(method.eval()(images), alone)
    assert not any(m._forward_hooks for m in method.modules())


def test_it_trains_flows_and_student_not_teachers():
    pictures, labels = tiny.pictures()
    method = flow(steps=12)
    before = [p.clone() for p in method.teachers.parameters()]
    trainer = Trainer(Recipe(epochs=2, batch_size=4), accelerator="cpu", progress=False)
    history = trainer.fit(method, pictures, labels)
    assert set(history.terms) == {"task", "dependence"}
    assert int(method.taken) == 12
    for a, b in zip(before, method.teachers.parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(bool(p.abs().max() > 0) for p in method.flows.parameters())


def test_teachers_of_other_widths_and_sizes():
    images = torch.rand(2, 3, 32, 32)
    labels = TargetEncoder("classification", 3, ("a", "b", "c"), torch.arange(3))
    student, other = (
        TransferModel(timm.create_model(name), 3, images)
        for name in ("test_resnet", "test_efficientnet")
    )
    method = KnowledgeFlow(student, [other], TaskLoss(labels), images, 5).train()
    losses = method.losses(images, torch.tensor([0, 1]))
    losses["task"].backward()
    assert all(p.grad is not None for p in method.flows.parameters())


def test_what_has_no_stages_is_said():
    with pytest.raises(ValueError, match="must have timm's feature_info, got Small"):
        stage_names(tiny.Small())
    images = torch.rand(2, 3, 32, 32)
    vit = TransferModel(timm.create_model("test_vit", img_size=32), 3, images)
    labels = TargetEncoder("classification", 3, ("a", "b", "c"), torch.arange(3))
    with pytest.raises(ValueError, match=r"must give maps \(B, C, H, W\)"):
        KnowledgeFlow(vit, [vit], TaskLoss(labels), images, 5)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        flow(steps=0)
