"""What the shell completes: metrics, methods of tuning, mini-hub names, kinds of models, files."""

from pathlib import Path

from hubfast.cli.names import method_names, model_kinds, score_names

OF_FILES = ("onnx:", "export:", "keras:", "tfhub:", "hf:", "torchhub:", "hfdata:")


def complete_metric(incomplete: str) -> list[str]:
    """Names of scores."""
    return _starting(incomplete, score_names())


def complete_method(incomplete: str) -> list[str]:
    """Names of methods of tuning."""
    return _starting(incomplete, method_names())


def complete_model(incomplete: str) -> list[str]:
    """Kinds of models, models of the mini-hub, and of timm once `timm:` is typed; files."""
    if incomplete.startswith("minihub:"):
        from hubfast.minihub import model_names

        return _starting(incomplete, [f"minihub:{name}" for name in model_names(full=True)])
    if incomplete.startswith("timm:"):
        import timm  # takes a second or two

        return _starting(incomplete, [f"timm:{name}" for name in timm.list_models(pretrained=True)])
    kinds = [kind if kind == "minihub" else f"{kind}:" for kind in model_kinds()]
    return _starting(incomplete, kinds) + _files(incomplete)


def complete_data(incomplete: str) -> list[str]:
    """Targets of the mini-hub, `hfdata:`, and files."""
    if incomplete.startswith("minihub:"):
        from hubfast.minihub import target_names

        return _starting(incomplete, [f"minihub:{name}" for name in target_names()])
    return _starting(incomplete, ("minihub:", "hfdata:")) + _files(incomplete)


def _starting(incomplete: str, names: "list[str] | tuple[str, ...]") -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _files(incomplete: str) -> list[str]:
    kind = next((kind for kind in OF_FILES if incomplete.startswith(kind)), "")
    typed = incomplete.removeprefix(kind)
    folder, _, start = typed.rpartition("/")
    place = Path(folder or ("/" if typed.startswith("/") else "."))
    if not place.is_dir():
        return []
    prefix = typed[: len(typed) - len(start)]
    entries = sorted(p for p in place.iterdir() if p.name.startswith(start))
    return [f"{kind}{prefix}{p.name}{'/' if p.is_dir() else ''}" for p in entries]
