"""A study: source agents on some games, then every method on the target; finished runs are kept,
and one that was cut off goes on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hubfast.atari.agents import Ppo, new_agent, record_returns
from hubfast.atari.environments import atari_environment
from hubfast.atari.transfer import Method, transferred
from hubfast.utils.files import replacing, write_csv
from hubfast.utils.progress import progress_bar

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv


@dataclass(frozen=True)
class Study:
    """What is trained, and where it is kept.

    Attributes:
        folder: Holds agents and returns; made where it is missing. A run's files carry all that it
            depends on in their names but the settings of PPO: keep one folder for one setting.
        sources: Games of the source agents.
        target: The new game.
        source_frames: Frames of the emulator for each source agent.
        frames: Frames of the emulator for each run on the target.
        environments: Copies of a game at the same time.
        device: Where the networks are.
        settings: How PPO trains.
    """

    folder: Path
    sources: Sequence[str]
    target: str
    source_frames: int
    frames: int
    environments: int = 8
    device: str = "cpu"
    settings: Ppo = field(default_factory=Ppo)

    def run(self, methods: Sequence[Method], seeds: int, *, progress: bool = True) -> pd.DataFrame:
        """Trains what is missing.

        Returns:
            Columns method, seed, frames, return; one row per finished game on the target.
        """
        if seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {seeds}")
        if not self.sources and set(methods) != {"scratch"}:
            raise ValueError("sources must be at least one game, got none")
        needed = self._needed(methods)
        frames = len(needed) * self.source_frames + len(methods) * seeds * self.frames
        with progress_bar(progress) as bar:
            task = bar.add_task("Atari", total=frames)

            def told(name: str, of: int) -> "Callable[[int], None]":
                bar.update(task, description=name)
                start = bar.tasks[0].completed
                return lambda n: bar.update(
                    task, completed=min(bar.tasks[0].completed + n, start + of)
                )

            for game in needed:
                self.train_source(game, told(f"source {game}", self.source_frames))
            found = [
                self.train_target(method, seed, told(f"{method} {seed}", self.frames))
                for seed in range(seeds)
                for method in methods
            ]
        return pd.concat(found, ignore_index=True)

    def _needed(self, methods: Sequence[Method]) -> Sequence[str]:
        if {"zoo", "zoo-lite"} & set(methods):
            return self.sources
        return self.sources[:1] if "one" in methods else ()

    def train_source(self, game: str, advance: Callable[[int], None] | None = None) -> Path:
        """The file of a source agent, trained if it is not there."""
        path = self.folder / f"source-{game}-{self.source_frames}.zip"
        if path.exists():
            _advance(advance, self.source_frames)
            return path
        with self._playing(game) as environment:
            agent = new_agent(environment, device=self.device, settings=self.settings)
            returns = path.with_suffix(".csv")
            self._train(agent, self.source_frames, returns, advance)
        with replacing(path) as partial:
            agent.save(partial)
        _checkpoint(path).unlink(missing_ok=True)
        return path

    def train_target(
        self, method: Method, seed: int, advance: Callable[[int], None] | None = None
    ) -> pd.DataFrame:
        """Games of one run on the target, played if they are not there."""
        names = {"scratch": [], "one": [self.sources[0]] if self.sources else []}
        used = names.get(method, list(self.sources))
        origin = f"-from-{'-'.join(used)}-{self.source_frames}" if used else ""
        path = self.folder / f"{self.target}-{self.frames}-{method}-{seed}{origin}.csv"
        if path.exists():
            _advance(advance, self.frames)
        else:
            options: Any = {"seed": seed, "device": self.device, "settings": self.settings}
            with self._playing(self.target, seed=1000 * seed) as environment:
                agent = transferred(method, environment, list(self._agents(used)), **options)
                self._train(agent, self.frames, path, advance)
            _checkpoint(path).unlink(missing_ok=True)
        return pd.read_csv(path).assign(method=method, seed=seed)

    @contextmanager
    def _playing(self, game: str, seed: int = 0) -> "Iterator[VecEnv]":
        environment = atari_environment(game, self.environments, seed)
        try:
            yield environment
        finally:
            environment.close()

    def _train(
        self, agent: "PPO", frames: int, path: Path, advance: Callable[[int], None] | None
    ) -> None:
        """Writes the games to `path`; a checkpoint lies beside it."""
        games = record_returns(agent, frames, advance, checkpoint=_checkpoint(path))
        _write(path, pd.DataFrame(games, columns=["frames", "return"]))

    def _agents(self, games: Sequence[str]) -> "Iterator[PPO]":
        from stable_baselines3 import PPO

        for game in games:
            yield PPO.load(self.train_source(game), device=self.device)


def _checkpoint(path: Path) -> Path:
    """The checkpoint of the run that ends in the file `path`."""
    return path.with_suffix(".pt")


def _advance(advance: Callable[[int], None] | None, frames: int) -> None:
    if advance:
        advance(frames)


def _write(path: Path, frame: pd.DataFrame) -> None:
    """Writes a table, and its folder where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, frame)
