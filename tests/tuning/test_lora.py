"""LoRA: what is frozen stays, what is merged is the same, and peft reads the adapter's folder."""

import copy
import sys

import pytest
import timm
import tiny
import tiny_texts
import torch
import transformers
from PIL import Image
from torch import nn
from torchvision.transforms import ToTensor

from hubfast import rank
from hubfast.hub import as_source
from hubfast.tuning import Recipe, TargetEncoder, TaskLoss, Trainer, TransferModel, tune
from hubfast.tuning.adapter import outermost
from hubfast.tuning.methods.lora import LowRank
from hubfast.tuning.methods.registry import METHODS, find_method, installed_methods
from hubfast.tuning.pretrained import from_source
from hubfast.tuning.texts import TextBatch

peft = pytest.importorskip("peft")
# peft asks its models for an attribute that transformers means to rename.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
VISION = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION |= {"intermediate_size": 16, "image_size": 16, "patch_size": 8}


def trained(model, steps=3):
    """A LowRank of a model after some steps on random images."""
    labels = TargetEncoder("classification", 3, ("a", "b", "c"))
    method = LowRank(model, TaskLoss(labels), 2, "base").train()
    optimizer, _ = Recipe(lr=1e-2).build(method, steps)
    for _ in range(steps):
        losses = method.losses(torch.rand(6, 3, *tiny.SIZE), torch.tensor([0, 1, 2, 0, 1, 2]))
        optimizer.zero_grad()
        losses["task"].backward()
        optimizer.step()
    return method.eval()


def test_only_updates_and_the_head_are_trained():
    model = tiny.model()
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    head = model.head.weight.clone()
    method = trained(model)
    after = {name.replace(".base_layer", ""): v for name, v in model.model.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not torch.equal(model.head.weight, head)
    updates = [n for n, p in method.named_parameters() if p.requires_grad and "head" not in n]
    assert updates == [f"model.model.conv.lora_{x}.default.weight" for x in "AB"]


def test_the_merged_model_is_plain_and_gives_the_same():
    method = trained(tiny.model())
    images = torch.rand(5, 3, *tiny.SIZE)
    with torch.no_grad():
        wanted = method(images)
        found = method.merged()
        torch.testing.assert_close(found(images), wanted, rtol=1e-5, atol=1e-5)
    assert all("lora" not in name for name, _ in found.named_modules())
    adapter = found.model.adapter
    assert {*adapter.weights} == {"conv.lora_A.weight", "conv.lora_B.weight"}
    assert adapter.trained == 2 * 27 + 6 * 2 + 6 * 3 + 3  # A, B, and the head


def test_what_cannot_be_updated_is_refused():
    labels = TargetEncoder("classification", 2, ("a", "b"))
    plain = TransferModel(nn.Flatten(), 2, torch.rand(2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"base must have linear layers or convolutions for lora"):
        LowRank(plain, TaskLoss(labels), 2, "base")
    with pytest.raises(ValueError, match="lora_rank must be at least 1, got 0"):
        LowRank(tiny.model(), TaskLoss(labels), 0, "base")


def test_the_extra_is_asked_for_before_any_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModuleNotFoundError, match=r"method 'lora' needs peft: .*hubfast\[lora\]"):
        find_method("lora", 1)


def test_what_is_not_installed_is_not_compared(monkeypatch):
    assert installed_methods() == tuple(METHODS)
    monkeypatch.setattr("hubfast.tuning.methods.registry.find_spec", lambda name: None)
    assert set(METHODS) - set(installed_methods()) == {"lora"}


def test_the_outermost_modules():
    assert outermost(["a.b", "c", "a", "c", "ab", ""]) == ["c", "a", "ab"]


def vit(folder):
    """The spec of a vision transformer of transformers, in a folder."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(num_labels=5, **VISION)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    transformers.ViTImageProcessor(size=size).save_pretrained(folder)
    return f"hf:{folder}"


def bases(case, folder):
    """A model as `tune` takes it, and one of three new classes as peft takes it."""
    if case == "transformers":
        spec = vit(folder / "vit")
        base = transformers.AutoModelForImageClassification.from_pretrained(
            folder / "vit", num_labels=3, ignore_mismatched_sizes=True
        )
        return spec, base
    if case == "no classifier":
        network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten())
        base = nn.Sequential(copy.deepcopy(network), nn.Linear(6 * 36, 3))
        return as_source(network, transform=ToTensor()), base
    torch.manual_seed(0)
    model = timm.create_model(case, num_classes=5)
    model.pretrained_cfg = {**model.pretrained_cfg, "input_size": (3, 32, 32)}
    base = copy.deepcopy(model)
    base.reset_classifier(3)
    return model, base


@pytest.mark.parametrize("case", ["transformers", "test_vit", "test_resnet", "no classifier"])
def test_images(tmp_path, case):
    model, base = bases(case, tmp_path)
    images, labels = tiny.coloured(18)
    side = 8 if case == "no classifier" else 20
    images = [Image.fromarray(image).resize((side, side)) for image in images]
    trainer = Trainer(Recipe(epochs=2, batch_size=6), accelerator="cpu", progress=False)
    options = {"size": (32, 32)} if case.startswith("test") else {}
    tuned = tune(
        {"m": model}, (images, labels), method="lora", top=1, trainer=trainer, lora_rank=4,
        **options,
    )  # fmt: skip
    assert tuned.recipe.lr == 5e-4
    assert any(note.startswith("lora of rank 4 trained ") for note in tuned.notes)
    tuned.save(tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    names = {}
    exec(card.split("```python\n")[1].split("```")[0].replace("FOLDER", f"{tmp_path}/out"), names)
    inputs = torch.stack([names["transform"](image) for image in images[:4]])
    with torch.no_grad():
        merged = names["model"](inputs)
        adapted = peft.PeftModel.from_pretrained(base, tmp_path / "out" / "adapter").eval()(inputs)
    if case == "transformers":
        merged, adapted = merged.logits, adapted.logits
        assert not rank([f"hf:{tmp_path}/out"], (images, labels), progress=False).failed
    torch.testing.assert_close(adapted, merged, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "gpt2", "roberta", "xlm-roberta classifier"])
def test_texts(tmp_path, family):
    spec = tiny_texts.save(tmp_path, family)
    texts = tiny_texts.data()
    tuned = tune([spec], texts, method="lora", top=1, trainer=tiny_texts.trainer())
    tuned.save(tmp_path / "out")
    auto = transformers.AutoModelForSequenceClassification
    base = auto.from_pretrained(spec[3:], num_labels=2, ignore_mismatched_sizes=True)
    merged = auto.from_pretrained(tmp_path / "out").eval()
    base.config.pad_token_id = merged.config.pad_token_id
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    some = [texts[k] for k in range(6)]
    inputs = tokenizer(some, padding=True, return_tensors="pt")
    with torch.no_grad():
        adapted = peft.PeftModel.from_pretrained(base, tmp_path / "out" / "adapter").eval()
        wanted = tuned.module(TextBatch(some))
        torch.testing.assert_close(merged(**inputs).logits, wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(adapted(**inputs).logits, wanted, rtol=1e-3, atol=1e-4)


def test_a_run_that_was_cut_off_ends_with_the_same_weights(tmp_path):
    class Stopped(Exception):
        pass

    def run(folder, stop=None):
        torch.manual_seed(0)
        model = from_source(
            as_source(tiny.Small(dropout=0.3), transform=ToTensor()),
            3,
            torch.rand(2, 3, *tiny.SIZE),
        )
        images, labels = tiny.pictures()
        method = LowRank(model, TaskLoss(labels), 2, "base")
        own, seen = method.losses, []

        def losses(samples, targets):
            seen.append(len(samples))
            if len(seen) == stop:
                raise Stopped
            return own(samples, targets)

        method.losses = losses
        trainer = Trainer(
            Recipe(epochs=3, batch_size=6, lr=1e-2), folder=folder, accelerator="cpu",
            progress=False, save_every=2,
        )  # fmt: skip
        trainer.fit(method, images, labels, resume=True)
        return method.merged().state_dict()

    with pytest.raises(Stopped):
        run(tmp_path / "cut", stop=8)
    found, wanted = run(tmp_path / "cut"), run(tmp_path / "whole")
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
