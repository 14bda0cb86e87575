"""Tiny transformers models of many families over texts, with random weights, made on the spot."""

from pathlib import Path

import transformers as hf

WORDS = ["good", "film", "bad", "a", "the", "very", "dull", "fine", "plot", "cast"]
LENGTH = 24
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 16, "initializer_range": 0.5}
GPT = {"n_positions": LENGTH, "n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.5}
BART = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "init_std": 0.5}
BART |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
BART |= {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": LENGTH}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2}
VISION = {**SMALL, "image_size": 16, "patch_size": 8}
ROBERTA = {**SMALL, "max_position_embeddings": LENGTH + 2, "pad_token_id": 1}
IDS = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
FOUR = ["<s>", "<pad>", "</s>", "<unk>"]
FULL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}


def word_tokenizer(folder: Path, specials=FOUR, *, post: str | None = None, **options) -> int:
    """A word-level tokenizer saved in `folder`; gives the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    ids = {word: i for i, word in enumerate([*specials, *WORDS])}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if post is not None:
        pairs = [(token, ids[token]) for token in specials]
        words.post_processor = processors.TemplateProcessing(single=post, special_tokens=pairs)
    hf.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", **options
    ).save_pretrained(folder)
    return len(ids)


def both_ends(folder: Path, **options) -> int:
    return word_tokenizer(folder, post="<s> $A </s>", **{**FULL, **options})


def _encoder(kind: str, *, settings=SMALL, **more):
    """A maker of an encoder whose texts begin and end with a token of their own."""

    def make(folder: Path):
        options = {**settings, "vocab_size": both_ends(folder), **more}
        options.setdefault("max_position_embeddings", LENGTH)
        model = getattr(hf, kind)
        return model(model.config_class(**options))

    return make


def _gpt2(kind: str = "GPT2Model", *, pad: int | None = 0, **tokenizer):
    """A maker of a GPT-2; `tokenizer` says which special tokens there are."""

    def make(folder: Path):
        vocabulary = word_tokenizer(folder, ["<eos>", "<unk>"], **tokenizer)
        ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": pad}
        return getattr(hf, kind)(hf.GPT2Config(vocab_size=vocabulary, num_labels=3, **GPT, **ids))

    return make


def _decoder(kind: str, **more):
    def make(folder: Path):
        size = word_tokenizer(folder, post="<s> $A", **FULL, padding_side="left")
        model = getattr(hf, kind)
        options = {**SMALL, "max_position_embeddings": LENGTH, **IDS, **more}
        return model(model.config_class(vocab_size=size, **options))

    return make


def _xlnet(kind: str):
    def make(folder: Path):
        size = word_tokenizer(folder, post="$A </s> <s>", **FULL, padding_side="left")
        shape = {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 16}
        config = hf.XLNetConfig(vocab_size=size, initializer_range=0.5, **shape, **IDS)
        return getattr(hf, kind)(config)

    return make


def _t5(kind: str):
    def make(folder: Path):
        size = word_tokenizer(folder, post="$A </s>", pad_token="<pad>", eos_token="</s>")
        ids = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
        return getattr(hf, kind)(hf.T5Config(vocab_size=size, initializer_factor=3.0, **T5, **ids))

    return make


def _clip(kind: str):
    """A maker of CLIP or SigLIP, whose texts have the length of their text part."""

    def make(folder: Path):
        text = {**SMALL, "vocab_size": both_ends(folder), "max_position_embeddings": LENGTH, **IDS}
        if kind == "Siglip":
            text["projection_size"] = 16
        config = getattr(hf, f"{kind}Config")(text_config=text, vision_config=VISION)
        model = getattr(hf, f"{kind}Model")(config)
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.data.normal_(std=0.3)
        return model

    return make


def _byt5(folder: Path):
    hf.ByT5Tokenizer().save_pretrained(folder)
    return hf.T5Model(hf.T5Config(vocab_size=384, initializer_factor=3.0, **T5))


def _mamba(folder: Path):
    size = word_tokenizer(folder, pad_token="<pad>", eos_token="</s>")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}
    return hf.MambaModel(hf.MambaConfig(vocab_size=size, initializer_range=0.5, **shape, **IDS))


DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 8}
MODERN = {**IDS, "cls_token_id": 0, "sep_token_id": 2, "local_attention": 4}
FUNNEL = {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 16, "block_sizes": [1, 1, 1]}
LONG = {"attention_window": [4, 4]}

# Each makes its tokenizer in a folder and gives the model; nothing is trained.
FAMILIES = {
    "bert": _encoder("BertModel"),
    "bert classifier": _encoder("BertForSequenceClassification", num_labels=3),
    "roberta": _encoder("RobertaModel", settings=ROBERTA),
    "xlm-roberta classifier": _encoder("XLMRobertaForSequenceClassification", settings=ROBERTA),
    "mpnet": _encoder("MPNetModel", settings=ROBERTA),
    "longformer": _encoder("LongformerModel", settings={**ROBERTA, **LONG}),
    "albert": _encoder("AlbertModel", embedding_size=8),
    "electra": _encoder("ElectraModel", embedding_size=8),
    "deberta-v2": _encoder("DebertaV2Model", settings={**SMALL, **DEBERTA}),
    "deberta-v2 classifier": _encoder(
        "DebertaV2ForSequenceClassification", settings={**SMALL, **DEBERTA}
    ),
    "modernbert": _encoder("ModernBertModel", settings={**SMALL, **MODERN}),
    "fnet": _encoder("FNetModel"),
    "convbert": _encoder("ConvBertModel", embedding_size=16, head_ratio=1, conv_kernel_size=3),
    "canine": _encoder("CanineModel", local_transformer_stride=4),
    "dpr": _encoder("DPRQuestionEncoder"),
    "funnel": _encoder("FunnelModel", settings=FUNNEL),
    "xlnet": _xlnet("XLNetModel"),
    "xlnet classifier": _xlnet("XLNetForSequenceClassification"),
    "gpt2": _gpt2(eos_token="<eos>", pad_token="<eos>"),
    "gpt2 padded left": _gpt2(eos_token="<eos>", pad_token="<eos>", padding_side="left"),
    "gpt2 without special tokens": _gpt2(pad=None),
    "gpt2 classifier": _gpt2("GPT2ForSequenceClassification", eos_token="<eos>"),
    "gpt2 classifier without padding": _gpt2(
        "GPT2ForSequenceClassification", pad=None, eos_token="<eos>", padding_side="left"
    ),
    "llama": _decoder("LlamaModel"),
    "mistral": _decoder("MistralModel", num_key_value_heads=1, sliding_window=4),
    "qwen2 classifier": _decoder("Qwen2ForSequenceClassification", num_key_value_heads=1),
    "opt": _decoder("OPTModel", ffn_dim=16, word_embed_proj_dim=16, init_std=0.5),
    "t5": _t5("T5Model"),
    "t5 encoder": _t5("T5EncoderModel"),
    "t5 classifier": _t5("T5ForSequenceClassification"),
    "bart": _encoder("BartModel", settings={**BART, **IDS}),
    "bart classifier": _encoder("BartForSequenceClassification", settings={**BART, **IDS}),
    "m2m-100": _encoder("M2M100Model", settings={**BART, **IDS}),
    "clip": _clip("CLIP"),
    "siglip": _clip("Siglip"),
    "mamba": _mamba,
    "recurrent gemma": _decoder("RecurrentGemmaModel", lru_width=16, num_key_value_heads=1),
    "byt5": _byt5,
}
