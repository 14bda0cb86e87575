"""Sources beside timm and stored features, each with a real model made on the spot."""

import json
import sys

import numpy as np
import pytest
import timm
import torch
from small_models import (
    PREPROCESSING,
    Small,
    export_onnx,
    export_program,
    keras_model,
    text_model,
    text_tokenizer,
    torch_hub_repository,
    vision_transformer,
)
from torch import nn

from hubfast import as_hub, as_source, as_target_data
from hubfast.hub import Extraction, imagenet
from hubfast.hub.outputs import log_probabilities, pooled, run_in_fixed_batches
from hubfast.hub.preprocessing import image_transform, transform_of_file

COUNT = 7


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (COUNT, 20, 24, 3), dtype=np.uint8)
    return as_target_data((images, np.arange(COUNT) % 3))


@pytest.fixture
def texts():
    words = ["good film", "a bad film", "very very dull", "fine", "the good", "bad", "a fine film"]
    return as_target_data((words, np.arange(COUNT) % 2))


def run(source, data):
    """All features and logits of a source, and its parameters."""
    model = source.load()
    batches = list(model.batches(data, Extraction(batch_size=3, logits=True)))
    assert torch.equal(torch.cat([b.index for b in batches]), torch.arange(len(data)))
    logits = [b.logits for b in batches]
    features = torch.cat([b.features for b in batches])
    return features, None if logits[0] is None else torch.cat(logits), model.parameters


def prepared(data, transform):
    return torch.stack([transform(data[i]) for i in range(len(data))])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# ONNX and torch.export: the same small model in files of two kinds


@pytest.mark.parametrize("end", [None, nn.Softmax(1), nn.Sigmoid()], ids=str)
@pytest.mark.parametrize("batch", [None, 2])
def test_onnx(tmp_path, data, end, batch):
    model, path = Small(end).eval(), tmp_path / "small.onnx"
    export_onnx(model, path, batch=batch, preprocessing=json.dumps(PREPROCESSING))
    features, logits, parameters = run(as_source(path), data)
    with torch.no_grad():
        inside = model.body(prepared(data, image_transform(PREPROCESSING)))
        close(features, inside)
        if isinstance(end, nn.Sigmoid):
            assert logits is None
        else:
            close(logits, model.fc(inside))
    assert parameters >= sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("end", [None, nn.Softmax(1), nn.Sigmoid()], ids=str)
@pytest.mark.parametrize("batch", [None, 2])
def test_export(tmp_path, data, end, batch):
    model, path = Small(end).eval(), tmp_path / "small.pt2"
    export_program(model, path, batch=batch)
    features, logits, parameters = run(as_source(f"export:{path}", trust=True), data)
    with torch.no_grad():
        inside = model.body(prepared(data, image_transform(PREPROCESSING)))
        close(features, inside)
        if isinstance(end, nn.Sigmoid):
            assert logits is None
        else:
            close(logits, model.fc(inside))
    assert parameters == sum(p.numel() for p in model.parameters())


def test_models_without_a_classifier_give_their_pooled_output(tmp_path, data):
    maps = Small().body[:2]
    export_onnx(maps, tmp_path / "maps.onnx", preprocessing=json.dumps(PREPROCESSING))
    export_program(maps, tmp_path / "maps.pt2")
    with torch.no_grad():
        expected = maps(prepared(data, image_transform(PREPROCESSING))).mean((2, 3))
    for name in ("maps.onnx", "maps.pt2"):
        features, logits, _ = run(as_source(tmp_path / name, trust=True), data)
        close(features, expected)
        assert logits is None


def test_weights_beside_an_onnx_file_are_found(tmp_path, data, monkeypatch):
    model = Small()
    model.body[0] = nn.Conv2d(3, 64, 5)  # small tensors stay in the file
    model.fc = nn.Linear(64, 5)
    (tmp_path / "out").mkdir()
    notes = {"preprocessing": json.dumps(PREPROCESSING)}
    export_onnx(model, tmp_path / "a.onnx", **notes)
    export_onnx(model, tmp_path / "out" / "b.onnx", beside=True, **notes)
    assert (tmp_path / "out" / "b.onnx.data").stat().st_size > 4 * 64 * 75
    monkeypatch.chdir(tmp_path)
    found = run(as_source("onnx:out/b.onnx"), data)
    torch.testing.assert_close(found, run(as_source("a.onnx"), data))


def test_float_tensors_need_no_preprocessing(tmp_path):
    model = Small()
    export_onnx(model, tmp_path / "a.onnx")
    tensors = torch.rand(4, 3, 16, 16)
    features, _, _ = run(
        as_source(tmp_path / "a.onnx"), as_target_data((tensors, torch.arange(4) % 2))
    )
    with torch.no_grad():
        close(features, model.body(tensors))


def test_unknown_preprocessing_is_not_guessed(tmp_path, data):
    export_onnx(Small(), tmp_path / "a.onnx")
    with pytest.raises(TypeError, match=r"no preprocessing of its own.*hub file, or a file a.json"):
        run(as_source(tmp_path / "a.onnx"), data)
    (tmp_path / "a.json").write_text(json.dumps(PREPROCESSING))
    assert run(as_source(tmp_path / "a.onnx"), data)[0].shape == (COUNT, 6)


def test_bad_onnx_and_export_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ONNX file not found: .*none"):
        as_source("onnx:none.onnx").load()
    with pytest.raises(FileNotFoundError, match=r"exported program not found"):
        as_source("none.pt2").load()
    export_program(Small(), tmp_path / "a.pt2")
    with pytest.raises(PermissionError, match=r"can run code from it: say trust=True \(--trust\)"):
        as_source(tmp_path / "a.pt2").load()
    program = torch.export.export(nn.Linear(3, 2), (torch.rand(1, 3),))
    torch.export.save(program, tmp_path / "flat.pt2")
    with pytest.raises(ValueError, match=r"must take one input of images \(batch, 3"):
        as_source(tmp_path / "flat.pt2", trust=True).load()


# torch.hub


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


# transformers


def test_transformers_image_classifier(tmp_path, data):
    model = vision_transformer(tmp_path)
    features, logits, parameters = run(as_source(f"hf:{tmp_path}"), data)
    from torchvision.transforms import v2

    by_hand = v2.Compose(
        [
            v2.PILToTensor(),
            v2.Resize((16, 16), interpolation=v2.InterpolationMode.BILINEAR),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.3] * 3, [0.6] * 3),
        ]
    )
    with torch.no_grad():
        inside = model.vit(prepared(data, by_hand)).last_hidden_state[:, 0]
        torch.testing.assert_close(features, inside, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(logits, model.classifier(inside), rtol=1e-3, atol=1e-3)
    assert parameters == sum(p.numel() for p in model.parameters())


def test_transformers_text_classifier(tmp_path, texts):
    model = text_model(tmp_path, classifier=True)
    features, logits, _ = run(as_source(f"hf:{tmp_path}"), texts)
    tokenizer = text_tokenizer(tmp_path)
    with torch.no_grad():
        for i in range(COUNT):
            one = model.bert(**tokenizer(texts[i], return_tensors="pt")).pooler_output
            close(features[i : i + 1], one)
            close(logits[i : i + 1], model.classifier(one))


def test_transformers_without_a_classifier_averages_real_tokens_only(tmp_path, texts):
    """A masked language model has no trained pooler: a random one must not be used."""
    model = text_model(tmp_path, classifier=False)
    features, logits, _ = run(as_source(f"hf:{tmp_path}"), texts)
    tokenizer = text_tokenizer(tmp_path)
    assert logits is None
    with torch.no_grad():
        for i in range(COUNT):
            tokens = model.bert(**tokenizer(texts[i], return_tensors="pt")).last_hidden_state
            close(features[i : i + 1], tokens.mean(1))


def test_transformers_decoder_gets_a_padding_token(tmp_path, texts):
    from transformers import GPT2Config, GPT2ForSequenceClassification

    tokenizer = text_tokenizer(tmp_path)
    tokenizer.pad_token, tokenizer.eos_token = None, "fine"
    tokenizer.save_pretrained(tmp_path)
    config = GPT2Config(
        vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2
    )
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    features, logits, _ = run(as_source(f"hf:{tmp_path}"), texts)
    assert (features.shape, logits.shape) == ((COUNT, 8), (COUNT, 2))


def test_transformers_encoder_decoder_uses_its_encoder(tmp_path, texts):
    from transformers import T5Config, T5Model

    text_tokenizer(tmp_path)
    config = T5Config(vocab_size=16, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    model = T5Model(config).eval()
    model.save_pretrained(tmp_path)
    assert run(as_source(f"hf:{tmp_path}"), texts)[0].shape == (COUNT, 8)


def test_transformers_model_of_images_and_text(tmp_path, data, texts):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    text_tokenizer(tmp_path)
    side = {"height": 16, "width": 16}
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=side).save_pretrained(tmp_path)
    part = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    vision = {**part, "image_size": 16, "patch_size": 8}
    text = {**part, "vocab_size": 16, "max_position_embeddings": 8, "eos_token_id": 2}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=5)
    CLIPModel(config).save_pretrained(tmp_path)
    for samples in (data, texts):
        features, logits, _ = run(as_source(f"hf:{tmp_path}"), samples)
        assert features.shape == (COUNT, 5)
        assert logits is None


def test_transformers_masked_autoencoder_hides_nothing(tmp_path, data):
    from transformers import ViTImageProcessor, ViTMAEConfig, ViTMAEForPreTraining

    config = ViTMAEConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=16,
        patch_size=4,
        decoder_num_hidden_layers=1,
        decoder_hidden_size=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=8,
    )
    ViTMAEForPreTraining(config).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    source = as_source(f"hf:{tmp_path}")
    close(run(source, data)[0], run(source, data)[0])


def test_transformers_faults_are_named(tmp_path, data, texts, monkeypatch):
    vision_transformer(tmp_path / "vit")
    text_model(tmp_path / "bert", classifier=True)
    with pytest.raises(TypeError, match=r"has no tokenizer, and the data gives text"):
        run(as_source(f"hf:{tmp_path / 'vit'}"), texts)
    with pytest.raises(TypeError, match=r"has no image processor, and the data gives images"):
        run(as_source(f"hf:{tmp_path / 'bert'}"), data)
    from safetensors.torch import load_file, save_file

    file = tmp_path / "vit" / "model.safetensors"
    weights = {k: v for k, v in load_file(file).items() if not k.startswith("classifier")}
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(RuntimeError, match=r"lacks weights: \['classifier"):
        as_source(f"hf:{tmp_path / 'vit'}").load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuntimeError, match=r"could not be loaded"):
        as_source(f"hf:{tmp_path / 'empty'}").load()

    def unreachable(*_, **__):
        raise OSError("unreachable")

    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr("socket.create_connection", unreachable)
    with pytest.raises(RuntimeError, match=r"huggingface.co not reached.*hf:FOLDER"):
        as_source("hf:some/model").load()


def test_transformers_checkpoints_run_no_code(tmp_path):
    vision_transformer(tmp_path)
    (tmp_path / "model.safetensors").unlink()

    class Evil:
        def __reduce__(self):
            return (print, ("code was run",))

    torch.save({"vit.embeddings.cls_token": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        as_source(f"hf:{tmp_path}").load()


# Keras and TensorFlow


@pytest.mark.parametrize("end", ["softmax", None, "sigmoid"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_keras(tmp_path, data, end, suffix):
    source = as_source(f"keras:{tmp_path / f'small{suffix}'}")
    with pytest.raises(FileNotFoundError, match=r"Keras model not found"):
        source.load()
    model = keras_model(tmp_path / f"small{suffix}", end=end)
    features, logits, parameters = run(source, data)
    pixels = image_transform({"input_size": 16, "mean": [0.0] * 3, "std": [1 / 255] * 3})
    x = prepared(data, pixels).permute(0, 2, 3, 1).numpy()
    assert x.max() > 100
    with torch.no_grad():
        for layer in model.layers[:-1]:
            x = layer(x)
        inside = torch.from_numpy(np.array(x))
        close(features, inside)
        kernel, bias = model.layers[-1].get_weights()
        by_hand = inside @ torch.from_numpy(kernel) + torch.from_numpy(bias)
    if end == "sigmoid":
        assert logits is None
    else:
        close(logits.log_softmax(1), by_hand.log_softmax(1))
    assert parameters == model.count_params()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_that_does_not_prepare_its_pixels_is_asked(tmp_path, data):
    keras_model(tmp_path / "bare.keras", rescaling=False)
    with pytest.raises(TypeError, match=r"no preprocessing of its own.*bare.json"):
        run(as_source(tmp_path / "bare.keras"), data)
    (tmp_path / "bare.json").write_text(json.dumps(PREPROCESSING))
    assert run(as_source(tmp_path / "bare.keras"), data)[0].shape == (COUNT, 6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_lambdas_need_trust(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match=r"[Ll]ambda|safe_mode"):
        as_source(tmp_path / "lambda.keras").load()
    assert as_source(tmp_path / "lambda.keras", trust=True).load().parameters == 0


def test_saved_models_of_tensorflow(tmp_path, data):
    tensorflow = pytest.importorskip("tensorflow")

    class Module(tensorflow.Module):
        def __init__(self):
            self.w = tensorflow.Variable(tensorflow.random.normal((3, 4)))
            self.v = tensorflow.Variable(tensorflow.random.normal((4, 5)))

        @tensorflow.function(
            input_signature=[tensorflow.TensorSpec((None, 16, 16, 3), tensorflow.float32)]
        )
        def __call__(self, images):
            features = tensorflow.reduce_mean(images, (1, 2)) @ self.w
            return {"features": features, "logits": features @ self.v}

    module = Module()
    tensorflow.saved_model.save(module, str(tmp_path / "saved"))
    with pytest.raises(PermissionError, match=r"TensorFlow graph.*trust=True"):
        as_source(f"tfhub:{tmp_path / 'saved'}").load()
    source = as_source(f"tfhub:{tmp_path / 'saved'}", trust=True)
    features, logits, parameters = run(source, data)
    unit = image_transform({"input_size": 16, "mean": [0.0] * 3, "std": [1.0] * 3})
    mean = prepared(data, unit).mean((2, 3))
    close(features, mean @ torch.from_numpy(module.w.numpy()))
    close(logits, features @ torch.from_numpy(module.v.numpy()))
    assert parameters == 12 + 20


def test_tensorflow_faults_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no saved_model.pb"):
        as_source(f"tfhub:{tmp_path}", trust=True).load()


# What they share


@pytest.mark.parametrize(
    ("spec", "module", "extra"),
    [
        ("hf:some/model", "transformers", "transformers"),
        ("onnx:a.onnx", "onnx", "onnx"),
        ("onnx:a.onnx", "onnxruntime", "onnx"),
        ("keras:a.keras", "keras", "keras"),
        ("a.parquet", "pyarrow", "data"),
        ("tfhub:saved", "tensorflow", "tensorflow"),
    ],
)
def test_a_missing_package_names_its_extra(tmp_path, monkeypatch, spec, module, extra):
    (tmp_path / "saved").mkdir()
    for name in ("a.onnx", "a.keras", "a.parquet", "saved/saved_model.pb"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    advice = rf"needs {module}: pip install 'hubfast\[{extra}\]'"
    with pytest.raises(ModuleNotFoundError, match=advice):
        as_source(spec, trust=True).load()


def test_parquet_features(tmp_path):
    import pandas as pd

    features, logits = np.eye(COUNT)[:, :3] / 3, np.eye(COUNT)[:, :2]
    columns = {"features": list(features), "logits": list(logits), "id": list("abcdefg")}
    lists = pd.DataFrame(columns)
    lists.to_parquet(tmp_path / "lists.parquet")
    pd.DataFrame(features, columns=list("xyz")).to_parquet(tmp_path / "columns.parquet")
    lists.drop(columns="features").drop(columns="logits").to_parquet(tmp_path / "bad.parquet")
    targets = as_target_data(np.arange(COUNT) % 2)
    found, found_logits, _ = run(as_source(tmp_path / "lists.parquet"), targets)
    assert np.array_equal(found, features)
    assert np.array_equal(found_logits, logits)
    assert np.array_equal(run(as_source(tmp_path / "columns.parquet"), targets)[0], features)
    with pytest.raises(ValueError, match=r"must hold 'features' or numbers only, got .*'id'"):
        as_source(tmp_path / "bad.parquet").load()


def test_text_and_images_are_not_mixed_up(tmp_path, data, texts):
    model = timm.create_model("test_resnet", pretrained=False)
    with pytest.raises(TypeError, match=r"this model reads images, the data gives text"):
        run(as_source(model), texts)
    features, _, _ = run(as_source(lambda texts: np.array([[len(t)] for t in texts])), texts)
    assert features.flatten().tolist() == [len(texts[i]) for i in range(COUNT)]


def test_preprocessing_in_all_its_places(tmp_path, data):
    path = tmp_path / "m.onnx"
    image = data[0]
    assert transform_of_file(path) is None

    def mean_of(**places):
        return float(transform_of_file(path, **places)(image).mean())

    shift = {"input_size": 16, "std": [1.0] * 3}
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "ViTImageProcessor", "do_normalize": False})
    )
    assert 0 < mean_of() < 1
    timms = {"pretrained_cfg": {**shift, "mean": [4.0] * 3, "url": "x"}}
    (tmp_path / "config.json").write_text(json.dumps(timms))
    assert -4 < mean_of() < -3
    (tmp_path / "m.json").write_text(json.dumps({**shift, "mean": [3.0] * 3}))
    assert -3 < mean_of() < -2
    own = {**shift, "mean": [2.0] * 3}
    assert -2 < mean_of(own=own) < -1
    assert -1 < mean_of(own=own, given={**shift, "mean": [1.0] * 3}) < 0


def test_bad_preprocessing_is_named():
    with pytest.raises(ValueError, match=r"got unknown \['sizes'\], missing \['input_size'"):
        image_transform({"sizes": 3})


def test_preprocessing_keeps_the_whole_image_unless_told_otherwise():
    from PIL import Image

    config = {"mean": [0.0] * 3, "std": [1.0] * 3}
    image = Image.new("RGB", (32, 32))
    image.paste((255, 255, 255), (0, 0, 2, 32))  # a white edge
    whole = image_transform({**config, "input_size": (3, 16, 16)})(image)
    assert whole.shape == (3, 16, 16)
    assert float(whole[:, :, 0].mean()) > 0.8
    assert float(image_transform({**config, "crop_pct": 0.5}, (16, 16))(image).max()) < 0.1


def test_outputs():
    logits = torch.randn(4, 3)
    close(log_probabilities(logits.softmax(1)), logits.log_softmax(1))
    assert log_probabilities(torch.tensor([[0.9, 0.8]])) is None
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert pooled(x).tolist() == [[5.5, 17.5]]
    assert pooled(x, channels_last=True).tolist() == [[10.0, 11.0, 12.0, 13.0]]
    assert pooled(x[0]).shape == (2, 4)
    seen = []

    def double(part):
        seen.append(len(part))
        return [2 * part]

    values = torch.arange(5.0)[:, None]
    assert torch.equal(run_in_fixed_batches(double, values, 2)[0], 2 * values)
    assert seen == [2, 2, 2]
    assert torch.equal(run_in_fixed_batches(double, values, None)[0], 2 * values)


# Hub files and queries


def test_hub_file(tmp_path, data, monkeypatch):
    export_onnx(Small(), tmp_path / "a.onnx")
    torch_hub_repository(tmp_path / "repo", 1.0)
    (tmp_path / "hub.yaml").write_text(
        """
models:
  - minihub:resnet_digits
  - model: onnx:a.onnx
    name: small
    note: exported on the spot
    licence: MIT
    imagenet: 70.5
    preprocessing: {input_size: 16, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
  - model: torchhub:repo/small
    arguments: {width: 3}
"""
    )
    (tmp_path / "hub.toml").write_text(
        """
[[models]]
model = "minihub:resnet_digits"
[[models]]
model = "onnx:a.onnx"
name = "small"
note = "exported on the spot"
license = "MIT"
imagenet = 70.5
preprocessing = {input_size = 16, mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5]}
[[models]]
model = "torchhub:repo/small"
arguments = {width = 3}
"""
    )
    for file in (tmp_path / "hub.yaml", str(tmp_path / "hub.toml"), tmp_path):
        digits, small, repo = as_hub(file, trust=True)
        assert digits.name == "resnet_digits"
        assert (small.name, small.note, small.licence) == ("small", "exported on the spot", "MIT")
        assert (digits.imagenet, small.imagenet) == (None, 70.5)
        assert repo.name == "torchhub:repo/small"
        assert run(small, data)[0].shape == (COUNT, 6)
        assert run(repo, data)[0].shape == (COUNT, 3)
        with pytest.raises(PermissionError):
            as_hub(file)[2].load()


def test_bad_hub_files_are_named(tmp_path):
    def read(text, suffix="yaml"):
        file = tmp_path / f"h.{suffix}"
        file.write_text(text)
        return as_hub(file)

    with pytest.raises(FileNotFoundError, match=r"hub file not found"):
        as_hub("none.yaml")
    with pytest.raises(ValueError, match=r"must hold a list 'models', got NoneType"):
        read("modells: []")
    with pytest.raises(ValueError, match=r"model 2 of .*h.yaml must be a spec or a table"):
        read("models: [minihub:resnet_digits, {name: x}]")
    with pytest.raises(ValueError, match=r"may have the keys .*got \['trust'\]"):
        read("models: [{model: minihub:resnet_digits, trust: true}]")
    with pytest.raises(ValueError, match=r"preprocessing of model 1 .* must be a table, got 3"):
        read("models: [{model: minihub:resnet_digits, preprocessing: 3}]")
    for wrong in ("much", "true", "0.804.1", "-1", "101"):
        with pytest.raises(ValueError, match=r"imagenet of model 1 .* must be a percentage"):
            read(f"models: [{{model: minihub:resnet_digits, imagenet: {wrong}}}]")
    with pytest.raises(ValueError, match=r"cannot be read"):
        read("models: [", "toml")
    with pytest.raises(ValueError, match=r"cannot be read"):
        read("!!python/object/apply:os.system ['true']")
    with pytest.raises(ValueError, match=r"must hold models, not hub files"):
        read("models: [h.yaml]")
    with pytest.raises(ValueError, match=r"they cannot share one name"):
        read("models: [{model: minihub, name: x}]")


def test_imagenet_accuracies_that_torchvision_states():
    from torchvision.models import ResNet50_Weights

    for name, weights in {"tv": "IMAGENET1K_V1", "tv2": "IMAGENET1K_V2"}.items():
        stated = ResNet50_Weights[weights].meta["_metrics"]["ImageNet-1K"]["acc@1"]
        assert imagenet.of_timm(f"resnet50.{name}_in1k") == stated
    for unknown in ("resnet50.a1_in1k", "regnety_008_tv.tv2_in1k", "resnet50"):
        assert imagenet.of_timm(unknown) is None
    assert imagenet.of_torchvision("resnet50", "none") is None


def test_queries(tmp_path, monkeypatch):
    names = [s.name for s in as_hub("timm:test_*?params<500K&input_size<=160")]
    assert names
    for name in names:
        architecture = name.removeprefix("timm:").partition(".")[0]
        count = sum(p.numel() for p in timm.create_model(architecture).parameters())
        assert count < 500_000
    every = {s.name for s in as_hub("timm:test_*")}
    assert set(names) < every
    left = {s.name for s in as_hub("timm:test_*?parameters >= 0.5M, input_size <= 160")}
    assert left == every - set(names)
    licences = {s.licence for s in as_hub("timm:test_*?licence=apache-2.0")}
    assert licences == {"apache-2.0"}
    for name in "ba":
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 2)))
    assert [s.name for s in as_hub(str(tmp_path / "*.npy"))] == ["a", "b"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.onnx").write_text("")
    assert [s.name for s in as_hub("onnx:*.onnx")] == ["onnx:x.onnx"]


def test_bad_queries_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no pretrained timm model matches 'nothing\*'"):
        as_hub("timm:nothing*")
    with pytest.raises(ValueError, match=r"conditions must be like params<30M.*'size<3'"):
        as_hub("timm:test_*?size<3")
    with pytest.raises(ValueError, match=r"conditions must be like .*'params<many'"):
        as_hub("timm:test_*?params<many")
    with pytest.raises(ValueError, match=r"no file matches"):
        as_hub(f"onnx:{tmp_path}/*.onnx")
