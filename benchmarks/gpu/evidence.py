"""LogME on a GPU: the evidence of all classes, spectra side by side, a whole hub."""

from collections.abc import Callable

import torch
from gpu.choosing import OWN, say_choice
from gpu.jobs import Say, Sizes
from gpu.timing import in_ms, timed
from torch import Tensor

STREAMS = (1, 2, 4, 8)
AT_ONCE = 8  # spectra
LOOPED = 20  # classes of the loop over classes: its time grows with their number


def problem(k: int, classes: int, count: int):
    """Random arguments of the evidence's search."""
    from hubfast import ops

    eigenvalues = (2 * torch.randn(k, dtype=torch.float64, device="cuda")).exp() * 100
    share = 0.01 * torch.rand(k, classes, dtype=torch.float64, device="cuda")
    energy = share * eigenvalues[:, None] / eigenvalues.max()
    residual = torch.full((classes,), 10.0, dtype=torch.float64, device="cuda")
    return ops.EvidenceInputs(eigenvalues, energy, residual, count)


def correct(say: Say, sizes: Sizes) -> None:
    """The CUDA search of one model and of several against float64 on the CPU."""
    from hubfast import ops
    from hubfast.ops import reference

    inputs = [problem(k, c, 4000) for k, c in ((33, 7), (1, 1), (256, 40))]
    batch = ops.evidence_batch(inputs, backend="cuda")
    worst = 0.0
    for given, together in zip(inputs, batch, strict=True):
        host = [x.cpu() if isinstance(x, Tensor) else x for x in given]
        exact = reference.evidence(*host)
        alone = ops.evidence(*given, backend="cuda")
        for found in (alone, together):
            away = (found.value.cpu() - exact.value).abs() / exact.value.abs().clamp(min=1.0)
            worst = max(worst, float(away.max()))
    say(what="correct", op="evidence", figures={"correct.evidence": worst})


def correct_spectra(say: Say, sizes: Sizes) -> None:
    """Matrices are what cuSOLVER's eigenvalues and eigenvectors make of them."""
    from hubfast.ops.linalg import cusolver

    grams = [gram(size) for size in (1, 7, 64, 64, 200)]
    worst = 0.0
    for batched in (0, 512):
        values, vectors, info = cusolver.eigh(grams, 2, batched)
        failed = int(info.count_nonzero())
        for g, v, rows in zip(grams, values, vectors, strict=True):
            worst = max(worst, float((rows.T @ (v[:, None] * rows) - g).norm() / g.norm()))
        worst = worst if failed == 0 else float("inf")
    say(what="correct", op="spectra", figures={"correct.spectra": worst})


def search(say: Say, sizes: Sizes) -> None:
    """The CUDA search beside torch's on the card, and a loop over classes."""
    from hubfast import ops
    from hubfast.ops import reference

    for k, classes in sizes.evidence:
        p = problem(k, classes, 4000)
        few = min(LOOPED, classes)

        def loop(_: int, p=p, few=few) -> None:
            for c in range(few):
                one = slice(c, c + 1)
                reference.evidence(p.eigenvalues, p.energy[:, one], p.residual[one], p.count)

        calls: dict[str, Callable] = {
            "cuda": lambda _, p=p: ops.evidence(*p, backend="cuda"),
            "launch": lambda _, p=p: ops.evidence_batch([p], backend="cuda"),
            "torch": lambda _, p=p: ops.evidence(*p, backend="torch"),
            "loop": loop,
        }
        found, errors = timed(calls, sizes)
        key = f"evidence.k{k}c{classes}"
        figures = {f"{key}.{name}_ms": took.ms for name, took in found.items()}
        if "loop" in found:
            figures[f"{key}.loop_ms"] *= classes / few
        say(what="evidence", k=k, classes=classes, ms=in_ms(found), errors=errors, figures=figures)


def gram(width: int) -> Tensor:
    rows = torch.randn(2 * width, width, dtype=torch.float64, device="cuda")
    return rows.T @ rows


def spectra(say: Say, sizes: Sizes) -> None:
    """Eight spectra by a loop of torch's, by cuSOLVER on streams, and as a batch."""
    from hubfast.ops.linalg import cusolver

    batched, own_batched = [], True
    for size in sizes.widths:
        grams = [gram(size) for _ in range(AT_ONCE)]
        calls: dict[str, Callable] = {
            str(n): lambda _, n=n, g=grams: cusolver.eigh(g, n, 0) for n in STREAMS
        }
        calls["batch"] = lambda _, g=grams, s=size: cusolver.eigh(g, 1, s)
        calls["loop"] = lambda _, g=grams: [torch.linalg.eigh(each) for each in g]
        found, errors = timed(calls, sizes)
        ours = {name: t for name, t in found.items() if name != "loop"}
        figures = {}
        if "loop" in found and ours:
            best = min(t.ms for t in ours.values())
            figures[f"spectra.d{size}.times_loop"] = found["loop"].ms / best
        say(what="8 spectra", width=size, ms=in_ms(found), errors=errors, figures=figures)
        times = {name: t for name, t in ours.items() if name != "batch"}
        usual = str(cusolver.STREAMS)
        if size == max(sizes.widths) and usual in times:
            named = {OWN if name == usual else name: t for name, t in times.items()}
            say_choice(say, "cusolver", "streams", {str(n): n for n in STREAMS}, named)
        if "batch" in ours and times:
            best = min(times.values(), key=lambda t: t.ms)
            won = ours["batch"].high < best.low
            batched += [size] if won else []
            own_batched &= won == (size <= cusolver.BATCHED)
    value = max(batched, default=0)
    winner = OWN if own_batched else "measured"
    choice = {"table": "cusolver", "key": "batched", "winner": winner, "value": value}
    say(what="choice", choice=choice, won_as_batch=batched)


def hub(say: Say, sizes: Sizes) -> None:
    """Many models: from their sums, as a ranking has them after its pass, and from features."""
    from hubfast.scores import FeatureStatistics, LogME, fit_hub, fit_hub_statistics

    labels = torch.arange(sizes.samples, device="cuda") % sizes.classes
    widths = [w for w in sizes.widths if w >= 512] or list(sizes.widths)
    features = {w: torch.randn(sizes.samples, w, device="cuda") for w in widths}
    models = {f"{i}: D={w}": features[w] for i, w in enumerate(widths * sizes.hub)}
    models = dict(list(models.items())[: sizes.hub])
    stats = {name: FeatureStatistics().update(x, labels) for name, x in models.items()}
    calls: dict[str, Callable] = {
        "sums": lambda _: fit_hub_statistics(stats, backend="cuda"),
        "sums one by one": lambda _: [LogME.from_statistics(each) for each in stats.values()],
        "features": lambda _: fit_hub(models, labels, backend="cuda"),
        "features one by one": lambda _: [LogME.fit(x, labels) for x in models.values()],
    }
    for name, call in calls.items():
        found, errors = timed({name: call}, sizes)
        figures = {f"hub.{n.replace(' ', '_')}_s": t.ms / 1e3 for n, t in found.items()}
        say(what="hub", models=len(models), ms=in_ms(found), errors=errors, figures=figures)
