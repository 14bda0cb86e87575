"""The model card of a tuned model: Markdown with the front matter that hubs read."""

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from hubfast.tuning.tune import Tuned

LOAD_TIMM = """```python
import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
```"""
LOAD_TORCH = """```python
import torch

model = torch.load("FOLDER/model.pt", weights_only=False).eval()
```"""


def model_card(tuned: "Tuned", *, by_timm: bool) -> str:
    """Front matter, what it is, how it was made, how good it is, how to load it."""
    results = [
        {"type": found.metric, "name": f"{name} {found.metric}", "value": round(found.value, 4)}
        for name, found in tuned.evaluations.items()
    ]
    task = "image-classification" if tuned.labels.task != "regression" else "image-to-scalar"
    front = {
        "library_name": "timm" if by_timm else "pytorch",
        "tags": ["hubfast", tuned.method],
        "pipeline_tag": task,
        "base_model": list(tuned.models),
        "datasets": [tuned.data],
        "metrics": sorted({found.metric for found in tuned.evaluations.values()}),
        "model-index": [{"name": f"{tuned.models[0]} on {tuned.data}", "results": results}],
    }
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        "---",
        f"# {tuned.models[0]} tuned on {tuned.data}",
        "",
        f"Tuned by hubfast with the method `{tuned.method}`"
        + (f", using {', '.join(tuned.models)}." if len(tuned.models) > 1 else "."),
        "",
        *_table("data", {str(row["name"]): str(row["value"]) for row in results}),
        *_table("cost", _costs(tuned)),
        *_table("recipe", {k: str(v) for k, v in tuned.recipe.as_dict().items()}),
        f"Outputs ({tuned.labels.task}): {', '.join(tuned.labels.names)}.",
        "",
        "Input: " + _input(tuned),
        "",
        LOAD_TIMM if by_timm else LOAD_TORCH,
        "",
    ]
    return "\n".join(lines)


def _input(tuned: "Tuned") -> str:
    size = f"{tuned.size[0]} x {tuned.size[1]}"
    if len(tuned.models) > 1 and not hasattr(tuned.module, "export"):
        return f"pictures in [0, 1], RGB, trained at {size}; normalisation is inside."
    return f"pictures as the base model's own preprocessing gives them, trained at {size}."


def _costs(tuned: "Tuned") -> dict[str, str]:
    return {
        "parameters": f"{tuned.cost.parameters:,}",
        "multiply-adds of a picture": f"{tuned.cost.multiply_adds:,}",
        "training": f"{tuned.history.steps} steps in {tuned.history.seconds:.1f} s",
    }


def _table(title: str, rows: dict[str, str]) -> list[str]:
    if not rows:
        return []
    return [f"| {title} | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in rows.items()), ""]
