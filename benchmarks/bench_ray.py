"""What workers cost and gain, and how near to the best possible schedule their queue comes.

python benchmarks/bench_ray.py [--only workers simulation] [--record]

- workers: 12 timm models over JPEGs, by `rank()` alone, and by one and by two workers, each in a
  process of its own and with one thread of torch for each process that runs models. The start of a
  cluster and of its workers is in it, and given beside it. Rankings must be equal to the last bit.
- simulation: 8, 64 and 512 workers and 1,000 models, whose seconds for a sample and for loading
  are those measured in the first part, spread by a lognormal factor of 0.5. The bound is the larger
  of the sum over all models by the number of workers, and the longest model. A model that
  several workers share may take less than the second, so that more than 100 % can come out.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rank_hub import MODELS, write_images
from recording import RESULTS, machine
from simulated_workers import Timing, simulated

WAYS = {"local": None, "one worker": "local:1", "two workers": "local:2"}
WORKERS, COUNT, SAMPLES, SPREAD = (8, 64, 512), 1000, (2_000, 20_000), 0.5
# Seconds for a sample and for loading, of the models of rank_hub on one thread of a CPU.
MEASURED = RESULTS / "ray_timings.json"


def ranked(ray: str | None, folder: Path, models: list[str]) -> dict:
    """A ranking in this process: its seconds, those of its models, and its numbers."""
    import timm  # noqa: F401 - rank() imports it, and imports are not measured
    import torch

    from hubfast import rank

    torch.set_num_threads(1)
    hub = {name: f"timm:{name}?pretrained=false" for name in models}
    begun = time.monotonic()
    found = rank(hub, folder, cache=False, progress=False, ray=ray)
    took = time.monotonic() - begun
    assert not found.failed, found.failed
    return {
        "seconds": took,
        "models": {m.name: [m.seconds.prepare + m.seconds.forward, m.seconds.load] for m in found},
        "numbers": repr([(m.name, m.score, m.low, m.high) for m in found]),
    }


def workers(options: argparse.Namespace) -> dict:
    """Ranks alone and by workers, and says what each took."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_images(Path(scratch) / "images", options.images)
        for way, ray in WAYS.items():
            command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
            command += ["--models", str(options.models)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            assert done.returncode == 0, done.stderr
            found[way] = json.loads(done.stdout)
            share = found[way]["seconds"] / found["local"]["seconds"]
            same = found[way]["numbers"] == found["local"]["numbers"]
            print(f"{way}: {found[way]['seconds']:.1f} s, {share:.1%} of local; same: {same}")
            assert same, ray
    each = found["local"]["models"].values()
    timings = [[seconds / options.images, load] for seconds, load in each]
    MEASURED.write_text(json.dumps({**machine(), "pace and load": timings}) + "\n")
    return {way: {"seconds": one["seconds"]} for way, one in found.items()}


def simulation(options: argparse.Namespace) -> dict:
    """Runs the queue of tasks for clusters of several sizes."""
    if not MEASURED.exists():
        raise SystemExit("measure the models first: --only workers")
    measured = json.loads(MEASURED.read_text())["pace and load"]
    chance, found = random.Random(0), {}
    models = []
    for _ in range(COUNT):
        pace, load = chance.choice(measured)
        models.append(Timing(pace * chance.lognormvariate(0, SPREAD), load))
    for samples in SAMPLES:
        for count in WORKERS:
            one = simulated(models, count, samples)
            print(
                f"{count} workers, {COUNT} models, {samples:,} samples: {one.seconds:,.0f} s, "
                f"{one.share:.1%} of the bound, {one.loads} loads"
            )
            found[f"{count} workers, {samples} samples"] = one.share
    return found


PARTS = {"workers": workers, "simulation": simulation}


def main() -> None:
    """Runs the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--models", type=int, default=len(MODELS))
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        found = ranked(WAYS[options.way], options.folder, [*MODELS[: options.models]])
        print(json.dumps(found))
        return
    results = {name: PARTS[name](options) for name in options.only}
    if options.record:
        with (RESULTS / "cpu.jsonl").open("a") as file:
            file.write(json.dumps({"benchmark": "ray", **machine(), **results}) + "\n")


if __name__ == "__main__":
    main()
