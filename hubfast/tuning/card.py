"""The model card of a tuned model: Markdown with the front matter that hubs read."""

from collections.abc import Mapping
from typing import Any

import yaml

from hubfast.tuning.usage import Input


def model_card(record: Mapping[str, Any], takes: Input, *, by_timm: bool) -> str:
    """Front matter, what it is, how it was made, how good it is, how to use it.

    Args:
        record: Plain values of the tuned model, as `Tuned.as_dict` gives them.
        takes: What the saved module takes.
        by_timm: timm builds it from `config.json`.
    """
    method, models, data = record["method"], record["models"], record["data"]
    evaluations, labels = record["evaluations"], record["labels"]
    results = [
        {"type": found["metric"], "name": f"{part} {found['metric']}", "value": round(value, 4)}
        for part, found in evaluations.items()
        for value in [found["value"]]
    ]
    task = "image-classification" if labels["task"] != "regression" else "image-to-scalar"
    front = {
        "library_name": "timm" if by_timm else "pytorch",
        "tags": ["hubfast", method],
        "pipeline_tag": task,
        "base_model": list(models),
        "datasets": [data],
        "metrics": sorted({found["metric"] for found in evaluations.values()}),
        "model-index": [{"name": f"{models[0]} on {data}", "results": results}],
    }
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        "---",
        f"# {models[0]} tuned on {data}",
        "",
        f"Tuned by hubfast with the method `{method}`"
        + (f", using {', '.join(models)}." if len(models) > 1 else "."),
        "",
        *_table("data", {str(row["name"]): str(row["value"]) for row in results}),
        *_table("without tuning", _untuned(record)),
        *(f"{sentence}\n" for sentence in (*record["not_worth_it"], *record["notes"])),
        *_table("cost", _costs(record)),
        *_table("recipe", {k: str(v) for k, v in record["recipe"].items()}),
        f"Outputs ({labels['task']}): {', '.join(labels['names'])}.",
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
    """How a reader gets the card's numbers again."""
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


def _untuned(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"{part} {metric} of {each['name']}, features of {each['model']}": f"{value:.4f}"
        for each in record["baselines"]
        for part, value in each["values"].items()
        for metric in [record["evaluations"][part]["metric"]]
    }


def _costs(record: Mapping[str, Any]) -> dict[str, str]:
    cost, history = record["cost"], record["history"]
    return {
        "parameters": f"{cost['parameters']:,}",
        "multiply-adds per image": f"{cost['multiply_adds']:,}",
        "training": f"{history['steps']} steps in {history['seconds']:.1f} s",
    }


def _table(title: str, rows: dict[str, str]) -> list[str]:
    if not rows:
        return []
    return [f"| {title} | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in rows.items()), ""]
