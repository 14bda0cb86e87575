"""Ranking 24 models over 5,000 JPEGs on a GPU, against a DataLoader loop a model.

`python benchmarks/gpu_rank.py` prints a row: seconds of both, their ratio, and the share of the
ranking's time in which the GPU ran models (wanted: at least 5 and 0.9). Both give LogME. The script
also runs where there is no GPU: `--device cpu --images 256 --models 2` tries it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

import hubfast
from hubfast.hub.preprocessing import TimmTransform
from hubfast.nn.image_config import image_config
from hubfast.scores import logme

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))

from plain_loop import files_of, made, pooled
from rank_hub import MODELS, write_images

MORE = (
    *("resnet34", "resnet50", "resnet101", "resnext50_32x4d", "densenet121", "efficientnet_b2"),
    *("convnext_tiny", "convnext_small", "regnety_032", "swin_tiny_patch4_window7_224"),
    *("vit_small_patch16_224", "vit_base_patch16_224"),
)


class Images(torch.utils.data.Dataset):
    """Images of files in a model's own preprocessing."""

    def __init__(self, files: list[Path], transform: TimmTransform):
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        from PIL import Image

        return self.transform(Image.open(self.files[index]).convert("RGB"))


@torch.no_grad()
def usual(names: list[str], folder: Path, device: str) -> dict[str, float]:
    """What one writes: a DataLoader with worker processes and a score for each model."""
    files, targets = files_of(folder)
    scores = {}
    for name in names:
        module = made(name).eval().to(device)
        loader = torch.utils.data.DataLoader(
            Images(files, TimmTransform(image_config(module))),
            batch_size=64,
            num_workers=min(8, os.cpu_count() or 1),
            pin_memory=device != "cpu",
        )
        features = [
            pooled(module, batch.to(device, non_blocking=True)).float().cpu() for batch in loader
        ]
        scores[name] = logme(torch.cat(features), targets)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--models", type=int, default=len(MODELS) + len(MORE))
    options = parser.parse_args()
    names = [*MODELS, *MORE][: options.models]
    hub = [f"timm:{name}?pretrained=false" for name in names]
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_images(Path(scratch) / "images", options.images)
        how = {"device": options.device, "cache": False, "progress": False}
        hubfast.rank(hub[:1], folder, samples=128, **how)  # what happens once
        row: dict = {"what": "rank", "models": len(hub), "images": options.images}
        for precision in ("fp32", "bf16"):
            begun = time.perf_counter()
            found = hubfast.rank(hub, folder, precision=precision, **how)
            row[f"{precision}_s"] = time.perf_counter() - begun
            busy = sum(m.seconds.forward for m in found)
            row[f"{precision}_busy"] = busy / (row[f"{precision}_s"] - found.reading / len(hub))
            row[f"{precision}_failed"] = len(found.failed)
        begun = time.perf_counter()
        usual(names, folder, options.device)
        row["usual_s"] = time.perf_counter() - begun
        row["ratio"] = row["usual_s"] / row["fp32_s"]
    print(json.dumps(row))


if __name__ == "__main__":
    main()
