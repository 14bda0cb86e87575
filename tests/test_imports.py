"""Imports point one way, and importing does no work."""

import ast
import importlib
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import hubfast

ROOT = Path(hubfast.__file__).parent

# Each part of the package, and what it may import besides itself. `hubfast.data` and the mini-hub
# serve the hub; nothing imports the command line.
ALLOWED = {
    "utils": set(),
    "nn": {"utils"},
    "kernels": {"ops"},
    "ops": {"kernels", "utils", "_native"},
    "profiling": {"nn", "ops", "utils"},
    "scores": {"ops", "utils"},
    "minihub": {"utils"},
    "data": {"scores", "minihub", "utils"},
    "hub": {"data", "minihub", "nn", "utils"},
    "zoo": {"ops", "profiling", "nn", "utils"},
    "pathway": {"ops", "profiling", "nn", "utils"},
    "extraction": {"hub", "data", "scores", "ops", "nn", "profiling", "utils"},
    "ranking": {"extraction", "scores", "hub", "data", "nn", "utils"},
    "tuning": {
        *("ranking", "extraction", "scores", "hub", "data", "minihub", "pathway", "zoo"),
        *("ops", "profiling", "nn", "utils"),
    },
    "atari": {"zoo", "utils"},
    "bench": {
        "tuning",
        "ranking",
        "extraction",
        "scores",
        "hub",
        "data",
        "minihub",
        "zoo",
        "nn",
        "profiling",
        "utils",
    },
    "report": {"ranking", "extraction", "scores", "tuning", "pathway", "utils"},
    "plots": {"ranking", "report"},
    "info": {"ops"},
    "functional": {"ops", "utils"},  # former names, for one release
    "evaluation": {"bench", "utils"},
    "__init__": {"data", "hub", "ranking", "tuning", "utils"},
    "__main__": {"cli"},
    "cli": {
        *("atari", "bench", "data", "extraction", "info", "minihub", "ranking", "report", "scores"),
        *("tuning", "utils"),
    },
}


def modules() -> list:
    found = []
    top = ROOT.parent
    files = [*ROOT.rglob("*.py"), *(top / "kernels").glob("*.py")]
    for path in files:
        parts = path.relative_to(top).with_suffix("").parts
        part = "kernels" if parts[0] == "kernels" else parts[1]
        found.append(pytest.param(path, part, id="/".join(parts)))
    return found


@pytest.mark.parametrize(("path", "part"), modules())
def test_imports_point_one_way(path, part):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names = [node.module]
            if node.module == "hubfast":
                names = [f"hubfast.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        imported |= {name.split(".")[1] for name in names if name.startswith("hubfast.")}
    assert imported - {part} <= ALLOWED[part]


def module_graph() -> dict[str, set[str]]:
    """The modules that each imports, be it late, in a function, or for types alone."""
    top = ROOT.parent
    paths = {}
    for path in [*ROOT.rglob("*.py"), *(top / "kernels").glob("*.py")]:
        parts = path.relative_to(top).with_suffix("").parts
        parts = parts if parts[0] == "hubfast" else ("hubfast", *parts)
        paths[".".join(parts).removesuffix(".__init__")] = path
    graph = {}
    for module, path in paths.items():
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                imported |= {name if name in paths else node.module for name in full}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
        graph[module] = imported & paths.keys() - {module}
    return graph


def test_no_circle_of_imports():
    try:
        TopologicalSorter(module_graph()).prepare()
    except CycleError as error:
        pytest.fail("modules import each other: " + " <- ".join(error.args[1]))


def test_no_class_name_is_defined_twice():
    """Private ones, which no other module sees, excepted."""
    homes = {}
    for param in modules():
        path = param.values[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, set()).add(str(path.relative_to(ROOT.parent)))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_import_is_light():
    """Slow or optional packages are imported where they are used."""
    slow = {"triton", "timm", "torchvision", "huggingface_hub", "transformers", "datasets"}
    slow |= {"ale_py", "gymnasium", "stable_baselines3"}
    slow |= {"onnx", "onnxruntime", "keras", "tensorflow", "yaml"}
    parts = "import hubfast, hubfast.scores, hubfast.ranking, sys"
    code = f"{parts}; print(sorted({slow} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_the_command_line_starts_without_torch():
    code = "import hubfast, hubfast.cli, sys; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_the_package_has_its_parts_and_names():
    code = "import hubfast; [getattr(hubfast, name) for name in dir(hubfast)]; hubfast.tuning.tune"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {*hubfast.__all__} < {*dir(hubfast)}
    with pytest.raises(AttributeError, match=r"module 'hubfast' has no attribute 'ranks'"):
        _ = hubfast.ranks
    with pytest.raises(ImportError, match=r"cannot import name 'ranks'"):
        exec("from hubfast import ranks")


def test_importing_uses_no_randomness():
    code = (
        "import numpy, torch; numpy.random.seed(0); torch.manual_seed(0);"
        "import hubfast, hubfast.scores, hubfast.ranking, hubfast.tuning;"
        "print(numpy.random.rand(), torch.rand(1).item())"
    )
    with_import = subprocess.check_output([sys.executable, "-c", code])
    without = code.replace("import hubfast, hubfast.scores, hubfast.ranking, hubfast.tuning;", "")
    assert with_import == subprocess.check_output([sys.executable, "-c", without])


@pytest.mark.parametrize(
    ("former", "now", "name"),
    [
        ("hubfast.functional", "hubfast.ops", "evidence"),
        ("hubfast.evaluation", "hubfast.bench.ranking", "read_records"),
        ("hubfast.zoo", "hubfast.bench.cost", "cost_rows"),
        ("hubfast.tuning.measure", "hubfast.profiling.memory", "PeakMemory"),
    ],
)
def test_former_names_go_on_working(former, now, name):
    code = f"import {former}; print({former}.{name} is __import__({now!r}, fromlist=['x']).{name})"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    assert "DeprecationWarning" in done.stderr
    assert now in done.stderr


@pytest.mark.parametrize(
    ("module", "former", "now"),
    [
        ("hubfast.evaluation", "Evaluation", "hubfast.bench.ranking.ScoreStudy"),
        ("hubfast.bench.ranking", "Evaluation", "hubfast.bench.ranking.ScoreStudy"),
        ("hubfast.bench.ranking.table", "Evaluation", "hubfast.bench.ranking.table.ScoreStudy"),
        ("hubfast.data.labels", "Labels", "hubfast.data.labels.EncodedTargets"),
        ("hubfast.tuning", "Pretrained", "hubfast.tuning.TransferModel"),
        ("hubfast.tuning", "Labels", "hubfast.tuning.TargetEncoder"),
        ("hubfast.tuning", "Setting", "hubfast.tuning.TuningContext"),
        ("hubfast.tuning", "Pictures", "hubfast.tuning.ImageDataset"),
        ("hubfast.tuning", "Seen", "hubfast.tuning.ForwardPass"),
        ("hubfast.tuning", "Delta", "hubfast.tuning.DELTA"),
        ("hubfast.tuning.pretrained", "Pretrained", "hubfast.tuning.pretrained.TransferModel"),
    ],
)
@pytest.mark.filterwarnings("ignore:hubfast.evaluation is now:DeprecationWarning")
def test_former_names_of_classes_go_on_working(module, former, now):
    home, _, name = now.rpartition(".")
    renamed = getattr(import_module(home), name)
    with pytest.warns(DeprecationWarning, match=rf"{former} is now {now}$"):
        assert getattr(import_module(module), former) is renamed


@pytest.mark.parametrize(
    ("module", "former", "now"),
    [
        ("hubfast.bench.ranking.cost", "Cost", "ScoreCost"),
        ("hubfast.tuning.measure", "Cost", "MethodCost"),
        ("hubfast.pathway.flops", "Cost", "HubFlops"),
        ("hubfast.pathway.models", "Views", "ResizedBatch"),
        ("hubfast.pathway.survey", "Survey", "RoutingSurvey"),
        ("hubfast.pathway", "Survey", "RoutingSurvey"),
        ("hubfast.zoo.conversion", "Choices", "ConversionOptions"),
        ("hubfast.minihub.training", "Recipe", "PretrainingRecipe"),
    ],
)
def test_renamed_classes_go_on_working(module, former, now):
    found = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=now):
        assert getattr(found, former) is getattr(found, now)
