"""Return curves: the games of runs as a table by frames, and as a figure."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hubfast.utils.files import replacing, write_csv


def table(games: pd.DataFrame, bins: int = 8, frames: int | None = None) -> pd.DataFrame:
    """Mean return by method and stretch of training.

    Args:
        games: Columns method, seed, frames, return: one row per finished game.
        bins: Stretches of equal length.
        frames: Length of a run; None takes the last game's.

    Returns:
        Columns method, frames (the end of the stretch), return (mean over seeds of each seed's
        mean; NaN where no game ended), low and high (the lowest and highest seed), games.

    Raises:
        ValueError: There are no games, or no bins.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if games.empty:
        raise ValueError("games must be at least one, got none: train for more frames")
    edges = np.linspace(0, frames or games["frames"].max(), bins + 1)
    stretch = np.searchsorted(edges[1:], games["frames"]).clip(max=bins - 1)
    rows = []
    for method in games["method"].unique():
        for index in range(bins):
            own = games[(games["method"] == method) & (stretch == index)]
            means = own.groupby("seed")["return"].mean()
            values = (means.mean(), means.min(), means.max())
            rows.append((method, round(edges[index + 1]), *values, len(own)))
    return pd.DataFrame(rows, columns=["method", "frames", "return", "low", "high", "games"])


def plot_curves(curves: pd.DataFrame, title: str = "", ax: Axes | None = None) -> Axes:
    """Draws a `table`: mean over seeds, and the band from the lowest to the highest seed."""
    ax = ax or plt.subplots(layout="constrained")[1]
    for method, own in curves.groupby("method", sort=False):
        (line,) = ax.plot(own["frames"], own["return"], marker="o", markersize=3, label=method)
        ax.fill_between(own["frames"], own["low"], own["high"], alpha=0.15, color=line.get_color())
    ax.set_xlabel("frames of the emulator")
    ax.set_ylabel("return of a game")
    ax.set_title(title, fontsize="medium")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax


def save_curves(curves: pd.DataFrame, stem: Path, title: str = "") -> None:
    """Writes `stem`.csv and `stem`.png."""
    write_csv(stem.with_suffix(".csv"), curves.round(3))
    figure, ax = plt.subplots(layout="constrained")
    plot_curves(curves, title, ax)
    with replacing(stem.with_suffix(".png")) as partial:
        figure.savefig(partial, dpi=120)
    plt.close(figure)
