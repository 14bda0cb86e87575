"""Atari: Zoo-Tuning of agents across games, with Stable-Baselines3's PPO as the trainer."""

from hubfast.atari.agents import Ppo, new_agent, record_returns
from hubfast.atari.curves import plot_curves, save_curves, table
from hubfast.atari.environments import FRAME_SKIP, atari_environment
from hubfast.atari.study import Study
from hubfast.atari.transfer import Method, transferred

__all__ = [
    "FRAME_SKIP",
    "Method",
    "Ppo",
    "Study",
    "atari_environment",
    "new_agent",
    "plot_curves",
    "record_returns",
    "save_curves",
    "table",
    "transferred",
]
