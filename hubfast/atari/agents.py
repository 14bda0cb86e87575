"""Agents: PPO on the Nature-CNN, and the returns of the games that they play while they learn."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubfast.atari.environments import FRAME_SKIP
from hubfast.utils import files as checkpoints

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv

Games = list[tuple[int, float]]  # frames so far and return of each finished game

SAVE_EVERY = 100_000  # frames between checkpoints: a few minutes


@dataclass(frozen=True)
class Ppo:
    """Settings of PPO (Schulman et al., 2017), by Stable-Baselines3's names; as usual on Atari."""

    n_steps: int = 128
    batch_size: int = 256
    n_epochs: int = 4
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    learning_rate: float = 2.5e-4
    clip_range: float = 0.1


def new_agent(
    environment: "VecEnv",
    *,
    seed: int = 0,
    device: str = "cpu",
    settings: Ppo | None = None,
    policy_kwargs: dict[str, Any] | None = None,
) -> "PPO":
    """An untrained agent.

    Args:
        environment: What `atari_environment` gives.
        seed: Seeds weights, actions and the games.
        device: Where the network is.
        settings: How PPO trains. The learning rate falls linearly to zero.
        policy_kwargs: Arguments of Stable-Baselines3's policy, such as its features extractor.
    """
    from stable_baselines3 import PPO
    from stable_baselines3.common.utils import LinearSchedule

    values = asdict(settings or Ppo())
    values["learning_rate"] = LinearSchedule(values["learning_rate"], 0.0, 1.0)
    return PPO(
        "CnnPolicy", environment, seed=seed, device=device, policy_kwargs=policy_kwargs, **values
    )


def record_returns(
    agent: "PPO",
    frames: int,
    advance: Callable[[int], object] | None = None,
    *,
    checkpoint: Path | None = None,
    save_every: int = SAVE_EVERY,
) -> Games:
    """Trains an agent and records every game that it finishes.

    A run that was cut off goes on from its checkpoint: weights, optimiser and learning rate are as
    they were, games begin anew.

    Args:
        agent: It is trained in place.
        frames: Frames of the emulator over all copies, rounded up to whole rollouts of PPO.
        advance: Called after each step with the frames done in it.
        checkpoint: File that is read if it is there, and written as training goes on.
        save_every: Frames between two writings, rounded up to whole rollouts.

    Returns:
        Frames so far and return of each finished game.

    Raises:
        ValueError: The frames are fewer than one step of the agent takes.
    """
    from stable_baselines3.common.callbacks import BaseCallback

    if frames < FRAME_SKIP:
        raise ValueError(f"frames must be at least {FRAME_SKIP}, got {frames}")
    games: Games = []
    first = 0
    if checkpoint and checkpoint.exists():
        games, first = _restored(agent, checkpoint), agent.num_timesteps
    if advance and first:
        advance(first * FRAME_SKIP)

    class Record(BaseCallback):
        saved = first

        def _on_rollout_start(self) -> None:
            if checkpoint and (self.num_timesteps - self.saved) * FRAME_SKIP >= save_every:
                _save(self.model, games, checkpoint)
                self.saved = self.num_timesteps

        def _on_step(self) -> bool:
            for info in self.locals["infos"]:
                if "episode" in info:
                    games.append((self.num_timesteps * FRAME_SKIP, float(info["episode"]["r"])))
            if advance:
                advance(self.training_env.num_envs * FRAME_SKIP)
            return True

    steps = frames // FRAME_SKIP - first
    if steps > 0:
        agent.learn(steps, callback=Record(), reset_num_timesteps=first == 0)
    return games


def _save(agent: Any, games: Games, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    policy = agent.policy
    state = {"policy": policy.state_dict(), "optimizer": policy.optimizer.state_dict()}
    checkpoints.save(path, {**state, "steps": agent.num_timesteps, "games": games})


def _restored(agent: "PPO", path: Path) -> Games:
    """Puts an agent where it was; returns the games that it had finished."""
    found = checkpoints.load(path)
    agent.policy.load_state_dict(found["policy"])
    agent.policy.optimizer.load_state_dict(found["optimizer"])
    agent.num_timesteps = found["steps"]
    agent.set_random_seed((agent.seed or 0) + found["steps"])  # not the same games once more
    return found["games"]
