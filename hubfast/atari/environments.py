"""Atari games with the usual preprocessing."""

from typing import TYPE_CHECKING

from hubfast.utils.extras import require

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

FRAME_SKIP = 4  # frames of the emulator in a step of the agent


def atari_environment(game: str, environments: int = 8, seed: int = 0) -> "VecEnv":
    """Copies of a game, as agents are commonly trained on it.

    Up to 30 no-op actions at the start, an action for 4 frames, the maximum of the last two,
    84 x 84 grey pixels, a stack of 4; in training an episode ends with a life and rewards are
    clipped to their sign, while the returns that are recorded are those of whole games, unclipped
    (Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015).

    Args:
        game: `"Breakout"`, `"SpaceInvaders"`; those that come with ale-py.
        environments: Copies that are played at the same time.
        seed: Seeds the games' randomness; copy `i` takes `seed + i`.

    Raises:
        ModuleNotFoundError: The extra `hubfast[atari]` is not installed.
        ValueError: There is no such game, or environments is below 1.
    """
    for module in ("ale_py", "cv2", "stable_baselines3"):
        require(module, "atari", "hubfast.atari")
    import ale_py
    import gymnasium
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    if environments < 1:
        raise ValueError(f"environments must be at least 1, got {environments}")
    gymnasium.register_envs(ale_py)
    name = f"{game}NoFrameskip-v4"
    if name not in gymnasium.registry:
        raise ValueError(f"game must be one of ale-py's, such as 'Breakout', got {game!r}")
    games = make_atari_env(
        name, environments, seed, wrapper_kwargs={"frame_skip": FRAME_SKIP, "noop_max": 30}
    )
    return VecFrameStack(games, n_stack=4)
