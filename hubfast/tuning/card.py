"""The model card of a tuned model: Markdown with the front matter that hubs read."""

from typing import TYPE_CHECKING

import yaml

from hubfast.tuning.usage import Input

if TYPE_CHECKING:
    from hubfast.tuning.result import Tuned


def model_card(tuned: "Tuned", takes: Input, *, by_timm: bool) -> str:
    """Front matter, what it is, how it was made, how good it is, how to use it.

    Args:
        tuned: The model.
        takes: What the saved module takes.
        by_timm: timm builds it from `config.json`.
    """
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
        *_table("without tuning", _untuned(tuned)),
        *(f"{sentence}\n" for sentence in (*tuned.not_worth_it, *tuned.notes)),
        *_table("cost", _costs(tuned)),
        *_table("recipe", {k: str(v) for k, v in tuned.recipe.as_dict().items()}),
        f"Outputs ({tuned.labels.task}): {', '.join(tuned.labels.names)}.",
        "",
        _input(takes),
        "",
        "```python",
        takes.code(by_timm=by_timm),
        "```",
        "",
    ]
    return "\n".join(lines)


def _input(takes: Input) -> str:
    """How the numbers above come about again."""
    height, width = takes.framing.size
    normalised = "inside the model" if takes.normalisation is None else "in the transform"
    image = "an image"
    if takes.framing.transform is None:
        image = "a float tensor, such as the training data gave,"
    return (
        f"Evaluated on images of {height} x {width} pixels, prepared by this transform "
        f"(normalisation is {normalised}). `model(transform(image)[None])` gives the outputs of "
        f"{image}; an image from a file must be upright and in RGB, as "
        "`ImageOps.exif_transpose(Image.open(FILE)).convert('RGB')` of PIL gives it. "
        "FOLDER is this folder."
    )


def _untuned(tuned: "Tuned") -> dict[str, str]:
    return {
        f"{part} {tuned.evaluations[part].metric} of {each.name}, features of {each.model}": (
            f"{value:.4f}"
        )
        for each in tuned.baselines
        for part, value in each.values.items()
    }


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
