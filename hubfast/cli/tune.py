"""`hubfast tune`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hubfast.cli.completion import complete_method
from hubfast.cli.holding import hold_folder
from hubfast.cli.names import method_names
from hubfast.cli.output import Quiet, build_named, check_output_folder, read_data
from hubfast.cli.ranked import named_by
from hubfast.cli.resume import resumable
from hubfast.cli.stopping import Stopping
from hubfast.cli.tuned import RANKING, in_folder, show_tuned, write_tuned
from hubfast.utils.extras import collection_paused
from hubfast.utils.terminal import error_console

if TYPE_CHECKING:
    from hubfast.ranking import Ranking


def tune(
    context: typer.Context,
    ranked: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RANKING]",
            exists=True,
            dir_okay=False,
            help="What rank --json wrote: its models and its data, where --hub and --data do not "
            "say others.",
        ),
    ] = None,
    hub: Annotated[
        list[str] | None,
        typer.Option(
            help="A model, as in rank: timm:NAME, timm:NAME@CHECKPOINT, hf:NAME, minihub, "
            "minihub:NAME. Repeat for more."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Training data of images or texts, as in rank.")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help=f"One model: {', '.join(method_names('one'))}. "
            f"Several: {', '.join(method_names('several'))}.",
            autocompletion=complete_method,
        ),
    ] = "b-tuning",
    top: Annotated[int, typer.Option(min=1, help="Models used by a method of several.")] = 3,
    output: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the model, checkpoints and report.")
    ] = Path("tuned"),
    ranking: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="What rank --json wrote; without it, tune ranks first.",
        ),
    ] = None,
    validation: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the data held out; 0 for none.")
    ] = 0.2,
    test: Annotated[
        str | None,
        typer.Option(help="Data to evaluate on in the end; its classes are matched by name."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="classification, multilabel or regression; told from the targets."),
    ] = None,
    sample_column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of image paths or texts in tables, twice for pairs of texts; one with a "
            "usual name."
        ),
    ] = None,
    target_column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of targets in tables, repeated for several; one with a usual name."
        ),
    ] = None,
    max_unreadable: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of samples that may be unreadable; left out."),
    ] = 0.05,
    background: Annotated[
        str, typer.Option(help="Colour behind transparent pixels of images.")
    ] = "white",
    bits: Annotated[
        int | None,
        typer.Option(min=8, max=16, help="Bits of 16-bit images that are used, such as 12; all."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 25,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples per step.")] = 32,
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr",
            "--rate",
            help="Highest learning rate: 1e-3 for images, 5e-5 for texts, 5e-4 for lora.",
        ),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="adamw or sgd.")] = "adamw",
    schedule: Annotated[str, typer.Option(help="one-cycle, cosine, step, constant.")] = "one-cycle",
    weight: Annotated[
        float | None, typer.Option(min=0, help="Weight of the method's loss term; its default.")
    ] = None,
    augment: Annotated[str, typer.Option(help="none, crop or crop-flip.")] = "none",
    size: Annotated[
        int | None, typer.Option(min=8, help="Side of images; what the model wants.")
    ] = None,
    lora_rank: Annotated[int, typer.Option(min=1, help="Rank of the updates of lora.")] = 8,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, auto.")] = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="How many devices train; with torchrun leave it out.")
    ] = 1,
    sync_bn: Annotated[
        bool, typer.Option("--sync-bn", help="Batch norm over the batch of all GPUs.")
    ] = False,
    precision: Annotated[str, typer.Option(help="32-true, bf16-mixed, 16-mixed.")] = "32-true",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare samples.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the split and of training.")] = 0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Live metrics in OUTPUT/tensorboard.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in OUTPUT.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Models may run code of their own, as in rank.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Rank models for training data and tune the best ones."""
    ranking, hub, data = named_by(ranked, ranking, hub, data)
    check_output_folder(output)
    with collection_paused():  # torch
        from hubfast.ranking import Ranking
        from hubfast.tuning import Recipe, Trainer
        from hubfast.tuning import tune as tune_hub
        from hubfast.utils.allocator import keep_freed_memory

    keep_freed_memory()
    recipe = Recipe(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer=cast(Any, optimizer),
        schedule=cast(Any, schedule),
        seed=seed,
    )
    trainer = Trainer(
        recipe,
        folder=output,
        accelerator=device,
        devices=devices,
        precision=precision,
        workers=workers,
        tensorboard=tensorboard,
        progress=not quiet,
        sync_bn=sync_bn,
    )
    with resumable(output) as told, trainer.processes() as processes:
        processes.alone(partial(hold_folder, context, output))
        silent = quiet or not processes.first
        processes.in_turn(partial(build_named, hub, silent))
        given: Any = data
        if bits or background != "white":
            read = partial(
                read_data,
                data,
                task=task,
                sample_column=sample_column,
                target_column=target_column,
                background=background,
                bits=bits,
                quiet=silent,
            )
            given = processes.in_turn(read)
        tuned = tune_hub(
            hub,
            given,
            method=cast(Any, method),
            top=top,
            ranking=_known_ranking(output, ranking, resume, Ranking),
            validation=validation,
            test=test,
            task=cast(Any, task),
            sample_column=sample_column or None,
            target_columns=target_column or None,
            max_unreadable=max_unreadable,
            trainer=trainer,
            weight=weight,
            augment=cast(Any, augment),
            size=None if size is None else (size, size),
            lora_rank=lora_rank,
            resume=resume,
            trust=trust,
            on_ranking=partial(_keep, output, told),
        )
    if processes.first:
        write_tuned(tuned, output)
        show_tuned(tuned, output)


def _keep(output: Path, told: Stopping, ranking: "Ranking") -> None:
    ranking.to_json(in_folder(output, RANKING))
    for failure in ranking.failures():
        error_console().print(failure)
    if told.code:  # while the last scores were computed, which a ranking brings to an end
        raise KeyboardInterrupt


def _known_ranking(output: Path, ranking: Path | None, resume: bool, kind: Any) -> Any:
    """The ranking of the file that was named or, when resuming, of the run that was cut off."""
    if ranking is None and resume and (output / RANKING).exists():
        ranking = output / RANKING
    return None if ranking is None else kind.from_json(ranking)
