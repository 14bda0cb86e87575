"""The notebook of the documentation runs from top to bottom, and shows what it showed before.

`jupyter nbconvert --execute --inplace docs/notebook.ipynb` keeps the outputs of a new run.
"""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(cell):
    """What a cell printed, numbers left out: their last digits are the machine's."""
    text = "".join(out.get("text", "") for out in cell.outputs)
    return NUMBER.sub("#", text)


def kinds(cell):
    return [sorted(out.get("data", {"stream": ""})) for out in cell.outputs]


def test_its_outputs_are_those_of_one_run():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_of(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert all(cell.outputs for cell in code_of(notebook))
    assert NOTEBOOK.stat().st_size < 300_000
    assert str(Path.home()) not in NOTEBOOK.read_text()


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own: the kernel is another process
def test_it_runs(tmp_path):
    kept = nbformat.read(NOTEBOOK, as_version=4)
    again = nbformat.from_dict(kept)
    for cell in code_of(again):
        cell.outputs = []
    client = NotebookClient(again, timeout=300, kernel_name="python3")
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=str(tmp_path))
    for before, after in zip(code_of(kept), code_of(again), strict=True):
        assert kinds(after) == kinds(before)
        assert said(after) == said(before)
    apart = NUMBER.findall(code_of(again)[-1].outputs[0].text)[-1]
    assert float(apart) < 1e-5
