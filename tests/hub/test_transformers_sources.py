"""Models of transformers, each made on the spot."""

import pytest
import torch
from small_models import text_model, text_tokenizer, vision_transformer
from sources import COUNT, close, prepared, run

from hubfast import as_source

pytestmark = pytest.mark.usefixtures("offline")


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
