"""rank() by prompts: as by hand with transformers, refusals, and data without labels."""

import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from text_models import FAMILIES, WORDS
from typer.testing import CliRunner

from hubfast import as_target_data, rank
from hubfast.cli import app
from hubfast.cli.class_names import named_classes
from hubfast.hub.prompts import Prompts
from hubfast.hub.transformers import zero_shot

NAMES = ["bad", "dull", "good"]
TEMPLATES = ["a {} film", "the very {} plot"]
PROCESSORS = {
    "clip": lambda: transformers.CLIPImageProcessor(
        size={"height": 16, "width": 16}, do_center_crop=False
    ),
    "siglip": lambda: transformers.SiglipImageProcessor(size={"height": 16, "width": 16}),
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Folders of models by family; two of them have both towers."""
    folders = {}
    for family in ("clip", "siglip", "bert"):
        folders[family] = tmp_path_factory.mktemp(family)
        torch.manual_seed(0)
        FAMILIES[family](folders[family]).save_pretrained(folders[family])
        if family in PROCESSORS:
            PROCESSORS[family]().save_pretrained(folders[family])
    return folders


def spec(hub, family):
    return f"hf:{hub[family]}"


def images(count=24):
    rng = np.random.default_rng(0)
    found = [rng.integers(0, 255, (16, 16, 3), dtype=np.uint8) for _ in range(count)]
    return [Image.fromarray(image) for image in found]


def data(count=24):
    labels = [NAMES[k % 3] for k in range(count)]
    return as_target_data((images(count), labels), name="films")


def by_hand(folder, family, names=NAMES, templates=TEMPLATES):
    """Logits of all images, by transformers alone."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    fixed = {"padding": "max_length", "max_length": 24} if family == "siglip" else {}

    def unit(x):
        return x / x.norm(dim=-1, keepdim=True)

    with torch.no_grad():
        classes = []
        for name in names:
            texts = [template.format(name) for template in templates]
            ids = [tokenizer(text, return_tensors="pt", **fixed)["input_ids"] for text in texts]
            found = torch.cat([model.get_text_features(each).pooler_output for each in ids])
            classes.append(unit(unit(found).mean(0)))
        pixels = processor(images(), return_tensors="pt")["pixel_values"]
        embedded = unit(model.get_image_features(pixels).pooler_output)
        return model.logit_scale.exp() * embedded @ torch.stack(classes).T


@pytest.mark.parametrize("family", PROCESSORS)
def test_as_by_hand(hub, family):
    ranking = rank(
        [spec(hub, family)], data(), metrics=["zero_shot", "zero_shot_confidence"],
        templates=TEMPLATES, progress=False,
    )  # fmt: skip
    logits, targets = by_hand(hub[family], family), torch.arange(24) % 3
    right = (logits.argmax(1) == targets).double().mean()
    scores = ranking[0].scores
    assert scores["zero_shot"].score == pytest.approx(float(right))
    sure = logits.softmax(1).amax(1).mean()
    assert scores["zero_shot_confidence"].score == pytest.approx(float(sure), abs=1e-4)
    assert scores["zero_shot"].low < scores["zero_shot"].score < scores["zero_shot"].high


def test_models_without_a_text_tower_say_so(hub):
    models = [spec(hub, "bert"), spec(hub, "clip"), "timm:test_resnet?pretrained=false"]
    ranking = rank(
        [*models, torch.nn.Flatten()], data(), metric="zero_shot", templates=TEMPLATES,
        progress=False,
    )  # fmt: skip
    assert [model.name for model in ranking.scored] == [spec(hub, "clip")]
    assert len(ranking.failed) == 3
    assert all("has no text tower: zero_shot needs" in model.error for model in ranking.failed)


def test_other_names_and_templates_are_other_outputs_in_the_cache(hub, tmp_path, monkeypatch):
    embedded, own = [], zero_shot.class_embeddings

    def counted(texts, prompts, options):
        embedded.append(prompts)
        return own(texts, prompts, options)

    monkeypatch.setattr("hubfast.hub.transformers.model.class_embeddings", counted)

    def score(**options):
        return rank(
            [spec(hub, "clip")], data(64), metric="zero_shot", progress=False,
            cache_dir=tmp_path, batch_size=4, **options,
        )[0].score  # fmt: skip

    first = score(templates=TEMPLATES)
    assert score(templates=TEMPLATES) == first
    assert embedded == [Prompts(tuple(NAMES), tuple(TEMPLATES))]  # once, for many batches
    score(templates=["{}"])
    score(templates=TEMPLATES, class_names=["cast", "film", "plot"])
    assert [prompts.names for prompts in embedded] == [tuple(NAMES)] * 2 + [
        ("cast", "film", "plot")
    ]
    logme = rank([spec(hub, "clip")], data(64), progress=False, cache_dir=tmp_path)
    assert len(embedded) == 3
    assert not logme.failed


def test_names_for_classes_that_have_ids(hub):
    numbers = as_target_data((images(), np.array([3, 5, 9] * 8)))
    options = {"metric": "zero_shot", "templates": TEMPLATES, "progress": False}
    named = rank([spec(hub, "clip")], numbers, class_names=NAMES, **options)
    assert named[0].score == rank([spec(hub, "clip")], data(), **options)[0].score
    with pytest.raises(ValueError, match="class_names must be given"):
        rank([spec(hub, "clip")], numbers, **options)
    with pytest.raises(ValueError, match="class_names must be 3, one for each class, got 2"):
        rank([spec(hub, "clip")], numbers, class_names=["a", "b"], **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "logme", "class_names": NAMES}, "class_names is for metric 'zero_shot'"),
        ({"metrics": ["zero_shot", "leep"]}, "metric 'leep' is of the source classifier"),
        ({"metric": "zero_shot", "templates": ["a photo"]}, "templates must have {} in the place"),
        ({"metric": "zero_shot", "class_names": ["a", "a", "b"]}, "class_names must be each once"),
        ({"metric": "zero_shot", "class_names": ["a", " ", "b"]}, "must each have a character"),
        ({"metric": "zero_shot", "unlabelled": True}, "metric 'zero_shot' needs labels; unlabel"),
        ({"metric": "logme", "unlabelled": True}, "parameters, imagenet"),
        ({"metric": "zero_shot_confidence", "unlabelled": True}, "class_names must be given"),
    ],
)
def test_what_does_not_go_together(options, said):
    with pytest.raises(ValueError, match=said):
        rank(["hf:/no/such/model"], data(), progress=False, **options)


def test_texts_are_refused():
    texts = (["a film", "a plot"] * 4, ["x", "y"] * 4)
    with pytest.raises(ValueError, match="zero_shot needs images, the data 'arrays' gives text"):
        rank(["hf:/no/such/model"], texts, metric="zero_shot", progress=False)


def test_underscores_are_spaces():
    prompts = Prompts(("golden_retriever", "cat"), ("a {}.", "the {}"))
    wanted = ["a golden retriever.", "the golden retriever", "a cat.", "the cat"]
    assert prompts.texts() == wanted


@pytest.mark.parametrize("form", ["folder", "list", "labelled"])
def test_data_without_labels(hub, tmp_path, form):
    given = images()
    if form == "folder":
        for k, image in enumerate(given):
            place = tmp_path / "photos" / f"roll{k % 2}"
            place.mkdir(parents=True, exist_ok=True)
            image.save(place / f"{k:02}.png")
        given = tmp_path / "photos"
    ranking = rank(
        [spec(hub, "clip"), spec(hub, "siglip")], data() if form == "labelled" else given,
        metric="zero_shot_confidence", class_names=NAMES, templates=TEMPLATES, unlabelled=True,
        progress=False,
    )  # fmt: skip
    assert (ranking.classes, ranking.samples) == (None, 24)
    for model in ranking:
        family = next(name for name in PROCESSORS if model.name == spec(hub, name))
        wanted = by_hand(hub[family], family).softmax(1).amax(1).mean()
        assert model.score == pytest.approx(float(wanted), abs=1e-4)


def test_the_command(hub, tmp_path):
    for k, image in enumerate(images(12)):
        place = tmp_path / "photos" / NAMES[k % 3]
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{k:02}.png")
    names = tmp_path / "names.txt"
    names.write_text("\n".join(WORDS[:4]) + "\n\n")
    models = ["rank", spec(hub, "clip"), "--data", str(tmp_path / "photos"), "--quiet"]
    models += ["--device", "cpu", "--template", "a {} film", "--template", "{}"]
    out = tmp_path / "r.json"
    done = CliRunner().invoke(app, [*models, "--metric", "zero_shot", "--json", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text())["metric"] == "zero_shot"
    unlabelled = ["--metric", "zero_shot_confidence", "--unlabelled", "--html", str(tmp_path / "r")]
    done = CliRunner().invoke(app, [*models, *unlabelled, "--class-names", str(names)])
    assert done.exit_code == 0, done.output
    assert named_classes(str(names)) == WORDS[:4]
    assert named_classes("tabby cat, dog") == ["tabby cat", "dog"]


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_prompts_are_embedded_as_ever_whatever_layers_are_asked_for(hub, family):
    options = {"metrics": ["zero_shot", "logme"], "cache": False, "progress": False}
    (plain,) = rank(spec(hub, family), data(), **options)
    (found,) = rank(spec(hub, family), data(), layers="all", pooling=["auto", "max"], **options)
    assert found.error is None
    assert found.scores["zero_shot"].score == plain.scores["zero_shot"].score
    assert len(found.points) > 2
    last = next(p for p in found.points if p.point == "last/auto")
    assert last.scores["logme"].score == plain.scores["logme"].score
