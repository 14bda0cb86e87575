"""`hubfast atari`."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.table import Table

from hubfast.cli.holding import hold_folder
from hubfast.cli.output import Quiet, check_output_folder
from hubfast.utils.terminal import output_console

MOST = 10**12  # frames


def atari(
    context: typer.Context,
    source: Annotated[
        list[str] | None,
        typer.Option(help="Game of a source agent, repeated; Pong, SpaceInvaders, DemonAttack."),
    ] = None,
    target: Annotated[str, typer.Option(help="The new game.")] = "Breakout",
    method: Annotated[
        list[str] | None,
        typer.Option(help="scratch, one, zoo or zoo-lite, repeated; all. one takes source 1."),
    ] = None,
    source_frames: Annotated[
        int, typer.Option(min=4, max=MOST, help="For each source agent.")
    ] = 32768,
    frames: Annotated[
        int, typer.Option(min=4, max=MOST, help="For each run on the target.")
    ] = 32768,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each method.")] = 2,
    environments: Annotated[
        int, typer.Option(min=1, max=1024, help="Copies of a game at a time.")
    ] = 8,
    device: Annotated[str, typer.Option(help="Of the networks: cpu, cuda.")] = "cpu",
    out: Annotated[
        Path,
        typer.Option(file_okay=False, help="Finished runs are kept there; one cut off goes on."),
    ] = Path("atari"),
    quiet: Quiet = False,
) -> None:
    """Zoo-Tuning of PPO agents from other Atari games to a new one, against scratch and one source.

    Needs hubfast[atari]. The default is short: minutes on a core, too short for agents to get good.
    Full length, 10 million frames a run: hubfast atari --source-frames 10000000
    --frames 10000000 --seeds 5 --device cuda --out atari-full
    """
    from typing import get_args

    from hubfast.atari import Method, Study, save_curves, table
    from hubfast.utils.allocator import keep_freed_memory
    from hubfast.utils.devices import find_device

    known = get_args(Method)
    methods = tuple(method or known)
    for name in methods:
        if name not in known:
            raise ValueError(f"method must be one of {known}, got {name!r}")
    sources = tuple(source or ("Pong", "SpaceInvaders", "DemonAttack"))
    find_device(device)
    check_output_folder(out)
    hold_folder(context, out)
    keep_freed_memory()
    study = Study(out, sources, target, source_frames, frames, environments, device)
    games = study.run(cast(Any, methods), seeds, progress=not quiet)
    curves = table(games, frames=frames)
    save_curves(curves, out / f"{target}-curves", f"{target}, {seeds} seeds: mean, lowest, highest")
    last = curves["frames"].max() / 2
    shown = Table("method", "games", "return", title=f"{target}, second half of training", box=None)
    for name, own in games[games["frames"] > last].groupby("method", sort=False):
        means = own.groupby("seed")["return"].mean()
        shown.add_row(
            str(name), str(len(own)), f"{means.mean():.2f} ({means.min():.2f} to {means.max():.2f})"
        )
    output_console().print(shown)
    output_console().print(f"Curves are in {out / f'{target}-curves.png'} and .csv")
