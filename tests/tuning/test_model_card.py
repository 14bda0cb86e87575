"""The card of a saved model: its code, in a process of its own, gives the card's own number."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import tiny
import torch
import yaml
from PIL import Image
from torchvision.transforms import v2

from hubfast.hub import as_source
from hubfast.tuning import Recipe, Trainer, tune
from hubfast.utils.threads import one_torch_thread

# Reads every case's card, runs its code, and prints the model's outputs on the image files.
FRESH = """
import json, re, sys
from pathlib import Path
import torch
from PIL import Image

torch.set_num_threads(1)
found = {}
for folder in map(Path, sys.argv[2:]):
    (code,) = re.findall(r"```python\\n(.*?)```", (folder / "README.md").read_text(), re.S)
    names = {}
    exec(code.replace("FOLDER", str(folder)), names)
    images = [Image.open(path).convert("RGB") for path in sorted(Path(sys.argv[1]).iterdir())]
    with torch.inference_mode():
        outputs = [names["model"](names["transform"](image)[None])[0] for image in images]
    found[folder.name] = torch.stack(outputs).tolist()
print(json.dumps(found))
"""
COUNT = 30
HERE = (
    Path(__file__).parents[1] / "helpers"
)  # models of the tests, which the saved modules are made of
own = v2.Compose(
    [
        v2.Resize(14, interpolation=v2.InterpolationMode.BICUBIC),
        v2.CenterCrop((12, 10)),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.4, 0.5, 0.6], [0.2, 0.25, 0.3]),
    ]
)


def photos():
    """Images of all shapes that a model of the right transform tells apart, and their classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(COUNT) % 3
    images = []
    for k in range(COUNT):
        small = rng.integers(0, 200, (4, 4, 3), dtype=np.uint8)
        small[:, :, labels[k]] = np.minimum(small[:, :, labels[k]] + 25, 255)
        size = [(40, 18), (17, 44), (30, 30)][k % 4 % 3]
        images.append(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))
    return images, labels


def network(name, side, **preprocessing):
    model = timm.create_model(name, num_classes=5)
    model.pretrained_cfg = {
        **model.pretrained_cfg, "input_size": (3, side, side), **preprocessing
    }  # fmt: skip
    return model


def hubs():
    """By case: the models, and options of tune()."""
    border = {"crop_mode": "border", "crop_pct": 1.0}
    odd = network("test_resnet", 12)
    odd.act1 = torch.nn.SiLU()  # shapes as timm's, but it computes something else
    return {
        "timm": ({"a": network("test_resnet", 16, crop_pct=0.8)}, {"method": "single"}),
        "border": ({"a": network("test_resnet", 16, **border)}, {"method": "single"}),
        "another size": ({"a": network("test_resnet", 16)}, {"method": "single", "size": (12, 20)}),
        "not timm's name": (
            {"a": network("test_resnet", 14, architecture="mine")}, {"method": "single"},
        ),
        "changed inside": ({"a": odd}, {"method": "single"}),
        "own transform": (
            {"a": as_source(tiny.Small(), transform=own)}, {"method": "single"},
        ),
        "own transform of a timm model": (
            {"a": as_source(network("test_resnet", 12), transform=own)}, {"method": "single"},
        ),
        "own transform, another size": (
            {"a": as_source(tiny.Small(), transform=own)}, {"method": "single", "size": (9, 9)},
        ),
        "zoo-lite": (
            {name: network("test_resnet", 12) for name in "ab"}, {"method": "zoo-lite", "top": 2},
        ),
        "several": (
            {"a": network("test_resnet", 12, crop_pct=0.7), "b": network("test_resnet", 16)},
            {"method": "ensemble", "top": 2},
        ),
        "several, own transform": (
            {name: as_source(tiny.Small(), transform=own) for name in "ab"},
            {"method": "zoo", "top": 2},
        ),
        "pathways": (
            {"a": network("test_resnet", 12, crop_pct=0.7), "b": network("test_resnet", 16)},
            {"method": "hub-pathway", "top": 2},
        ),
    }  # fmt: skip


CASES = list(hubs())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """By case: the tuned model, its folder, and what its card's code gives in another process."""
    folder = tmp_path_factory.mktemp("cards")
    images, labels = photos()
    files = folder / "images"
    files.mkdir()
    for k, image in enumerate(images):
        image.save(files / f"{k:02}.png")
    tuned = {}
    with one_torch_thread():
        torch.manual_seed(0)
        for case, (hub, options) in hubs().items():
            tuned[case] = tune(
                hub, (images, labels), validation=0.0, test=(images, labels), **options,
                trainer=Trainer(
                    Recipe(epochs=3, batch_size=10, lr=3e-3), accelerator="cpu", progress=False
                ),
            )  # fmt: skip
            tuned[case].save(folder / case)
    command = [sys.executable, "-W", "error", "-c", FRESH, str(files)]
    done = subprocess.run(
        [*command, *(str(folder / case) for case in CASES)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    outputs = {case: torch.tensor(found) for case, found in json.loads(printed).items()}
    return tuned, folder, outputs


@pytest.mark.parametrize("case", CASES)
def test_the_code_gives_the_number(runs, case):
    tuned, folder, outputs = runs
    test, card = tuned[case].evaluations["test"], (folder / case / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    (stated,) = front["model-index"][0]["results"]
    accuracy = (outputs[case].argmax(1).numpy() == photos()[1]).mean()
    assert stated["value"] == round(accuracy, 4)
    torch.testing.assert_close(outputs[case], test.logits, atol=1e-4, rtol=1e-3)


def test_another_transform_would_not(runs):
    """The images tell transforms apart, so that the test above can fail."""
    tuned, _, _ = runs
    run = tuned["timm"]
    pictures = torch.stack([
        v2.functional.pil_to_tensor(image.resize((16, 16))) / 255 for image in photos()[0]
    ])  # fmt: skip
    with torch.inference_mode():
        other = run.module(pictures)
    assert (other - run.evaluations["test"].logits).abs().max() > 1e-2


def test_timm_is_told_the_preprocessing(runs):
    _, folder, _ = runs
    config = json.loads((folder / "timm" / "config.json").read_text())["pretrained_cfg"]
    wanted = {"input_size": [3, 16, 16], "crop_pct": 0.8, "crop_mode": "center"}
    assert {key: config[key] for key in wanted} == wanted
    files = {case: {path.name for path in (folder / case).iterdir()} for case in CASES}
    by_timm = {"timm", "border", "another size", "own transform of a timm model", "zoo-lite"}
    assert {case for case in CASES if "config.json" in files[case]} == by_timm
    own_transform = {case for case in CASES if "transform.pt" in files[case]}
    assert own_transform == {
        "own transform", "own transform of a timm model", "several, own transform"
    }  # fmt: skip


def test_a_transform_that_cannot_be_saved_is_said(tmp_path):
    images, labels = photos()
    hub = {"a": as_source(tiny.Small(), transform=lambda picture: own(picture))}
    trainer = Trainer(Recipe(epochs=1, batch_size=10), accelerator="cpu", progress=False)
    tune(hub, (images, labels), method="single", trainer=trainer).save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert re.search(r"transform = \.\.\.  # the transform .* could not be saved", card)
    assert not (tmp_path / "transform.pt").exists()


def test_float_tensors(tmp_path):
    _, labels = photos()
    samples = torch.rand(COUNT, 3, 9, 9)
    data = (list(samples), labels)
    trainer = Trainer(Recipe(epochs=1, batch_size=10), accelerator="cpu", progress=False)
    tuned = tune({"a": tiny.Small()}, data, method="single", trainer=trainer, test=data)
    tuned.save(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.S)
    names: dict = {}
    exec(code.replace("FOLDER", str(tmp_path)), names)
    with torch.inference_mode():
        found = torch.stack([names["model"](names["transform"](x)[None])[0] for x in samples])
    torch.testing.assert_close(found, tuned.evaluations["test"].logits)


def test_saving_leaves_the_tuned_model_in_its_mode(tmp_path):
    images, labels = photos()
    hub = {"a": network("test_resnet", 12), "b": network("test_resnet", 12)}
    trainer = Trainer(Recipe(epochs=1, batch_size=10), accelerator="cpu", progress=False)
    tuned = tune(hub, (images, labels), method="ensemble", top=2, trainer=trainer)
    tuned.module.train()
    tuned.save(tmp_path)
    assert tuned.module.training
