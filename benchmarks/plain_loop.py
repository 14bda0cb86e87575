"""Rivals of rank(): the loop that it was before its engine, and a loop as people write it.

`former_loop` is rank() as it was at commit ec46bf7 for timm models with random weights, a folder
of JPEGs and LogME: each image is decoded once to see whether it can be, and again for each model;
models run one after the other, in batches of 64 that one thread prepares between the forward
passes. Of what rank() did, messages and the intervals' comparison of models are left out, which
take no time.

`usual_loop` is a DataLoader with a worker a core, timm's transform, the features of all images in
one array, and LogME as its authors' code computes it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from rivals import public_logme
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hubfast.data.images import ImageFiles
from hubfast.data.pixels import Pixels
from hubfast.hub.preprocessing import TimmTransform
from hubfast.nn.image_config import image_config
from hubfast.scores import LogME
from hubfast.scores.statistics import FeatureStatistics
from hubfast.utils.allocator import give_back_memory
from hubfast.utils.threads import cores

BATCH, KEPT, SEED = 64, 512, 0


def former_loop(models: Sequence[str], folder: Path) -> dict[str, float]:
    """LogME of each model."""
    paths, targets = files_of(folder)
    images, pixels = ImageFiles(paths), Pixels()
    with ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(lambda index: pixels.prepared(images[index]), range(len(images))):
            pass
    generator = torch.Generator().manual_seed(SEED)
    chosen = torch.randperm(len(paths), generator=generator)[:KEPT].sort().values
    scores = {}
    for name in models:
        module = made(name)
        transform = TimmTransform(image_config(module))
        loader = DataLoader(_Prepared(images, pixels, transform), batch_size=BATCH)
        statistics, kept, seen = FeatureStatistics("classification"), [], 0
        for batch in loader:
            with torch.no_grad():
                features = pooled(module, batch)
            index = torch.arange(seen, seen + len(batch))
            statistics.update(features, targets[index])
            kept.append(features[torch.isin(index, chosen)])
            seen += len(batch)
        fitted = LogME.from_statistics(statistics)
        fitted.influence(torch.cat(kept), targets[chosen])
        scores[name] = fitted.score
        del module
        give_back_memory()
    return scores


def usual_loop(models: Sequence[str], folder: Path) -> dict[str, float]:
    """LogME of each model."""
    paths, targets = files_of(folder)
    scores = {}
    for name in models:
        module = made(name)
        transform = create_transform(**resolve_model_data_config(module))
        loader = DataLoader(_Opened(paths, transform), batch_size=BATCH, num_workers=cores())
        with torch.no_grad():
            features = torch.cat([pooled(module, batch) for batch in loader])
        scores[name] = public_logme(features.numpy(), targets.numpy())
    return scores


def files_of(folder: Path) -> tuple[list[Path], Tensor]:
    """Paths in the order of their names, and the numbers of their classes `(n,)`."""
    classes = sorted(path.name for path in folder.iterdir())
    paths = sorted(folder.glob("*/*.jpg"))
    return paths, torch.tensor([classes.index(path.parent.name) for path in paths])


def made(name: str) -> nn.Module:
    """timm's `name` in eval mode, with the weights of hubfast's `timm:NAME?pretrained=false`."""
    torch.manual_seed(SEED)
    return timm.create_model(name, pretrained=False).eval()


def pooled(module: Any, images: Tensor) -> Tensor:
    return module.forward_head(module.forward_features(images), pre_logits=True)


class _Prepared(Dataset):
    def __init__(self, images: ImageFiles, pixels: Pixels, transform: TimmTransform):
        self.images, self.pixels, self.transform = images, pixels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.pixels.prepared(self.images[index]))


class _Opened(Dataset):
    def __init__(self, paths: Sequence[Path], transform: Any):
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(Image.open(self.paths[index]).convert("RGB"))
