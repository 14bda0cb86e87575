"""Modules that have moved, found by their old names: a `model.pt` names its classes' modules.

Such a file is read by `torch.load`, which imports what the file names, so the old names must be
importable for as long as those files are to be read. `hubfast` puts the finder behind all others.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# Where the classes of each old module are now.
HOMES = {
    "hubfast.pathway.cuda": {
        "Graphs": "hubfast.pathway.gpu_executors.Graphs",
        "Streams": "hubfast.pathway.gpu_executors.Streams",
    },
    "hubfast.pathway.lazy": {
        "LazyModel": "hubfast.pathway.store.LazyModel",
        "ModelStore": "hubfast.pathway.store.ModelStore",
    },
    "hubfast.reference": {},
    "hubfast.reference.route": {"Routes": "hubfast.ops.routing.reference.Routes"},
    "hubfast.tuning.aggregated": {
        "Plain": "hubfast.tuning.methods.zoo.Plain",
        "Zoo": "hubfast.tuning.methods.zoo.ZooMethod",
    },
    "hubfast.tuning.ensemble": {"Ensemble": "hubfast.tuning.methods.ensemble.Ensemble"},
    "hubfast.zoo.layer": {
        "Samples": "hubfast.zoo.base.Samples",
        "ZooLayer": "hubfast.zoo.base.ZooLayer",
    },
    "hubfast.zoo.normalization": {"Normalize": "hubfast.nn.normalization.Normalize"},
    "hubfast.zoo.tuning": {"ZooTuning": "hubfast.zoo.module.ZooTuning"},
}


class FormerModules:
    """Finds modules of HOMES, whose classes come from where they are now, with a warning.

    It has the methods of `importlib.abc.MetaPathFinder` and `Loader`, which are slow to import.
    """

    @classmethod
    def install(cls) -> None:
        """Has Python ask here for modules that are found nowhere else."""
        if not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.append(cls())

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Gives an empty module with the old name, or None for names that are not of HOMES."""
        if fullname not in HOMES:
            return None
        package = any(each.startswith(f"{fullname}.") for each in HOMES)
        return ModuleSpec(fullname, self, is_package=package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leaves making the module to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Has the module give what its names stand for now."""
        from hubfast.utils.moved import moved  # every import of hubfast comes by here, few need it

        module.__getattr__ = moved(module.__name__, HOMES[module.__name__])  # type: ignore[method-assign]
