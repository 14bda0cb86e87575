"""What leaves Zoo-Tuning: safetensors, plain timm models, torch.export and ONNX programs."""

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from zoo_networks import NatureCNN, small, spread, tiny

from hubfast.zoo import ZooTuning

BATCH = ({0: torch.export.Dim("batch", min=2, max=64)},)


def trained(models, images, *, lite):
    """Gates, averages and statistics that are no longer those of the start; in evaluation."""
    zoo = spread(ZooTuning.from_models(models, 5, lite=lite)).train()
    zoo(images)
    torch.nn.init.normal_(list(zoo.network.modules())[-1].weight)  # of the head, at first small
    return zoo.eval()


@pytest.mark.parametrize("lite", [False, True])
def test_state_survives_safetensors(lite, tmp_path):
    zoo = trained(small(), torch.rand(4, 3, 32, 32), lite=lite)
    save_file(zoo.state_dict(), tmp_path / "zoo.safetensors")
    other = ZooTuning.from_models(small(), 5, lite=lite)
    other.load_state_dict(load_file(tmp_path / "zoo.safetensors"))
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(zoo(x), other.eval()(x))


def test_a_folded_lite_is_a_timm_model_again(tmp_path):
    zoo = trained(small(), torch.rand(4, 3, 32, 32), lite=True)
    folded = zoo.fold()
    path = tmp_path / "folded.safetensors"
    save_file(folded.state_dict(), path)
    fresh = timm.create_model("test_resnet", num_classes=5, checkpoint_path=str(path)).eval()
    assert type(fresh) is type(folded)
    assert list(fresh.state_dict()) == list(folded.state_dict())
    for name, value in folded.state_dict().items():
        other = fresh.state_dict()[name]
        assert other.dtype == value.dtype, name
        assert torch.equal(other, value), name
    assert [n for n, p in folded.named_parameters() if not p.requires_grad] == []
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(fresh(x), folded(x))
    assert_close(fresh(zoo.normalize(x)), zoo(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lite", [False, True])
def test_folded_networks_export(lite):
    images = torch.rand(3, 3, 12, 12)
    folded = trained([tiny() for _ in range(2)], images, lite=lite).fold()
    exported = torch.export.export(folded, (images,), dynamic_shapes=BATCH).module()
    assert_close(exported(images[:2]), folded(images[:2]))


def timm_hub():
    return small(), torch.rand(3, 3, 32, 32)


def plain_hub():
    return [tiny() for _ in range(2)], torch.rand(3, 3, 12, 12)


def agents():
    return [NatureCNN() for _ in range(2)], torch.rand(3, 4, 84, 84)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # the exporter's
@pytest.mark.parametrize(
    ("hub", "lite"), [(timm_hub, True), (agents, True), (plain_hub, True), (plain_hub, False)]
)
def test_onnx_computes_the_same(hub, lite, tmp_path):
    """Lite is one plain network; per sample, the form of plain operations is what ONNX knows."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    models, images = hub()
    heads = {"heads": {"9": torch.nn.Linear(512, 5)}} if hub is agents else {"num_classes": 5}
    zoo = spread(ZooTuning.from_models(models, **heads, lite=lite)).train()
    zoo(images)
    folded = zoo.eval().fold()
    if not lite:
        for layer in folded.zoo_layers().values():
            layer.form = "concatenate"
    path = tmp_path / "folded.onnx"
    torch.onnx.export(folded, (images,), path, dynamic_shapes=BATCH, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (images, images[:2]):
        (found,) = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
        expected = folded(batch)
        assert expected.std() > 0
        limit = 1e-5 * expected.abs().max().item()
        assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=limit)
