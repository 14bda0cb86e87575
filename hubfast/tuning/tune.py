"""tune(): ranks a hub, tunes its best models with one method, and says what came of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from hubfast.data import MAX_UNREADABLE
from hubfast.hub import Source, as_hub
from hubfast.profiling import counts
from hubfast.profiling.memory import PeakMemory
from hubfast.ranking import Ranking, rank
from hubfast.scores.inputs import Task
from hubfast.tuning.baselines import Baseline, baselines
from hubfast.tuning.choice import choose_models
from hubfast.tuning.context import TuningContext
from hubfast.tuning.evaluation import evaluate
from hubfast.tuning.finish import finished
from hubfast.tuning.framing import Size
from hubfast.tuning.gradients import gradients_recorded
from hubfast.tuning.history import History
from hubfast.tuning.images import Augment
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.measure import method_cost
from hubfast.tuning.methods.abilities import Usable, usable
from hubfast.tuning.methods.registry import METHODS, Method, build, find_method
from hubfast.tuning.notes import module_notes, option_notes
from hubfast.tuning.parts import Columns, Parts
from hubfast.tuning.prepared import prepared
from hubfast.tuning.processes import Processes
from hubfast.tuning.result import Tuned
from hubfast.tuning.samples import SampleDataset
from hubfast.tuning.survey import pathways
from hubfast.tuning.trainer import Trainer


def tune(
    hub: Any,
    data: Any,
    *,
    method: Method = "b-tuning",
    top: int = 3,
    ranking: Ranking | None = None,
    validation: Any = 0.2,
    test: Any = None,
    task: Task | None = None,
    sample_column: str | Sequence[str] | None = None,
    target_columns: str | Sequence[str] | None = None,
    max_unreadable: float = MAX_UNREADABLE,
    trainer: Trainer | None = None,
    weight: float | None = None,
    augment: Augment = "none",
    size: Size | None = None,
    lora_rank: int = 8,
    resume: bool = False,
    trust: bool = False,
    on_ranking: Callable[[Ranking], object] | None = None,
) -> Tuned:
    """Ranks the models of a hub for a task and tunes the best ones.

    In several processes, all of which call this with the same arguments, the first one ranks, and
    each gets the tuned model; see `Trainer`.

    Args:
        hub: Models, see `hubfast.hub.as_hub`; those used must be nn.Modules, and for texts
            models of transformers.
        data: Training data, see `hubfast.data.as_target_data`.
        method: How to tune; the student is the best-ranked model.
        top: How many models a method of several uses.
        ranking: A ranking of this hub; None to rank it by LogME, on the training part only.
        validation: Share of `data` held out, or data of its own; 0 for none. A class of a single
            sample is only trained on.
        test: Data to evaluate on in the end. Classes of all data are matched by name, whatever
            their order and ids; see `hubfast.tuning.labels.aligned`.
        task: What the targets are, as `hubfast.data.as_target_data` takes it.
        sample_column: Columns of the samples, as it takes them.
        target_columns: Columns of the targets, as it takes them.
        max_unreadable: Share of the samples of each data set that may be unreadable, such as
            corrupt images; these are left out and named in the notes.
        trainer: Recipe, devices, folder for checkpoints; None for the defaults.
        weight: Weight of the method's own loss term; None for the method's default.
        augment: How training images are augmented.
        size: Height and width of images, for the model's own preprocessing otherwise; a model
            that wants another size resizes them inside. None: the size that the student wants; of
            methods whose result runs several models, the largest that one of them wants.
        lora_rank: Rank of the updates of method "lora".
        resume: Go on from the trainer's checkpoint.
        trust: Models may run code of their own; see `hubfast.hub.as_hub`.
        on_ranking: Called with the ranking before training, to keep it, by the first process.

    Raises:
        ValueError, TypeError: An argument that does not fit; the message names it.
        TrainingDiverged: A loss term became NaN.
        ProcessLost: Another process of the training ended.
    """
    trainer = trainer or Trainer()
    # The processes come before the ranking: options that do not fit raise here.
    with gradients_recorded(), trainer.processes() as processes:
        with processes.alike():
            known = find_method(method, top, weight)
        if not known.weight_decay:
            trainer = replace(trainer, recipe=replace(trainer.recipe, weight_decay=0.0))
        progress = trainer.progress and processes.first
        parts = processes.in_turn(
            lambda: Parts.of(
                data,
                validation,
                test,
                task=task,
                columns=Columns(sample_column, target_columns),
                seed=trainer.recipe.seed,
                max_unreadable=max_unreadable,
                progress=progress,
            )
        )
        found = processes.in_turn(
            lambda: usable(method, top, as_hub(hub, trust=trust, progress=progress), parts.train)
        )
        started = time.perf_counter()

        def ranked() -> Ranking:
            chosen = ranking
            if chosen is None:
                chosen = rank(found.sources, parts.train, trust=trust, progress=progress)
                if chosen.interrupted:
                    raise KeyboardInterrupt  # rank ends at one; tune must not go on to train
            if on_ranking is not None:
                on_ranking(chosen)
            return chosen

        how = _How(method, top, weight, augment, size, lora_rank)
        choice = _Choice(how, processes.alone(ranked), found)
        return _tune(choice, parts, trainer, processes, resume, started)


class _How(NamedTuple):
    """How models are tuned; see `tune`."""

    method: Method
    top: int
    weight: float | None
    augment: Augment
    size: Size | None
    lora_rank: int


class _Choice(NamedTuple):
    """What is tuned, and how."""

    how: _How
    ranking: Ranking
    found: Usable


def _tune(
    choice: _Choice,
    parts: Parts,
    trainer: Trainer,
    processes: Processes,
    resume: bool,
    started: float,
) -> Tuned:
    how, ranked = choice.how, time.perf_counter()
    known = METHODS[how.method]
    train, labels, found = parts.train, parts.labels, choice.found
    alike = train if known.same_architecture else None
    count = known.models_used(how.top)
    sources = processes.in_turn(
        lambda: choose_models(found.sources, choice.ranking, count, alike, found.left_out)
    )
    shown_to = sources if known.shared_images else sources[:1]
    seed, batch = trainer.recipe.seed, trainer.recipe.batch_size
    samples, held_out, framing = processes.in_turn(
        lambda: prepared(parts, shown_to, augment=how.augment, size=how.size, seed=seed)
    )
    trainer = replace(trainer, recipe=trainer.recipe.settled(known.lr or samples.lr))
    make = partial(build, how.method, weight=how.weight, seed=seed, lora_rank=how.lora_rank)
    run = _train(make, sources, samples, labels, trainer, held_out, resume, processes)
    tuned = time.perf_counter()
    where: Any = {"device": str(trainer.device), "processes": processes}
    evaluations = {
        name: evaluate(run.module, each, labels, batch_size=batch, **where)
        for name, each in held_out.items()
    }
    told = option_notes(sources) if framing is None else ()
    surveyed = held_out.get("validation", samples)
    cost = partial(method_cost, run.module, samples, run.history, run.memory, run.parameters, batch)
    return Tuned(
        method=how.method,
        module=run.module,
        models=tuple(source.name for source in sources),
        data=train.name,
        labels=labels,
        framing=framing,
        recipe=trainer.recipe,
        history=run.history,
        evaluations=evaluations,
        cost=processes.alone(cost),
        seconds={"rank": ranked - started, "tune": tuned - ranked},
        ranking=choice.ranking,
        pathways=processes.alone(lambda: pathways(run.module, run.history, surveyed, batch)),
        notes=(*parts.notes, *found.notes, *told, *module_notes(run.module)),
        baselines=run.baselines,
    )


@dataclass(frozen=True)
class _Run:
    module: nn.Module
    history: History
    memory: int | None
    parameters: int  # those trained or held in all stages
    baselines: tuple[Baseline, ...]


def _train(
    make: Callable[..., nn.Module],
    sources: Sequence[Source],
    samples: SampleDataset,
    labels: TargetEncoder,
    trainer: Trainer,
    held_out: dict[str, SampleDataset],
    resume: bool,
    processes: Processes,
) -> _Run:
    recipe, device = trainer.recipe, trainer.device
    steps = recipe.epochs * max(1, len(samples) // recipe.batch_size)
    context = TuningContext(
        sources, samples, labels, steps, recipe.smoothing, str(device), recipe.batch_size, processes
    )
    folder = trainer.folder and trainer.folder / "teachers"
    before = replace(trainer, folder=folder)
    sizes: list[int] = []

    def fit(teacher: nn.Module) -> None:
        sizes.append(counts.parameters(teacher))
        before.fit(teacher, samples, labels, resume=resume)

    untouched = baselines(context, held_out)
    held = held_out.get("validation")
    with PeakMemory(device) as memory:
        built = make(context, fit)
        sizes.append(counts.parameters(built))
        history = trainer.fit(built, samples, labels, validation=held, resume=resume)
    plain = finished(built, samples, recipe.batch_size)
    return _Run(plain, history, memory.bytes, sum(sizes), untouched)
