"""Ranking 12 timm models over 2,000 JPEGs, beside its floor, its former loop and the usual one.

python benchmarks/bench_rank.py [--images 2000] [--models 12] [--only floor rank again] [--record]

Parts, in turn, each in a process of its own:

- floor: one decode of each image by all cores, and the bare forward passes of the models as timm
  makes them, on one batch again and again, with freed memory kept. Resizing is not in it, nor
  loading; both are measured beside it.
- rank: `rank()` with an empty cache, by LogME.
- again: `rank()` with the cache that `rank` left, by H-score.
- former: rank() as it was before its engine (plain_loop.py); kept: the same with freed memory kept,
  as `hubfast rank` had it.
- usual: a DataLoader loop a model and the public LogME.

Seconds are of the wall and of all processors, without the import of libraries and the making of
images. The files are in the system's memory for all parts alike. All loops give the same scores,
the public LogME as far as its fixed point is run.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests" / "helpers"))

from rank_hub import MODELS, write_images  # noqa: E402
from recording import RESULTS, on_machine  # noqa: E402

PARTS = ("floor", "rank", "again", "former", "kept", "usual")


def floor(models: list[str], folder: Path, options: argparse.Namespace) -> dict:
    import torch
    from PIL import Image
    from plain_loop import files_of, made, pooled

    from hubfast.hub.preprocessing import TimmTransform
    from hubfast.nn.image_config import image_config
    from hubfast.utils.allocator import keep_freed_memory
    from hubfast.utils.threads import cores

    keep_freed_memory()
    paths, _ = files_of(folder)

    def decode(path: Path) -> Image.Image:
        return Image.open(path).convert("RGB")

    with ThreadPoolExecutor(cores()) as pool:
        took = timed(lambda: [None for image in pool.map(decode, paths) if image is None])
        found = {"decode": took, "load": none(), "prepare": none(), "forward": none()}
        few = [decode(path) for path in paths[: options.batch]]
        prepared = {}
        for name in models:
            found["load"] = plus(found["load"], timed(lambda name=name: made(name)))
            module = made(name)
            transform = TimmTransform(image_config(module))
            key = tuple(str(transform.config[k]) for k in GEOMETRY)
            if key not in prepared:
                prepared[key] = True
                one = timed(lambda t=transform: list(pool.map(t.pixels, few)))
                scale = len(paths) / len(few)
                found["prepare"] = plus(found["prepare"], {k: v * scale for k, v in one.items()})
            batch = torch.stack([transform(image) for image in few])
            with torch.inference_mode():
                pooled(module, batch)  # warms up
                took = timed(lambda m=module, b=batch: passes(m, b, len(paths), pooled))
            found["forward"] = plus(found["forward"], took)
    total = plus(found["decode"], found["forward"])
    return {**total, "parts": found, "geometries": len(prepared)}


GEOMETRY = ("input_size", "crop_pct", "interpolation", "crop_mode")


def passes(module, batch, count: int, pooled: Callable) -> None:
    for start in range(0, count, len(batch)):
        pooled(module, batch[: min(len(batch), count - start)])


def ranked(models: list[str], folder: Path, options: argparse.Namespace, metric: str) -> dict:
    import timm  # noqa: F401 - rank() imports it, and imports are not measured

    from hubfast import rank

    cache = folder.with_name(f"{folder.name}.cache")
    hub = {name: f"timm:{name}?pretrained=false" for name in models}
    found: dict = {}

    def run() -> None:
        found["ranking"] = rank(hub, folder, metric=metric, cache_dir=cache, progress=False)

    took = timed(run)
    failed = {m.name: m.error for m in found["ranking"] if m.error}
    assert not failed, failed
    return {**took, "scores": {m.name: m.score for m in found["ranking"]}}


def rank_cold(models: list[str], folder: Path, options: argparse.Namespace) -> dict:
    return ranked(models, folder, options, "logme")


def rank_again(models: list[str], folder: Path, options: argparse.Namespace) -> dict:
    return ranked(models, folder, options, "h_score")


def former(models: list[str], folder: Path, options: argparse.Namespace) -> dict:
    from plain_loop import former_loop

    return loop(former_loop, models, folder)


def former_kept(models: list[str], folder: Path, options: argparse.Namespace) -> dict:
    from hubfast.utils.allocator import keep_freed_memory

    keep_freed_memory()
    return former(models, folder, options)


def usual(models: list[str], folder: Path, options: argparse.Namespace) -> dict:
    from plain_loop import usual_loop

    return loop(usual_loop, models, folder)


def loop(run: Callable, models: list[str], folder: Path) -> dict:
    scores: dict[str, float] = {}
    return {**timed(lambda: scores.update(run(models, folder))), "scores": scores}


RUN = dict(zip(PARTS, (floor, rank_cold, rank_again, former, former_kept, usual), strict=True))


def timed(run: Callable[[], object]) -> dict[str, float]:
    """Seconds of the wall, and of all processors with those of child processes."""

    def spent() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    began, cpu = time.perf_counter(), spent()
    run()
    return {"wall": time.perf_counter() - began, "cpu": spent() - cpu}


def none() -> dict[str, float]:
    return {"wall": 0.0, "cpu": 0.0}


def plus(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    return {key: first[key] + second[key] for key in first}


def peak() -> float:
    """MiB of this process, or of its largest child if that is more."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(each).ru_maxrss for each in who) / 1024


def part_of(name: str, options: argparse.Namespace, folder: Path) -> dict:
    """One part, in a process of its own."""
    given = [sys.executable, __file__, "--part", name, "--folder", str(folder)]
    for key in ("images", "models", "batch"):
        given += [f"--{key}", str(getattr(options, key))]
    return json.loads(subprocess.check_output(given, text=True).splitlines()[-1])


def compared(found: dict[str, dict], options: argparse.Namespace) -> dict:
    """What is wanted of the parts that were run: times the floor, times faster, same scores."""
    wall = {name: part["wall"] for name, part in found.items()}
    row: dict = {}
    if "rank" in wall:
        others = [name for name in ("former", "kept", "usual") if name in wall]
        row["times_faster"] = {name: round(wall[name] / wall["rank"], 2) for name in others}
        if "floor" in wall:
            row["times_floor"] = round(wall["rank"] / wall["floor"], 3)
        if "again" in wall:
            row["again_share"] = round(wall["again"] / wall["rank"], 4)
    if "rank" in found:
        ours = found["rank"]["scores"]
        row["largest_gap_of_scores"] = {
            name: max(abs(part["scores"][m] - ours[m]) for m in ours)
            for name, part in found.items()
            if "scores" in part and name not in ("rank", "again")
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--models", type=int, default=len(MODELS))
    parser.add_argument("--batch", type=int, default=64, help="of the floor's forward passes")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--folder", type=Path, help="where the images are, or will be")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    models = list(MODELS[: options.models])
    if options.part:
        row = RUN[options.part](models, options.folder, options)
        print(json.dumps({**row, "peak_mib": peak()}))
        return
    if "again" in options.only and "rank" not in options.only:
        parser.error("again needs the cache that rank leaves: --only rank again")
    with tempfile.TemporaryDirectory() as new:
        folder = (options.folder or Path(new)) / f"images_{options.images}"
        write_images(folder, options.images)
        found = {}
        for name in options.only:
            if name == "rank":
                shutil.rmtree(folder.with_name(f"{folder.name}.cache"), ignore_errors=True)
            found[name] = part_of(name, options, folder)
            print(name, json.dumps(found[name]), flush=True)
    row = {"what": "ranking", "images": options.images, "models": models, "parts": found}
    row.update(compared(found, options))
    print(json.dumps({key: row[key] for key in row if key not in ("parts", "models")}))
    if options.record:
        with (RESULTS / "cpu.jsonl").open("a") as file:
            file.write(json.dumps(on_machine(row)) + "\n")


if __name__ == "__main__":
    main()
