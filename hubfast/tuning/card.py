"""The model card of a tuned model: Markdown with the front matter that hubs read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from hubfast.tuning.usage import Input, Loads


class Usage(NamedTuple):
    """What a card says of how the saved model is used."""

    library: str  # that loads it, as hubs call it
    pipeline: str  # what it does, as hubs call it
    sentence: str  # how a reader gets the card's numbers again
    code: str  # Python that does so; FOLDER stands for the folder
    sample: str  # what it takes, in the singular


def image_usage(takes: Input, task: str, loads: Loads) -> Usage:
    """How a saved model of images is used.

    Args:
        takes: What the saved module takes.
        task: What the targets pose.
        loads: What loads the saved module.
    """
    pipeline = "image-classification" if task != "regression" else "image-to-scalar"
    library = "pytorch" if loads == "torch" else loads
    return Usage(library, pipeline, _input(takes, loads), takes.code(loads), "image")


def model_card(record: Mapping[str, Any], usage: Usage) -> str:
    """Front matter, what it is, how it was made, how good it is, how to use it.

    Args:
        record: Plain values of the tuned model, as `Tuned.as_dict` gives them.
        usage: How the saved model is used.
    """
    method, models, data = record["method"], record["models"], record["data"]
    evaluations, labels = record["evaluations"], record["labels"]
    results = [
        {"type": found["metric"], "name": f"{part} {found['metric']}", "value": round(value, 4)}
        for part, found in evaluations.items()
        for value in [found["value"]]
    ]
    front = {
        "library_name": usage.library,
        "tags": ["hubfast", method],
        "pipeline_tag": usage.pipeline,
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
        *_table("cost", _costs(record, usage.sample)),
        *_table("recipe", {k: str(v) for k, v in record["recipe"].items()}),
        f"Outputs ({labels['task']}): {', '.join(labels['names'])}.",
        "",
        usage.sentence,
        "",
        "```python",
        usage.code,
        "```",
        "",
    ]
    return "\n".join(lines)


def _input(takes: Input, loads: Loads) -> str:
    """How a reader gets the card's numbers again."""
    height, width = takes.framing.size
    normalised = "inside the model" if takes.normalisation is None else "in the transform"
    call = "model(transform(image)[None])" + ".logits" * (loads == "transformers")
    image = "an image"
    if takes.framing.transform is None:
        image = "a float tensor, such as the training data gave,"
    return (
        f"Evaluated on images of {height} x {width} pixels, prepared by this transform "
        f"(normalisation is {normalised}). `{call}` gives the outputs of "
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


def _costs(record: Mapping[str, Any], sample: str) -> dict[str, str]:
    cost, history = record["cost"], record["history"]
    return {
        "parameters": f"{cost['parameters']:,}",
        f"multiply-adds per {sample}": f"{cost['multiply_adds']:,}",
        "training": f"{history['steps']} steps in {history['seconds']:.1f} s",
    }


def _table(title: str, rows: dict[str, str]) -> list[str]:
    if not rows:
        return []
    return [f"| {title} | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in rows.items()), ""]
