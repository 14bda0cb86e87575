"""A ranking as what to tune: its models and its data, where the command does not say others."""

from pathlib import Path

import typer


def named_by(
    ranked: Path | None, ranking: Path | None, hub: list[str] | None, data: str | None
) -> tuple[Path | None, list[str], str]:
    """The ranking, the hub and the data that a command names.

    Args:
        ranked: A ranking that gives what `hub` and `data` do not.
        ranking: A ranking of `hub`.
        hub: Models, or None.
        data: Training data, or None.

    Raises:
        typer.BadParameter: Two rankings, no hub, or no data, and no ranking that knows them.
        OSError, ValueError: The ranking cannot be read.
    """
    if ranked is not None and ranking is not None:
        raise typer.BadParameter("RANKING and --ranking are two rankings: give one")
    if ranked is not None and not (hub and data):
        from hubfast.ranking import Ranking

        found = Ranking.from_json(ranked)
        specs = [model.hub_file or model.spec for model in found]
        hub = hub or list(dict.fromkeys(spec for spec in specs if spec))
        data = data or found.location
    if not hub:
        raise typer.BadParameter("--hub must be given, or a RANKING that says what its models are")
    if not data:
        raise typer.BadParameter("--data must be given, or a RANKING that says where its data are")
    return ranked or ranking, hub, data
