"""Names of the scores for help and completion, which must start fast."""

import ast
from pathlib import Path

import hubfast


def score_names() -> tuple[str, ...]:
    """The keys of `hubfast.scores.registry.HOMES`.

    They are read from its text: importing anything of `hubfast.scores` imports torch.
    """
    source = Path(hubfast.__file__).parent / "scores" / "registry.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="HOMES")], value=value):
                return tuple(ast.literal_eval(value))
    raise RuntimeError(f"{source} does not list the scores")
