"""hubfast: rank, tune and compare a hub of pre-trained models on a small target data set."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hubfast.utils.former_modules import FormerModules

if TYPE_CHECKING:
    from hubfast.data import TargetData, as_target_data
    from hubfast.hub import as_hub, as_source
    from hubfast.ranking import Ranking, rank
    from hubfast.tuning.tune import tune

__version__ = "0.1.0"
__all__ = [
    "Ranking",
    "TargetData",
    "__version__",
    "as_hub",
    "as_source",
    "as_target_data",
    "rank",
    "tune",
]
_HOMES = {
    "data": ("TargetData", "as_target_data"),
    "hub": ("as_hub", "as_source"),
    "ranking": ("Ranking", "rank"),
    "tuning": ("tune",),
}
_PARTS = (
    *_HOMES,
    "bench",
    "minihub",
    "ops",
    "pathway",
    "plots",
    "report",
    "scores",
    "zoo",
)
_FORMER = ("evaluation", "functional")  # names of parts, kept for one release

FormerModules.install()


def __getattr__(name: str) -> Any:
    """Parts come when they are asked for: torch takes seconds that `hubfast --help` need not."""
    if name in (*_PARTS, *_FORMER):
        return import_module(f"hubfast.{name}")
    for part, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"hubfast.{part}"), name)
    raise AttributeError(f"module 'hubfast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_PARTS})
