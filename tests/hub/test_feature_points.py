"""Several layers and poolings from one pass: those of a plain loop, and each as if asked alone."""

import weakref

import numpy as np
import pytest
import timm
import torch
import transformers as hf
from PIL import Image
from text_models import FAMILIES

from hubfast import as_source, as_target_data
from hubfast.hub import Extraction
from hubfast.hub.points import AskedPoints, FeaturePoint, PointsError
from hubfast.hub.timm_models import from_module
from hubfast.nn.inference import for_inference

TEXTS = ["good film", "a very very dull film", "fine", "bad plot the cast", "the film", "dull"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 32, "initializer_range": 0.5, "image_size": 16, "patch_size": 4}
STAGES = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2}
STAGES |= {"image_size": 16, "patch_size": 2, "initializer_range": 0.5}
IMAGES = {
    "vit": (hf.ViTModel, hf.ViTConfig(**SMALL), 1),
    "vit classifier": (hf.ViTForImageClassification, hf.ViTConfig(**SMALL, num_labels=3), 1),
    "deit": (hf.DeiTModel, hf.DeiTConfig(**SMALL), 2),
    "registers": (
        hf.Dinov2WithRegistersModel,
        hf.Dinov2WithRegistersConfig(**SMALL, num_register_tokens=3),
        4,
    ),
    "siglip": (hf.SiglipVisionModel, hf.SiglipVisionConfig(**SMALL), 0),
    "swin": (hf.SwinModel, hf.SwinConfig(**STAGES), 0),
    "convnext": (
        hf.ConvNextModel,
        hf.ConvNextConfig(hidden_sizes=[8, 12], depths=[1, 1], num_stages=2, patch_size=2),
        0,
    ),
    "resnet": (
        hf.ResNetForImageClassification,
        hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], num_labels=3),
        0,
    ),
}
TIMM = {
    "vit": ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "depth": 3}),
    "vit of means": (
        "vit_tiny_patch16_224",
        {"img_size": 32, "patch_size": 8, "depth": 2, "global_pool": "avg"},
    ),
    "registers": ("vit_small_patch14_reg4_dinov2", {"img_size": 56, "depth": 2}),
    "distilled": ("deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 2}),
    "swin": ("swin_tiny_patch4_window7_224", {"img_size": 56, "depths": (1, 1, 1, 1)}),
    "resnet": ("resnet18", {}),
    "convnext": ("convnext_atto", {}),
    "efficientnet": ("efficientnet_lite0", {}),
}


def points_of(model, data, layers, pooling, batch_size=4):
    """What a loaded model gives, by the names of points, and the notes."""
    options = Extraction(batch_size=batch_size, points=AskedPoints.of(layers, pooling), logits=True)
    batches = list(model.batches(data, options))
    columns = batches[0].columns
    assert all(batch.columns == columns for batch in batches)
    whole = torch.cat([batch.features for batch in batches])
    parts = whole.split(columns.widths, 1)
    return dict(zip(map(str, columns.points), parts, strict=True)), columns


def usual(model, data, batch_size=4):
    batches = list(model.batches(data, Extraction(batch_size=batch_size, logits=True)))
    assert all(batch.columns is None for batch in batches)
    return torch.cat([batch.features for batch in batches])


def check_each_alone(model, data, found, batch_size=4):
    """The points of one pass are those that are asked for one by one, to the last bit."""
    assert torch.equal(found.pop("last/auto"), usual(model, data, batch_size))
    for name, features in found.items():
        layer, pooling = name.split("/")
        asked = layer if layer in ("last", "mean") else int(layer)
        alone, _ = points_of(model, data, asked, pooling, batch_size)
        assert [*alone] == [name]
        assert torch.equal(alone[name], features), name
        assert features.dtype == torch.float32


@pytest.fixture(scope="module", params=["bert", "bert classifier", "gpt2", "xlnet", "t5 encoder"])
def text_model(request, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    kind = request.param if request.param in FAMILIES else "t5"
    made = FAMILIES[kind](folder).eval()
    made.save_pretrained(folder)
    return as_source(f"hf:{folder}").load()


def test_texts_are_those_of_a_plain_loop(text_model):
    data = as_target_data((TEXTS, np.arange(len(TEXTS)) % 2))
    found, columns = points_of(
        text_model, data, [0, "all", "mean"], ["auto", "cls", "mean", "last", "max"]
    )
    assert columns.notes == ()
    model = text_model._text.part
    base = getattr(model, "base_model", model)
    tokens = text_model._text.tokens.of(TEXTS, 0)
    for i, row in enumerate(tokens):
        given = {key: torch.tensor([ids]) for key, ids in row.items()}
        with torch.no_grad():
            out = base(**given, output_hidden_states=True)
        states = [*out.hidden_states[:-1], out.last_hidden_state]
        assert len(states) == columns.layers + 1
        names = [*map(str, range(columns.layers)), "last", "mean"]
        states.append(torch.stack([x.float() for x in states[1:]]).mean(0))
        for name, hidden in zip(names, states, strict=True):
            ways = {
                "cls": hidden[0, 0],
                "last": hidden[0, -1],
                "mean": hidden[0].mean(0),
                "max": hidden[0].amax(0),
            }
            for pooling, wanted in ways.items():
                got = found[f"{name}/{pooling}"][i]
                torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    check_each_alone(text_model, data, found)


def images(count=6, side=40):
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return as_target_data(([Image.fromarray(one) for one in pixels], np.arange(count) % 2))


@pytest.mark.parametrize("kind", IMAGES)
def test_images_are_those_of_a_plain_loop(kind, tmp_path):
    torch.manual_seed(0)
    make, config, prefix = IMAGES[kind]
    make(config).eval().save_pretrained(tmp_path)
    size = {"height": 16, "width": 16}
    hf.ViTImageProcessor(size=size).save_pretrained(tmp_path)
    model, data = as_source(f"hf:{tmp_path}").load(), images()
    ways = ["auto", "mean", "max", *["cls"] * (prefix > 0)]
    found, columns = points_of(model, data, [0, "all"], ways)
    assert columns.notes == ()
    transform = model._images.transform
    pixels = torch.stack([transform(image) for image in data.samples])
    base = model.model.base_model
    with torch.no_grad():
        out = base(pixel_values=pixels, output_hidden_states=True)
    states = [*out.hidden_states[:-1], out.last_hidden_state]
    for name, hidden in zip([*map(str, range(columns.layers)), "last"], states, strict=True):
        places = hidden[:, prefix:] if hidden.ndim == 3 else hidden.flatten(2).mT
        torch.testing.assert_close(found[f"{name}/mean"], places.mean(1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[f"{name}/max"], places.amax(1), rtol=1e-4, atol=1e-5)
        if prefix:
            torch.testing.assert_close(found[f"{name}/cls"], hidden[:, 0], rtol=1e-4, atol=1e-5)
    check_each_alone(model, data, found)
    if not prefix:
        with pytest.raises(PointsError, match=r"pooling 'cls': it has no class token"):
            points_of(model, data, "all", "cls")


@pytest.mark.parametrize("kind", TIMM)
def test_timm_models_are_as_timm_gives_them(kind):
    torch.manual_seed(0)
    name, options = TIMM[kind]
    module = timm.create_model(name, num_classes=3, **options).eval()
    model = from_module(module)
    prefix = getattr(module, "num_prefix_tokens", 0)
    ways = ["auto", "mean", "max", *["cls"] * (prefix > 0)]
    data = images(4, 64)
    found, columns = points_of(model, data, "all", ways, 3)
    assert columns.notes == ()
    pixels = torch.stack([model.transform(image) for image in data.samples])
    with torch.no_grad():
        _, maps = module.forward_intermediates(pixels)
        last = module.forward_features(pixels)
    assert columns.layers == len(maps) + (kind == "efficientnet")
    for number, hidden in enumerate(maps[: columns.layers - 1], 1):
        torch.testing.assert_close(
            found[f"{number}/mean"], hidden.mean((2, 3)), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            found[f"{number}/max"], hidden.amax((2, 3)), rtol=1e-4, atol=1e-5
        )
    if prefix:
        torch.testing.assert_close(found["last/cls"], last[:, 0])
        torch.testing.assert_close(found["last/mean"], last[:, prefix:].mean(1))
    check_each_alone(model, data, found, 3)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_layers_of_folded_models_are_the_same(name):
    """A long ranking runs models whose norms are folded into convolutions."""
    torch.manual_seed(0)
    module = timm.create_model(name, num_classes=3).eval()
    data = images(3, 64)
    before, _ = points_of(from_module(module), data, "all", "mean")
    for_inference(module)
    after, _ = points_of(from_module(module), data, "all", "mean")
    assert [*before] == [*after]
    for point, features in before.items():
        torch.testing.assert_close(after[point], features, rtol=1e-3, atol=1e-4)


def test_nothing_of_a_module_is_left_changed():
    module = timm.create_model("resnet18", num_classes=3).eval()
    before = dict(vars(module))
    points_of(from_module(module), images(2), "all", "mean")
    assert vars(module).keys() == before.keys()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


@pytest.mark.parametrize(
    ("layers", "pooling", "lacks"),
    [
        ([1, 9], "mean", "no layer 9: it has layers 1 to 5"),
        (["mean", 2], "mean", "no mean over all layers: they differ in shape"),
        ("all", ["cls", "max"], "no pooling 'cls': it has no class token"),
        (-1, ["last", "auto"], "no pooling 'last': images have no last token"),
    ],
)
def test_points_that_a_model_lacks_are_left_out_by_name(layers, pooling, lacks):
    model = from_module(timm.create_model("resnet18", num_classes=3).eval())
    found, columns = points_of(model, images(2), layers, pooling)
    assert found
    assert columns.notes == (lacks,)


@pytest.mark.parametrize(
    ("layers", "pooling", "error"),
    [
        ("first", "auto", r"layers must be of .* got 'first'"),
        (True, "auto", r"layers must be of .* got True"),
        (1.5, "auto", r"layers must be of .* got 1.5"),
        ([], "auto", r"layers must be at least one"),
        ("last", "avg", r"pooling must be of .* got 'avg'"),
        ("last", [], r"pooling must be at least one"),
        ("last", 3, r"pooling must be of .* got 3"),
    ],
)
def test_odd_arguments_are_refused(layers, pooling, error):
    with pytest.raises((ValueError, TypeError), match=error):
        AskedPoints.of(layers, pooling)


def test_names_of_points():
    asked = AskedPoints.of(["all", "mean", -1, 2, -2, 0], ["cls", "auto"])
    names = [str(point) for point in asked.points(3, "mean")]
    assert names == [
        *("last/auto", "1/cls", "1/mean", "2/cls", "2/mean", "last/cls"),
        *("mean/cls", "mean/mean", "0/cls", "0/mean"),
    ]
    assert AskedPoints.of("last", "auto").default
    assert AskedPoints.of([-1], ["auto"]).default
    assert not AskedPoints.of("last", "mean").default
    assert str(FeaturePoint("last", "auto")) == "last/auto"


@pytest.mark.parametrize("kind", ["transformers", "timm"])
def test_no_hidden_state_is_held(kind, tmp_path, monkeypatch):
    """When a layer comes, all but a few before it are gone: memory does not grow with layers."""
    from hubfast.hub.timm_layers import TimmLayers
    from hubfast.hub.transformers.layers import TransformersLayers

    torch.manual_seed(0)
    deep = {**SMALL, "num_hidden_layers": 8}
    if kind == "timm":
        module = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=8, num_classes=0)
        model, home = from_module(module.eval()), TimmLayers
    else:
        hf.ViTModel(hf.ViTConfig(**deep)).eval().save_pretrained(tmp_path)
        hf.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
        model, home = as_source(f"hf:{tmp_path}").load(), TransformersLayers
    seen, alive, plain = [], [], home.pooled

    def watching(self, hidden, pooling, inputs):
        seen.append(weakref.ref(hidden))
        alive.append(sum(ref() is not None for ref in seen))
        return plain(self, hidden, pooling, inputs)

    monkeypatch.setattr(home, "pooled", watching)
    _, columns = points_of(model, images(2), ["all", "mean"], "mean")
    assert columns.layers == 8
    assert len(seen) >= 8
    assert max(alive) <= 4  # the one that comes, that before it, and two of a sum
