"""`hubfast rank`."""

from typing import Annotated, Any, cast

import typer

from hubfast.cli.class_names import named_classes
from hubfast.cli.completion import complete_data, complete_metric, complete_model
from hubfast.cli.holding import hold_files
from hubfast.cli.names import score_names
from hubfast.cli.output import (
    Output,
    Quiet,
    build_named,
    check_outputs,
    read_data,
    show_ranking,
    starting,
)
from hubfast.cli.points import layers_of, pooling_of
from hubfast.cli.stopping import stopping
from hubfast.utils.extras import collection_paused


def rank(
    context: typer.Context,
    hub: Annotated[
        list[str],
        typer.Argument(
            help="Models: timm:NAME, timm:NAME@CHECKPOINT, torchhub:REPO/MODEL, hf:NAME or "
            "hf:FOLDER (transformers), onnx:FILE, export:FILE (torch.export), keras:FILE, "
            "tfhub:FOLDER, minihub, minihub:NAME; a hub file (.yaml, .toml); features (.npy, .npz, "
            ".safetensors, .parquet) or a folder of them. Several at once: 'onnx:zoo/*.onnx', "
            "'timm:resnet*?params<30M&licence=apache-2.0'.",
            autocompletion=complete_model,
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Target data: a folder with a sub-folder of images for each class; a .csv, .tsv "
            "or .parquet table of image paths or texts and labels; a .conll file of words and "
            "their tags, or conll:FILE; hfdata:NAME or hfdata:FOLDER (NAME:CONFIG@SPLIT); an .npz "
            "file with 'images' and 'targets', a .npy file of targets "
            "for stored features; minihub:NAME.",
            autocompletion=complete_data,
        ),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Repeat for a consensus of several from the same pass: "
            f"{', '.join(score_names())}; by default logme.",
            autocompletion=complete_metric,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="classification, multilabel or regression; told from the targets."),
    ] = None,
    class_names: Annotated[
        str | None,
        typer.Option(
            help="For zero_shot: names of the classes in the order of their ids, a file of one "
            "per line, or a list with commas; those of the data, such as its folders."
        ),
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="For zero_shot: a sentence with {} in the place of the name, such as 'a photo of "
            "a {}.'; repeat for several."
        ),
    ] = None,
    unlabelled: Annotated[
        bool,
        typer.Option(
            "--unlabelled",
            help="The data have no labels, such as a folder of images: for zero_shot_confidence "
            "with --class-names, and other scores that need none.",
        ),
    ] = False,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            help="Layers whose features are scored, each for itself: last, all, mean (over all "
            "layers), or numbers such as 3,6,-1; repeat or join by commas; by default last."
        ),
    ] = None,
    pooling: Annotated[
        list[str] | None,
        typer.Option(
            help="How a layer becomes one vector: auto (as the model does), cls, mean, last or "
            "max; repeat or join by commas for several."
        ),
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Use at most so many samples.")] = None,
    race: Annotated[
        bool,
        typer.Option("--race", help="Stop models once they are clearly not among the best."),
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="In a race: how many of the best to find.")] = 3,
    confidence: Annotated[
        float, typer.Option(help="In a race: how sure all of its decisions together must be.")
    ] = 0.95,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0,
            help="In a race: how much better by its score a model that is left out may be.",
        ),
    ] = 0.0,
    budget: Annotated[
        str | None, typer.Option(help="Time that models may run at most, such as 90s, 10m or 1h.")
    ] = None,
    cache: Annotated[
        bool,
        typer.Option(
            help="Keep what models give, and take what is kept: see 'hubfast cache --help'."
        ),
    ] = True,
    cache_dir: Annotated[
        str | None, typer.Option(help="Folder of the cache; the user's, or HUBFAST_CACHE.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="For samples and loaded models, such as 2G; a quarter of the machine's."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Samples per forward pass; 32, on a GPU 64.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp32, or bf16 on a GPU: torch's autocast to bfloat16.")
    ] = "fp32",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; a GPU if any.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes preparing samples.")] = None,
    seed: Annotated[int, typer.Option(help="Of the subsample and of the intervals.")] = 0,
    sample_column: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a table: image paths, texts or lists of words; repeat for pairs of texts; one "
            "with a usual name."
        ),
    ] = None,
    target_column: Annotated[
        list[str] | None,
        typer.Option(help="Of a table; repeat for several targets; one with a usual name."),
    ] = None,
    background: Annotated[
        str, typer.Option(help="Colour behind transparent pixels of images.")
    ] = "white",
    bits: Annotated[
        int | None,
        typer.Option(min=8, max=16, help="Bits of 16-bit images that are used, such as 12; all."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Run models on all GPUs of this machine, or on its cores in parts, or on the Ray "
            "cluster of that address; local:4 is four workers here.",
        ),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Models may run code of their own: torch.hub repositories, torch.export and "
            "TensorFlow programs, remote code of transformers, Keras lambdas.",
        ),
    ] = False,
    max_unreadable: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of samples that may be unreadable; left out."),
    ] = 0.05,
    json: Output = None,
    csv: Output = None,
    html: Output = None,
    quiet: Quiet = False,
) -> None:
    """Rank models for target data without fine-tuning any.

    Ctrl-C or SIGTERM end it: the models that are done are ranked, shown and written.
    """
    check_outputs(json, csv, html)
    hold_files(context, json, csv, html)
    with starting(quiet), collection_paused():  # torch
        from hubfast.ranking import rank as rank_hub
        from hubfast.utils.allocator import keep_freed_memory

    keep_freed_memory()
    with stopping() as told:
        build_named(hub, quiet)
        given: Any = data
        if sample_column or target_column or bits or background != "white":
            given = read_data(
                data,
                task=task,
                sample_column=sample_column,
                target_column=target_column,
                background=background,
                bits=bits,
                quiet=quiet,
            )
        ranking = rank_hub(
            hub,
            given,
            metrics=cast(Any, metric or ["logme"]),
            task=cast(Any, task),
            class_names=None if class_names is None else named_classes(class_names),
            templates=template or None,
            unlabelled=unlabelled,
            layers=layers_of(layers),
            pooling=pooling_of(pooling),
            samples=samples,
            race=race,
            top=top,
            confidence=confidence,
            tolerance=tolerance,
            budget=budget,
            ray=ray,
            cache=cache,
            cache_dir=cache_dir,
            memory=memory,
            batch_size=batch_size,
            precision=cast(Any, precision),
            device=device,
            workers=workers,
            seed=seed,
            trust=trust,
            max_unreadable=max_unreadable,
            progress=not quiet,
        )
        told.show()
        show_ranking(ranking, json, csv, html)
    if not ranking.scored:
        raise typer.Exit(1)
