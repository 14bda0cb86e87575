"""`rank` over JPEGs on a GPU, beside a DataLoader loop per model. Both give LogME."""

import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from gpu.jobs import Say, Sizes

MORE = (
    *("resnet34", "resnet50", "resnet101", "resnext50_32x4d", "densenet121", "efficientnet_b2"),
    *("convnext_tiny", "convnext_small", "regnety_032", "swin_tiny_patch4_window7_224"),
    *("vit_small_patch16_224", "vit_base_patch16_224"),
)


class Images(torch.utils.data.Dataset):
    """Images of files in a model's own preprocessing.

    Args:
        files: The JPEGs.
        transform: Gives a tensor of an image.
    """

    def __init__(self, files: list[Path], transform):
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        from PIL import Image

        return self.transform(Image.open(self.files[index]).convert("RGB"))


@torch.no_grad()
def usual(names: list[str], folder: Path, device: str) -> dict[str, float]:
    """What one writes: a DataLoader with worker processes and a score for each model."""
    from plain_loop import files_of, made, pooled

    from hubfast.hub.preprocessing import TimmTransform
    from hubfast.nn.image_config import image_config
    from hubfast.scores import logme

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


def ranked(say: Say, sizes: Sizes, device: str = "cuda") -> None:
    """Seconds of both, and the share of the ranking's time in which the GPU ran models."""
    from rank_hub import MODELS

    import hubfast

    models, images = sizes.ranked
    names = [*MORE, *MODELS][:models]
    hub = [f"timm:{name}?pretrained=false" for name in names]
    with tempfile.TemporaryDirectory() as scratch:
        folder = written(Path(scratch) / "images", images)
        how = {"device": device, "cache": False, "progress": False}
        hubfast.rank(hub[:1], folder, samples=min(images, 128), **how)  # what happens once
        spent = {}
        for precision in ("fp32", "bf16"):
            began = time.perf_counter()
            found = hubfast.rank(hub, folder, precision=precision, **how)
            spent[precision] = time.perf_counter() - began
            forward = sum(m.seconds.forward for m in found)
            busy = forward / (spent[precision] - found.reading / len(hub))
            failed = {m.name: m.error for m in found.failed}
            figures = {f"rank.{precision}_s": spent[precision], f"rank.{precision}_busy": busy}
            say(what="rank", precision=precision, failed=failed, models=models, figures=figures)
        began = time.perf_counter()
        usual(names, folder, device)
        spent["usual"] = time.perf_counter() - began
    say(what="rank", models=models, images=images, figures={"rank.usual_s": spent["usual"]})


def written(folder: Path, count: int) -> Path:
    """The images of `rank_hub.write_images`, written by all cores."""
    from rank_hub import write_images

    workers = min(16, os.cpu_count() or 1)
    if workers == 1 or count < 100:
        return write_images(folder, count)
    with ProcessPoolExecutor(workers, get_context("fork")) as pool:
        list(pool.map(_write_some, [(folder, k, workers, count) for k in range(workers)]))
    return folder


def _write_some(given: tuple[Path, int, int, int]) -> None:
    from rank_hub import write_image

    folder, first, step, count = given
    for number in range(first, count, step):
        write_image(folder, number)
