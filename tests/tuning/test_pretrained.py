"""Pre-trained models with new heads, and images as training batches."""

import numpy as np
import pytest
import timm
import tiny
import torch
from torch import nn
from torchvision.transforms import v2

from hubfast.data import as_target_data
from hubfast.hub import StoredFeatures, as_source
from hubfast.hub.network import features_of
from hubfast.tuning import (
    ImageDataset,
    TargetEncoder,
    TransferModel,
    evaluate,
    from_source,
    predict,
)
from hubfast.tuning.pretrained import preprocessing


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext2", "test_efficientnet"])
def test_a_timm_model_keeps_its_features_and_exports_as_itself(name):
    options = {"img_size": 32} if name == "test_vit" else {}
    plain = timm.create_model(name, **options).eval()
    images = torch.rand(2, 3, 32, 32)
    wanted, _ = features_of(plain, images, False)
    model = TransferModel(timm.create_model(name, **options), 4, images).eval()
    model.model.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(model.features(images), wanted)
    exported = model.export()
    assert type(exported) is type(plain)
    assert exported.num_classes == 4
    torch.testing.assert_close(exported(images), model(images))
    assert exported.state_dict().keys() == plain.state_dict().keys()


def test_a_model_without_classifier_gets_one():
    body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.rand(2, 3, 8, 8)
    model = TransferModel(body, 4, images)
    assert (model.place, model.width, model(images).shape) == ("", 5, (2, 4))
    torch.testing.assert_close(model.export()(images), model(images))
    with pytest.raises(ValueError, match=r"features \(B, D\), got \(2, 5, 6, 6\)"):
        TransferModel(nn.Conv2d(3, 5, 3), 4, images)


def test_preprocessing_is_found_by_using_it():
    plain = timm.create_model("test_resnet", num_classes=3).eval()
    plain.pretrained_cfg = {**plain.pretrained_cfg, "crop_pct": 1.0}
    source = as_source(plain)
    images = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8)
    model = from_source(source, 4, images.float() / 255)
    network = source.load()
    wanted = torch.stack([network.transform(v2.functional.to_pil_image(image)) for image in images])
    assert model.size == wanted.shape[-2:]
    torch.testing.assert_close(model.prepare(images.float() / 255), wanted, atol=0.02, rtol=0)


def test_what_cannot_be_tuned_is_said(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((3, 2)))
    source = as_source(str(tmp_path / "f.npy"))
    assert isinstance(source.load(), StoredFeatures)
    with pytest.raises(TypeError, match=r"hub model 'f' must be an nn.Module"):
        from_source(source, 2, torch.rand(2, 3, 8, 8))
    solarize = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), torch.square])
    with pytest.raises(ValueError, match="transform must resize, crop and normalise"):
        preprocessing(solarize)


def test_regression_heads_start_at_the_mean_and_export_in_its_unit():
    model = tiny.model(outputs=1)
    images = torch.rand(4, 3, 8, 8)
    scaled = TransferModel(
        tiny.Small(), 1, images, shift=torch.tensor([45.0]), scale=torch.tensor([26.0])
    ).eval()
    assert (scaled(images) - 45).abs().max() < 5
    torch.testing.assert_close(scaled.export()(images), scaled(images))
    assert model.scale is None


def test_labels_map_any_class_ids():
    images, _ = tiny.coloured(6)
    target = as_target_data((list(images), np.array([5, 2, 9, 5, 2, 9])))
    labels = TargetEncoder.of(target)
    assert labels.names == ("2", "5", "9")
    assert labels.encode(target).tolist() == [1, 0, 2, 1, 0, 2]
    with pytest.raises(ValueError, match="classes that the training data lacks: 3"):
        labels.encode(as_target_data((list(images[:2]), np.array([2, 3]))))
    with pytest.raises(ValueError, match="at least 2 classes"):
        TargetEncoder.of(as_target_data((list(images), np.zeros(6, int))))


def test_images_are_in_0_1_and_cropped_to_size():
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = 255  # its middle
    target = as_target_data(([wide, wide], np.array([0, 1])))
    labels = TargetEncoder.of(target)
    image, encoded, position = ImageDataset(target, labels, (8, 8))[(0, 1)]
    assert image.shape == (3, 8, 8)
    assert image.dtype == torch.float32
    assert image.min() == image.max() == 1
    assert (int(encoded), position) == (1, 1)


def test_augmentation_follows_from_seed_epoch_and_position():
    pictures, labels = tiny.pictures(augment="crop-flip", seed=0)
    again = ImageDataset(pictures.data, labels, tiny.SIZE, augment="crop-flip", seed=0)
    other = ImageDataset(pictures.data, labels, tiny.SIZE, augment="crop-flip", seed=1)
    torch.rand(7)  # nothing outside matters
    assert torch.equal(pictures[(2, 3)][0], again[(2, 3)][0])
    assert not torch.equal(pictures[(2, 3)][0], pictures[(1, 3)][0])
    assert not torch.equal(pictures[(2, 3)][0], other[(2, 3)][0])
    with pytest.raises(ValueError, match=r"augment must be one of .*, got 'x'"):
        ImageDataset(pictures.data, labels, tiny.SIZE, augment="x")


@pytest.mark.parametrize(
    ("targets", "task", "metric"),
    [
        (np.arange(24) % 3, None, "accuracy"),
        (np.arange(48).reshape(24, 2) % 3 % 2, None, "mean average precision"),
        (np.linspace(0, 9, 24), None, "R2"),
    ],
)
def test_evaluation_by_task(targets, task, metric):
    images, _ = tiny.coloured()
    target = as_target_data((list(images), targets), task=task)
    labels = TargetEncoder.of(target)
    pictures = ImageDataset(target, labels, tiny.SIZE)
    model = tiny.model(outputs=labels.outputs)
    found = evaluate(model, pictures, labels)
    assert found.metric == metric
    logits = predict(model, pictures, batch_size=5)
    torch.testing.assert_close(found.logits, logits)
    if metric == "accuracy":
        wanted = (logits.argmax(1) == pictures.targets).double().mean()
        assert found.value == wanted.item()
        assert found.confusion.sum() == 24
        assert found.confusion.trace() == (logits.argmax(1) == pictures.targets).sum()
    elif metric == "R2":
        residual = (logits - pictures.targets).square().sum()
        spread = (pictures.targets - pictures.targets.mean()).square().sum()
        assert found.value == pytest.approx(1 - (residual / spread).item(), rel=1e-4)
    else:
        assert 0 <= found.value <= 1
