"""Agents: PPO on the Nature-CNN, and the returns of the games that they play while they learn."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hubfast.atari.environments import FRAME_SKIP

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv


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
        environment: Of `atari_environment`.
        seed: Of weights, actions and the games.
        device: Of the network.
        settings: Of PPO. The learning rate falls linearly to zero.
        policy_kwargs: Of Stable-Baselines3's policy, such as another features extractor.
    """
    from stable_baselines3 import PPO
    from stable_baselines3.common.utils import LinearSchedule

    values = asdict(settings or Ppo())
    values["learning_rate"] = LinearSchedule(values["learning_rate"], 0.0, 1.0)
    return PPO(
        "CnnPolicy", environment, seed=seed, device=device, policy_kwargs=policy_kwargs, **values
    )


def record_returns(
    agent: "PPO", frames: int, advance: Callable[[int], object] | None = None
) -> list[tuple[int, float]]:
    """Trains an agent and records every game that it finishes.

    Args:
        agent: Trained in place.
        frames: Of the emulator, over all copies; rounded up to whole rollouts of PPO.
        advance: Called after each step with the frames done in it.

    Returns:
        Frames so far and return, a finished game each.

    Raises:
        ValueError: Fewer frames than one step of the agent.
    """
    from stable_baselines3.common.callbacks import BaseCallback

    if frames < FRAME_SKIP:
        raise ValueError(f"frames must be at least {FRAME_SKIP}, got {frames}")
    games: list[tuple[int, float]] = []

    class Record(BaseCallback):
        def _on_step(self) -> bool:
            for info in self.locals["infos"]:
                if "episode" in info:
                    games.append((self.num_timesteps * FRAME_SKIP, float(info["episode"]["r"])))
            if advance:
                advance(self.training_env.num_envs * FRAME_SKIP)
            return True

    agent.learn(frames // FRAME_SKIP, callback=Record())
    return games
