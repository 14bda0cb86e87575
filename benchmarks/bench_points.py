"""All layers in one pass against the last layer alone, and whether choosing a point flatters.

python benchmarks/bench_points.py cost [--samples 512] [--rounds 3] [--record]
python benchmarks/bench_points.py choice [--draws 200] [--record]

`cost` ranks a BERT (6 layers of width 384) over made-up texts of 8 to 48 words, and timm's
vit_tiny_patch16_224 over made-up images, both of random weights, in one thread, without a cache:
the last layer, all layers, and all layers with three poolings, alternating in one process. Given
are ratios of processor time, the smallest of all rounds each: of the pass (preparing and forward),
and of the whole call with its statistics and scores. Peak memory is that of a process of its own
for each, above the one with half of the samples, so that it shows what grows.

`choice` draws points whose scores are means of samples, which is what scores are to first order,
and compares the greatest score, and what `hubfast.ranking.points.choose` gives, with the truth.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from recording import RESULTS, on_machine

ASKED = {
    "last": {},
    "all": {"layers": "all"},
    "all, 3 poolings": {"layers": "all", "pooling": ["cls", "mean", "max"]},
}
WORDS, CLASSES = 400, 5


def bert(folder: Path) -> str:
    """A BERT of random weights with a tokenizer of words."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    ids = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *map(str, range(WORDS))])}
    words = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]"
    ).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(ids),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    return f"hf:{folder}"


def texts(count: int):
    """Made-up texts, and their classes."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(8, 49, count)
    made = [" ".join(map(str, rng.integers(0, WORDS, length))) for length in lengths]
    return made, rng.integers(0, CLASSES, count)


def images(count: int):
    """Made-up images, and their classes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 3, 224, 224), dtype=np.uint8)
    return torch.from_numpy(pixels), rng.integers(0, CLASSES, count)


def hubs(folder: Path, samples: int) -> dict:
    """A model and its data, by name."""
    from hubfast.hub import Source
    from hubfast.hub.timm_models import with_random_weights

    vit = Source("vit", lambda: with_random_weights("vit_tiny_patch16_224"))
    return {
        "bert 384x6": (bert(folder), lambda: texts(samples)),
        "vit_tiny_patch16_224": (vit, lambda: images(samples // 4)),
    }


def once(model, data, asked: dict) -> tuple[float, float]:
    """Processor seconds of a ranking, and wall seconds of its pass."""
    import hubfast

    begun = time.process_time()
    (row,) = hubfast.rank([model], data, cache=False, progress=False, **asked)
    if row.score is None:
        raise RuntimeError(row.error)
    return time.process_time() - begun, row.seconds.prepare + row.seconds.forward


def cost(samples: int, rounds: int) -> list[dict]:
    """Ratios of time to that of the last layer, and peak memory."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (model, data) in hubs(Path(folder), samples).items():
            given, times = data(), {key: [] for key in ASKED}
            once(model, given, {})
            for _ in range(rounds):
                for key, asked in ASKED.items():
                    times[key].append(once(model, given, asked))
            best = {
                key: [min(column) for column in zip(*each, strict=True)]
                for key, each in times.items()
            }
            for key in ASKED:
                whole, part = (best[key][i] / best["last"][i] for i in (0, 1))
                peaks = [_peak(name, key, count) for count in (samples // 2, samples)]
                rows.append(
                    {
                        "bench": "points",
                        "model": name,
                        "asked": key,
                        "samples": len(given[1]),
                        "seconds": round(best[key][0], 2),
                        "ratio": round(whole, 3),
                        "pass_ratio": round(part, 3),
                        "peak_mib": [round(peak) for peak in peaks],
                    }
                )
                print(rows[-1], flush=True)
    return rows


def _peak(name: str, asked: str, samples: int) -> float:
    """Peak memory of a process that ranks this model, in MiB."""
    command = [sys.executable, __file__, "peak", name, asked, "--samples", str(samples)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def peak(name: str, asked: str, samples: int) -> None:
    """Ranks a model, and prints the peak memory of this process in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        model, data = hubs(Path(folder), samples)[name]
        once(model, data(), ASKED[asked])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def choice(draws: int) -> list[dict]:
    """How far scores are from the truth, in standard errors of what points do not share."""
    rows = []
    for points in (2, 12, 24):
        for shared in (0.0, 0.8):
            for gap in (0.0, 1.0, 3.0):
                rows.append(_chosen(points, shared, gap, draws))
                print(rows[-1], flush=True)
    return rows


def _chosen(points: int, shared: float, gap: float, draws: int, samples: int = 512) -> dict:
    from hubfast.ranking.points import PointResult, choose
    from hubfast.scores.streamed import Scored

    rng, found = np.random.default_rng(0), []
    error = np.sqrt((1 - shared) / samples)
    theta = np.array([gap * error, *[0.0] * (points - 1)])
    for _ in range(draws):
        common = np.sqrt(shared) * rng.normal(size=samples)
        own = np.sqrt(1 - shared) * rng.normal(size=(points, samples))
        values, usual = theta[:, None] + common + own, common.mean()
        made = [
            PointResult(
                str(i),
                8,
                {"logme": Scored(float(x.mean()), torch.from_numpy(x - x.mean()), samples)},
            )
            for i, x in enumerate(values)
        ]
        one = choose(made, ["logme"], 0)
        scored, truth = one.scores["logme"], float(one.shares @ theta)
        half = 1.96 * float(scored.influence.std()) / np.sqrt(samples)
        greatest = values.mean(1).max() - usual - theta.max()
        off = scored.score - usual - truth
        found.append((greatest / error, off / error, abs(scored.score - truth) < half))
    greatest, off, held = np.mean(np.array(found, dtype=float), 0)
    spread = np.std([one[1] for one in found]) / np.sqrt(draws)
    return {
        "bench": "point choice",
        "points": points,
        "shared": shared,
        "gap": gap,
        "greatest_off": round(float(greatest), 3),
        "row_off": round(float(off), 3),
        "row_off_error": round(float(spread), 3),
        "held": round(float(held), 3),
    }


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("cost", "choice", "peak"))
    parser.add_argument("which", nargs="*")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "peak":
        peak(*given.which, given.samples)
        return
    rows = cost(given.samples, given.rounds) if given.what == "cost" else choice(given.draws)
    if given.record:
        with (RESULTS / "points.jsonl").open("a") as file:
            file.writelines(json.dumps(on_machine(row)) + "\n" for row in rows)


if __name__ == "__main__":
    main()
