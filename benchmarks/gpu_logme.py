"""LogME on a GPU: spectra side by side, evidence in one launch, statistics, a whole hub.

python benchmarks/gpu_logme.py prints a JSON row a measurement, ours and the rival in one run,
medians of `ROUNDS`.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from hubfast import ops
from hubfast.ops import reference
from hubfast.ops.backends import missing
from hubfast.ops.evidence import cuda
from hubfast.ops.linalg import cusolver
from hubfast.scores import FeatureStatistics, LogME, fit_hub, fit_hub_statistics

ROUNDS = 5
WIDTHS = [512, 768, 1024, 2048] * 6  # 24 models


def seconds(call: Callable[[], object]) -> float:
    """Median time of `call`, its GPU work included, after one call to warm up."""
    times = []
    for _ in range(ROUNDS + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def record(row: dict) -> None:
    print(json.dumps(row), flush=True)


def compare(what: str, rival: str, theirs: Callable, ours: Callable, **row) -> None:
    rival_s, hubfast_s = seconds(theirs), seconds(ours)
    row |= {"what": what, "rival": rival, "rival_s": rival_s, "hubfast_s": hubfast_s}
    record({**row, "times_faster": round(rival_s / hubfast_s, 2)})


def gram(width: int) -> Tensor:
    rows = torch.randn(4 * width, width, dtype=torch.float64, device="cuda")
    return rows.T @ rows


def spectra() -> None:
    """What `cusolver.STREAMS` and `cusolver.BATCHED` should be."""
    for size in (64, 128, 256, 512, 1024, 2048):
        grams = [gram(size) for _ in range(8)]
        ways = {f"{n} streams": (n, 0) for n in (1, 2, 4, 8)} | {"as a batch": (1, size)}
        for way, how in ways.items():
            compare(
                f"8 spectra, D={size}, {way}",
                "a loop of torch.linalg.eigh",
                lambda grams=grams: [torch.linalg.eigh(g) for g in grams],
                lambda grams=grams, how=how: cusolver.eigh(grams, *how),
                wanted=5,
            )


def problem(k: int, classes: int, count: int) -> ops.EvidenceInputs:
    eigenvalues = (2 * torch.randn(k, dtype=torch.float64, device="cuda")).exp() * 100
    share = 0.01 * torch.rand(k, classes, dtype=torch.float64, device="cuda")
    energy = share * eigenvalues[:, None] / eigenvalues.max()
    residual = torch.full((classes,), 10.0, dtype=torch.float64, device="cuda")
    return ops.EvidenceInputs(eigenvalues, energy, residual, count)


def evidence() -> None:
    p = problem(2048, 1000, 4000)
    rivals = {
        "reference a class": lambda: [
            reference.evidence(
                p.eigenvalues, p.energy[:, c : c + 1], p.residual[c : c + 1], p.samples
            )
            for c in range(1000)
        ],
        "Triton": lambda: ops.evidence(*p, backend="triton"),
        "torch, all classes": lambda: ops.evidence(*p, backend="torch"),
    }
    wanted = {"reference a class": 20}
    for rival, call in rivals.items():
        ours = lambda: cuda.evidence([p])  # noqa: E731
        compare("evidence k=2048 C=1000", rival, call, ours, wanted=wanted.get(rival))


def hub() -> None:
    """24 models: their sums, as a ranking has them after its pass, and features on the card."""
    labels = torch.arange(50_000, device="cuda") % 100
    features = {w: torch.randn(50_000, w, device="cuda") for w in set(WIDTHS)}
    hub = {f"{i}: D={w}": features[w] for i, w in enumerate(WIDTHS)}
    stats = {name: FeatureStatistics().update(x, labels) for name, x in hub.items()}
    what = "24 models, N=50,000, C=100"
    compare(
        f"{what}, from their sums",
        "one by one",
        lambda: [LogME.from_statistics(each) for each in stats.values()],
        lambda: fit_hub_statistics(stats, backend="cuda"),
        wanted_s=1,
    )
    compare(
        f"{what}, from features",
        "one by one",
        lambda: [LogME.fit(x, labels) for x in hub.values()],
        lambda: fit_hub(hub, labels, backend="cuda"),
    )


def statistics_share() -> None:
    import torchvision

    model = torchvision.models.resnet50().cuda().eval()
    model.fc = torch.nn.Identity()
    images = torch.rand(256, 3, 224, 224, device="cuda")
    labels = torch.arange(256, device="cuda") % 100
    with torch.inference_mode():
        features = model(images)
        forward = seconds(lambda: model(images))
    stats = FeatureStatistics("classification")
    for _ in range(10):  # past D samples: batches now go into the Gram matrix
        stats.update(features, labels)
    update = seconds(lambda: stats.update(features, labels))
    row = {"what": "FeatureStatistics a batch of 256, ResNet-50", "forward_s": forward}
    record({**row, "hubfast_s": update, "share": update / forward, "wanted_share": 0.05})


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("no GPU here: nothing was measured")
    torch.manual_seed(0)
    if (why := missing("cuda")) is not None:
        sys.exit(f"build hubfast with CUDA_HOME set first: {why}")
    for part in (spectra, evidence, statistics_share, hub):
        part()


if __name__ == "__main__":
    main()
