"""Models of transformers are loaded without changing what is the user's, or refused with why."""

import json
import logging
import warnings

import numpy as np
import pytest
import torch
import transformers as hf
from small_models import vision_transformer
from text_models import FAMILIES, SMALL, word_tokenizer

from hubfast import as_source, as_target_data
from hubfast.hub import Extraction

TEXTS = as_target_data((["good film", "bad plot", "dull"], [0, 1, 1]))
CONVOLUTIONS = {"conv_dim": (8, 8), "conv_kernel": (3, 3), "conv_stride": (2, 2)}
CONVOLUTIONS |= {"num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4}
CONVOLUTIONS |= {"num_conv_pos_embedding_groups": 2}
WHISPER = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
WHISPER |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
WHISPER |= {"vocab_size": 30, "pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 2}
VIDEO = {"image_size": 16, "patch_size": 8, "num_frames": 2}


def images():
    pixels = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    return as_target_data((pixels, [0, 1, 0, 1]))


def run(folder, data):
    batches = [*as_source(f"hf:{folder}").load().batches(data, Extraction(batch_size=2))]
    return torch.cat([batch.features for batch in batches])


def settings():
    bars = hf.utils.logging.is_progress_bar_enabled()
    return hf.utils.logging.get_verbosity(), bars, logging.getLogger("huggingface_hub").level


@pytest.mark.parametrize("bars", [True, False])
@pytest.mark.parametrize("family", ["masked bert", "gpt2", "vit"])
def test_nothing_of_the_users_is_changed(tmp_path, family, bars):
    if family == "vit":
        vision_transformer(tmp_path)
    elif family == "gpt2":
        FAMILIES[family](tmp_path).save_pretrained(tmp_path)
    else:  # weights of its pooler are made up, out of random numbers
        config = FAMILIES["bert"](tmp_path).config
        hf.BertForMaskedLM(config).save_pretrained(tmp_path)
    before = settings()
    try:
        hf.utils.logging.set_verbosity_info()
        (hf.utils.logging.enable_progress_bar if bars else hf.utils.logging.disable_progress_bar)()
        chosen, filters = settings(), [*warnings.filters]
        torch.manual_seed(3)
        state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        run(tmp_path, images() if family == "vit" else TEXTS)
        assert settings() == chosen
        assert warnings.filters == filters
        assert torch.is_grad_enabled()
        assert torch.equal(torch.get_rng_state(), state)
        assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    finally:
        hf.utils.logging.set_verbosity(before[0])
        hf.utils.logging.enable_progress_bar()


def test_its_warnings_do_not_reach_the_terminal(tmp_path, capfd, monkeypatch):
    FAMILIES["bert"](tmp_path).save_pretrained(tmp_path)
    forward = hf.BertModel.forward

    def warning(self, input_ids=None, attention_mask=None, token_type_ids=None, **more):
        warnings.warn("of its own", FutureWarning, stacklevel=2)
        hf.utils.logging.get_logger("transformers.models").warning("of its own")
        return forward(self, input_ids, attention_mask, token_type_ids, **more)

    monkeypatch.setattr(hf.BertModel, "forward", warning)
    capfd.readouterr()
    assert len(run(tmp_path, TEXTS)) == len(TEXTS)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "t5"])
def test_a_tokenizer_without_words_is_none(tmp_path, family):
    """transformers makes one out of no file, which takes every word for the same."""
    FAMILIES[family](tmp_path / "with").save_pretrained(tmp_path / "without")
    with pytest.raises(TypeError, match=r"no tokenizer, and the data gives text; .* no vocabulary"):
        run(tmp_path / "without", TEXTS)


def test_a_tokenizer_that_cannot_be_read_says_why(tmp_path):
    FAMILIES["bert"](tmp_path).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TypeError, match=r"has no tokenizer, and .* loading it failed: .*\w"):
        run(tmp_path, TEXTS)


def test_weights_of_other_shapes_are_named(tmp_path):
    from safetensors.torch import load_file, save_file

    FAMILIES["bert"](tmp_path).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    weights["embeddings.word_embeddings.weight"] = torch.zeros(30, 16)
    save_file(weights, file, metadata={"format": "pt"})
    wanted = (
        r"does not fit its config.json: weights of other shapes, 1: "
        r"embeddings.word_embeddings.weight is \(30, 16\), \(14, 16\) wanted"
    )
    with pytest.raises(RuntimeError, match=wanted):
        as_source(f"hf:{tmp_path}").load()


def test_lost_weights_are_counted(tmp_path):
    from safetensors.torch import load_file, save_file

    FAMILIES["bert"](tmp_path).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = {key: w for key, w in load_file(file).items() if "layer.1" not in key}
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(RuntimeError, match=r"lacks weights: \['encoder.layer.1.*\], 16 of \d+"):
        as_source(f"hf:{tmp_path}").load()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: hf.Wav2Vec2Model(hf.Wav2Vec2Config(**SMALL, **CONVOLUTIONS)), "audio"),
        (
            lambda: hf.Wav2Vec2ForSequenceClassification(
                hf.Wav2Vec2Config(**SMALL, **CONVOLUTIONS, classifier_proj_size=8)
            ),
            "audio",
        ),
        (lambda: hf.WhisperModel(hf.WhisperConfig(**WHISPER)), "audio"),
        (lambda: hf.VideoMAEModel(hf.VideoMAEConfig(**SMALL, **VIDEO)), "video"),
        (
            lambda: hf.TimeSeriesTransformerModel(
                hf.TimeSeriesTransformerConfig(
                    prediction_length=2, context_length=4, lags_sequence=[1], d_model=8
                )
            ),
            "time series",
        ),
    ],
    ids=["wav2vec2", "wav2vec2 classifier", "whisper", "videomae", "time series"],
)
@pytest.mark.parametrize("given", ["text", "images"])
def test_models_of_something_else_say_what_they_read(tmp_path, make, kind, given):
    make().save_pretrained(tmp_path)
    word_tokenizer(tmp_path)
    data = TEXTS if given == "text" else images()
    with pytest.raises(TypeError, match=rf"reads {kind}, and the data gives {given}"):
        run(tmp_path, data)


def test_models_of_images_and_of_text_say_what_they_take(tmp_path):
    vision_transformer(tmp_path / "vit")
    word_tokenizer(tmp_path / "vit")
    with pytest.raises(TypeError, match=r"\['pixel_values'.*no token ids, and the data gives text"):
        run(tmp_path / "vit", TEXTS)
    FAMILIES["bert"](tmp_path / "bert").save_pretrained(tmp_path / "bert")
    hf.ViTImageProcessor().save_pretrained(tmp_path / "bert")
    with pytest.raises(TypeError, match=r"\['input_ids'.*no pixels, and the data gives images"):
        run(tmp_path / "bert", images())


def resnet(folder):
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1])
    model = hf.ResNetModel(config).eval()
    model.save_pretrained(folder)
    hf.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return model


def pixels(folder):
    processor = hf.AutoImageProcessor.from_pretrained(folder)
    return processor([images()[i] for i in range(4)], return_tensors="pt")["pixel_values"]


def test_maps_are_averaged_over_their_places(tmp_path):
    model = resnet(tmp_path)
    with torch.inference_mode():
        maps = model(pixels(tmp_path)).last_hidden_state
    assert maps.ndim == 4
    torch.testing.assert_close(run(tmp_path, images()), maps.mean((2, 3)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", [resnet, vision_transformer])
def test_images_take_the_type_of_the_weights(tmp_path, make, dtype):
    model = make(tmp_path)
    wanted = run(tmp_path, images())
    model.to(dtype).save_pretrained(tmp_path)
    found = run(tmp_path, images())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.05)


def test_a_distilled_classifier_has_two_tokens(tmp_path):
    """Its logits are the mean over two linear layers, one behind each token."""
    shape = {"image_size": 16, "patch_size": 8, "num_labels": 3}
    model = hf.DeiTForImageClassificationWithTeacher(hf.DeiTConfig(**SMALL, **shape)).eval()
    model.save_pretrained(tmp_path)
    hf.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    with torch.inference_mode():
        tokens = model.deit(pixels(tmp_path)).last_hidden_state[:, :2]
    torch.testing.assert_close(run(tmp_path, images()), tokens.mean(1))


def test_maps_of_a_backbone_are_averaged(tmp_path):
    config = hf.HGNetV2Config(
        embedding_size=8,
        stem_channels=[3, 8, 8],
        hidden_sizes=[8, 12],
        depths=[1, 1],
        stage_in_channels=[8, 8],
        stage_mid_channels=[8, 8],
        stage_out_channels=[8, 12],
        stage_num_blocks=[1, 1],
        stage_downsample=[False, True],
        stage_light_block=[False, False],
        stage_kernel_size=[3, 3],
        stage_numb_of_layers=[1, 1],
    )
    model = hf.HGNetV2Backbone(config).eval()
    model.save_pretrained(tmp_path)
    hf.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    with torch.inference_mode():
        maps = model(pixels(tmp_path)).feature_maps[-1]
    torch.testing.assert_close(run(tmp_path, images()), maps.mean((2, 3)))


def test_code_of_its_own_asks_for_trust(tmp_path):
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        PermissionError, match=r"brings code of its own: say trust=True \(--trust\)"
    ):
        as_source(f"hf:{tmp_path}").load()
