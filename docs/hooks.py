"""What `mkdocs build` adds to the files of this folder: the page of the notebook."""

from pathlib import Path

from mkdocs.structure.files import File
from nbconvert import MarkdownExporter

NOTEBOOK = "notebook.ipynb"


def on_files(files, config):
    """Adds the notebook's page and its figures, as its last run left them."""
    notebook = Path(config.docs_dir) / NOTEBOOK
    page, resources = MarkdownExporter().from_filename(str(notebook))
    files.append(File.generated(config, "notebook.md", content=page))
    for name, content in resources["outputs"].items():
        files.append(File.generated(config, name, content=content))
    return files
