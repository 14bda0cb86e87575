"""The first policy for a new game, made from agents of other games."""

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal, get_args

from hubfast.atari.agents import Ppo, new_agent
from hubfast.zoo import ZooTuning

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv

Method = Literal["scratch", "one", "zoo", "zoo-lite"]


def transferred(
    method: Method,
    environment: "VecEnv",
    sources: "Sequence[PPO]" = (),
    *,
    seed: int = 0,
    device: str = "cpu",
    settings: Ppo | None = None,
) -> "PPO":
    """An agent for a new game, whose first features come from agents of others.

    Shu et al., "Zoo-Tuning", ICML 2021, on the Nature-CNN: it has biases and no BatchNorm, so
    that gates are a softmax. Heads of policy and value are new; everything is trained by PPO's
    own loss.

    Args:
        method: `"scratch"`: no source. `"one"`: the first source's features, fine-tuned. `"zoo"`:
            all sources, gates by sample. `"zoo-lite"`: all sources, gates shared; games are then
            played by the gates' moving average, while the loss sees a batch's mean.
        environment: Copies of the new game.
        sources: Agents that `new_agent` made; they are left as they are.
        seed: Seeds heads, gates, actions and games.
        device: Where the network is.
        settings: How PPO trains.

    Raises:
        ValueError: Unknown method, or no sources for one that needs them.
    """
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {get_args(Method)}, got {method!r}")
    if method != "scratch" and not sources:
        raise ValueError(f"sources must be at least one agent for method {method!r}, got none")
    options: dict[str, Any] = {"seed": seed, "device": device, "settings": settings}
    features: list[Any] = [agent.policy.features_extractor for agent in sources]
    if method in ("scratch", "one"):
        agent = new_agent(environment, **options)
        if method == "one":
            agent.policy.features_extractor.load_state_dict(features[0].state_dict())
        return agent
    return _zoo(environment, features, lite=method == "zoo-lite", options=options)


def _zoo(
    environment: "VecEnv", features: list[Any], *, lite: bool, options: dict[str, Any]
) -> "PPO":
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    class ZooFeatures(BaseFeaturesExtractor):
        """M Nature-CNNs as one: `(B, 4, 84, 84)` in [0, 1] -> `(B, 512)`."""

        def __init__(self, observation_space: Any, networks: list[Any], lite: bool):
            super().__init__(observation_space, networks[0].features_dim)
            self.zoo = ZooTuning.from_models(networks, lite=lite)

        def forward(self, observations: Any) -> Any:
            return self.zoo(observations)

    networks = [deepcopy(network).cpu() for network in features]
    policy = {
        "features_extractor_class": ZooFeatures,
        "features_extractor_kwargs": {"networks": networks, "lite": lite},
    }
    agent = new_agent(environment, policy_kwargs=policy, **options)
    # The policy draws every linear layer anew, the gates' too; at first all models count the same.
    extractor: Any = agent.policy.features_extractor
    for layer in extractor.zoo.zoo_layers().values():
        layer.gate.reset_parameters()
    return agent
