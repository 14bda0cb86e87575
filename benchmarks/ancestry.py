"""How alike the weights of models are that share an ancestor, and of models that do not.

    python benchmarks/ancestry.py              # hubs of the mini-hub's ResNets
    python benchmarks/ancestry.py --data DIR   # and the hub that real_hub.py made in DIR

From these `hubfast.zoo.ancestry.RELATED` was chosen: Zoo-Tuning and soups want an ancestor.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from zoo_models import SOURCES, models_of

from hubfast.hub import as_hub
from hubfast.zoo import kinship


def real_models(hub: Path) -> dict[str, nn.Module]:
    """The networks of one architecture, of a hub file: those of Lite0."""
    found = {}
    for source in as_hub(hub):
        if source.name.startswith("lite0") or source.name.endswith("lite0"):
            network: Any = source.load()
            found[source.name] = network.run
    return found


def show(title: str, names: list[str], alike: Tensor) -> None:
    pairs = alike[torch.triu(torch.ones_like(alike, dtype=torch.bool), 1)]
    print(f"{title}: {float(pairs.min()):.3f} to {float(pairs.max()):.3f}, {len(pairs)} pairs")
    for name, row in zip(names, alike.tolist(), strict=True):
        print(f"  {name:>28} " + " ".join(f"{x:6.3f}" for x in row))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="the folder of real_hub.py")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.data is not None:
        models = real_models(options.data / "hub.yaml")
        show("EfficientNet-Lite0", list(models), kinship(list(models.values())))
    for hub in SOURCES:
        models = models_of(hub)
        show(f"mini-hub, {hub}", list(models), kinship(list(models.values())))
