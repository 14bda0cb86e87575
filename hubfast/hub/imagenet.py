"""ImageNet accuracies that torchvision states of its weights, and timm has by other names."""

TAGS = {"tv_in1k": "IMAGENET1K_V1", "tv2_in1k": "IMAGENET1K_V2"}


def of_torchvision(model: str, weights: str = "DEFAULT") -> float | None:
    """Top-1 accuracy in percent of torchvision's `model` with those weights; None if not stated."""
    from torchvision.models import get_model_weights  # slow to import

    try:
        entry = get_model_weights(model)[weights]
    except (ValueError, KeyError):  # no such model, or no such weights
        return None
    return entry.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")


def of_timm(name: str) -> float | None:
    """Top-1 accuracy in percent of timm's `name` if its weights are torchvision's, else None."""
    model, _, tag = name.partition(".")
    return of_torchvision(model, TAGS[tag]) if tag in TAGS else None
