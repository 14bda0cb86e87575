"""rank(): runs every model of a hub over the target data once and scores it."""

from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hubfast.data import MAX_UNREADABLE, as_target_data
from hubfast.data.unlabelled import without_labels
from hubfast.extraction.cluster.ray_cluster import cluster_of
from hubfast.hub import as_hub
from hubfast.hub.model import Precision
from hubfast.hub.points import Layer
from hubfast.ranking.plan import Plan, check_target
from hubfast.ranking.prompting import Naming, asked_by_prompts, check_unlabelled
from hubfast.ranking.remarks import Remarks
from hubfast.ranking.result import Ranking
from hubfast.ranking.session import Session
from hubfast.ranking.verdict import Rules
from hubfast.ranking.warned import hearing
from hubfast.scores.inputs import Task
from hubfast.scores.registry import Metric
from hubfast.utils.allocator import freed_memory_kept
from hubfast.utils.global_state import alone, global_state_kept
from hubfast.utils.progress import progress_bar


@alone()
@global_state_kept()
@torch.inference_mode(False)  # else some scores could take no gradients
@freed_memory_kept()
def rank(
    hub: Any,
    data: Any,
    *,
    metric: Metric = "logme",
    metrics: Sequence[Metric] | None = None,
    task: Task | None = None,
    class_names: Sequence[str] | None = None,
    templates: Sequence[str] | None = None,
    unlabelled: bool = False,
    layers: Layer | Sequence[Layer] = "last",
    pooling: str | Sequence[str] = "auto",
    samples: int | None = None,
    batch_size: int | None = None,
    precision: Precision = "fp32",
    device: str | None = None,
    workers: int | None = None,
    seed: int = 0,
    trust: bool = False,
    max_unreadable: float = MAX_UNREADABLE,
    memory: int | str | None = None,
    cache: bool = True,
    cache_dir: str | Path | None = None,
    race: bool = False,
    top: int = 3,
    confidence: float = 0.95,
    tolerance: float = 0.0,
    budget: float | str | None = None,
    ray: str | None = None,
    progress: bool = True,
) -> Ranking:
    """Ranks the models of a hub for a target task, without fine-tuning any.

    Each sample is read and decoded once for all models, and each model runs once over all of
    them, in its own preprocessing. What it gives is kept in the cache, block by block: the same
    call goes on where it was stopped, and another metric, other labels or another subset of the
    samples need no model to run. One that fails becomes a row with its error. On Ctrl-C the models
    scored so far are ranked and returned. A module that is given comes back in its mode and on its
    device; random states, torch's threads and filters of warnings stay as they were. Calls in
    several threads take turns. A score that says nothing for so few samples
    (`Score.says_nothing`) gives a model no place, and no vote.

    Args:
        hub: Models; see `hubfast.hub.as_hub`: `["timm:resnet50.a1_in1k", my_module, "f.npy"]`.
        data: Samples and targets; see `hubfast.data.as_target_data`: a folder, a Dataset, arrays.
            Take training data: a ranking on test data selects on test data.
        metric: A score that `hubfast.scores.registry` lists: such as `"logme"`, `"knn"`,
            `"linear_probe"`, `"parameters"`, `"imagenet"` (any task), or for classes `"h_score"`,
            `"regularized_h_score"`, `"n_leep"`, `"transrate"`, `"gbc"`, `"sfda"`, `"parc"`,
            `"pactran"`, `"zero_shot"`, `"zero_shot_confidence"`, which need a model with a text
            tower, `"leep"`, `"nce"`; the last two need the source classifier's output.
        metrics: Several of these, from the same pass: the models are then ranked by their
            consensus (`consensus.borda`), and `metric` is not used. A metric that one model does
            not have, such as LEEP without a source classifier, is missing in its row.
        task: The task, as in `as_target_data`.
        class_names: For metric `"zero_shot"`: names of the classes in the order of their ids; None
            for those of the data, such as names of folders.
        templates: For metric `"zero_shot"`: sentences with `{}` in the place of the name; None for
            `hubfast.hub.prompts.TEMPLATES`.
        unlabelled: The data have no labels, or these are not used: a folder of images, a list of
            images, or what `data` may be else. Only scores that need none are then allowed:
            `"zero_shot_confidence"`, which needs `class_names`, `"parameters"`, `"imagenet"`.
        layers: Which layers of a model give features: `"last"`, `"all"`, `"mean"` for the mean over
            all layers, numbers from 1 for the first layer, or several of these. All come from one
            pass, each is a feature point with a score of its own, and a model is ranked by its
            best, chosen so that the choice does not flatter; see docs/points.md.
        pooling: How a layer becomes one vector: `"auto"` as the model itself does, `"cls"` for the
            class token or the first token of a text, `"last"` for its last token, `"mean"` or
            `"max"` over tokens, patches or places of a map; or several of these.
        samples: At most so many samples are used, drawn with classes in proportion; None for all.
            Scores that need samples, and no sums, are of 2,048 at most, and no more are read.
        batch_size: Samples per forward pass; None for 32 on a CPU and 64 on a GPU.
        precision: `"fp32"`, or `"bf16"` for torch's autocast to bfloat16, which is for GPUs.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`; None for a GPU where there is one.
        workers: Processes that prepare samples; None for a few when a GPU runs the models.
        seed: Seed of the order in which samples are looked at, and of the intervals.
        memory: What decoded samples and loaded models may take together, such as `"2G"`; None for
            a quarter of the machine's. Where it is short, samples are taken in several stretches
            and models loaded once for each.
        cache: Keep what models give, and take what is kept. Modules and callables are kept only
            with a key; see `hubfast.hub.as_source`.
        cache_dir: The folder of the cache; None for the user's, or that of `HUBFAST_CACHE`.
        trust: Models may run code of their own; see `hubfast.hub.as_hub`.
        max_unreadable: Share of the samples that may be unreadable, such as corrupt images; these
            are left out for every model, and named in the notes of the ranking. So are warnings
            of libraries, each once; filters of `warnings` and levels of `logging` hold as ever.
        race: Stop models as soon as it is clear that they are not among the best `top`; see
            docs/racing.md. Each row then says how many samples its model has seen, and why no
            more. Needs a single metric that looks at samples.
        top: In a race, how many of the best models are wanted.
        confidence: In a race, how sure all of its decisions together must be.
        tolerance: In a race, by how much, in units of the score, a model that is left out may be
            better than one that is not.
        budget: How long models may run at most, such as `"10m"`, or seconds.
        ray: Run models on several GPUs, or on many machines, by Ray; see docs/ray.md. `"auto"` is
            the cluster that `RAY_ADDRESS` names, else one of this machine that ends with the call,
            as `"local"` is, and `"local:4"` with four workers; others are addresses of clusters.
            The ranking is the local one to the last bit on like hardware. None runs them here.
        progress: Show a live table with the time left, or plain lines where there is no terminal.

    Raises:
        ValueError, TypeError: An argument is wrong; this is found before any model runs.
    """
    with nullcontext() if ray is None else cluster_of(ray, device) as cluster:
        plan = Plan.of(
            metrics=(metric,) if metrics is None else metrics,
            layers=layers,
            pooling=pooling,
            samples=samples,
            batch_size=batch_size,
            precision=precision,
            device=device,
            workers=workers,
            seed=seed,
            max_unreadable=max_unreadable,
            memory=memory,
            cache=cache,
            cache_dir=cache_dir,
            rules=Rules(top, confidence, tolerance) if race else None,
            budget=budget,
            cluster=cluster,
        )
        naming = Naming(class_names, templates, unlabelled)
        return _ranked(plan, hub, data, naming, task=task, trust=trust, progress=progress)


def _ranked(
    plan: Plan,
    hub: Any,
    data: Any,
    naming: Naming,
    *,
    task: Task | None,
    trust: bool,
    progress: bool,
) -> Ranking:
    remarks = Remarks()
    with hearing(remarks.add) as heard, progress_bar(progress) as bars:
        sources = as_hub(hub, trust=trust, progress=progress)
        if naming.unlabelled:
            check_unlabelled(plan.metrics)
            target = without_labels(data, progress=progress)
        else:
            target = as_target_data(data, task=task, progress=progress)
            check_target(target, plan)
        sources, target = asked_by_prompts(sources, target, plan.metrics, naming)
        with closing(Session(plan, sources, target, bars, remarks, heard)) as session:
            found = session.ranking(str(data) if isinstance(data, str | Path) else "")
    return replace(found, classes=None) if naming.unlabelled else found
