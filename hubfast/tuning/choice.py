"""Which models of a hub a method tunes: the best of a ranking."""

from collections.abc import Collection, Sequence
from pathlib import Path

from hubfast.data import TargetData
from hubfast.hub import Source
from hubfast.ranking import Ranking
from hubfast.tuning.context import TuningContext
from hubfast.tuning.framing import choose_framing
from hubfast.tuning.images import ImageDataset
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.methods.zoo import same_architecture


def choose_models(
    hub: Sequence[Source],
    ranking: Ranking,
    count: int,
    alike: TargetData | None,
    left_out: Collection[str] = (),
) -> list[Source]:
    """The best `count` models of a ranking, from the hub, but for those named in `left_out`.

    With `alike`, data to run them on: the best, and the next best of its architecture; as many as
    there are.

    Raises:
        ValueError: Too few models have a place, or are in the hub, or are alike.
    """
    names = [model.name for model in ranking.ranked if model.name not in left_out]
    reasons = "".join(f"\n{model.name} failed: {model.error}" for model in ranking.failed)
    reasons += "".join(f"\n{said}" for said in ranking.silences())
    if not names:
        raise ValueError(f"hub must hold a model that can be ranked{reasons}")
    if alike is None:
        if len(names) < count:
            models = f"top must be at most {len(names)}, the models that have a place"
            raise ValueError(f"{models}, got {count}{reasons}")
        names = names[:count]
    sources = _ranked(hub, ranking, names)
    return sources if alike is None else _of_one_architecture(sources, count, alike)


def _ranked(hub: Sequence[Source], ranking: Ranking, names: Sequence[str]) -> list[Source]:
    """The hub's models by these names; a name that stands for another file or model is refused."""
    known = {source.name: source for source in hub}
    by_spec = {source.spec: source for source in hub}
    specs = {model.name: model.spec for model in ranking}
    found, missing = [], []
    for name in names:
        spec = specs[name]
        # Models of one name are numbered by their place in the hub, which may have changed.
        source = by_spec[spec] if spec is not None and spec in by_spec else known.get(name)
        if source is None:
            missing.append(name)
        elif spec is not None and source.spec is not None and not _same(spec, source.spec):
            raise ValueError(
                f"ranking must be of this hub: its {name!r} is {spec}, the hub's is {source.spec}"
            )
        else:
            found.append(source)
    if missing:
        raise ValueError(f"ranking must be of this hub, got models that it lacks: {missing}")
    return found


def _same(spec: str, other: str) -> bool:
    """Whether two specs are equal but for how a path in them is written."""
    (kind, _, path), (other_kind, _, other_path) = spec.partition(":"), other.partition(":")
    return spec == other or (
        kind == other_kind and bool(path) and Path(path).resolve() == Path(other_path).resolve()
    )


def _of_one_architecture(sources: Sequence[Source], count: int, data: TargetData) -> list[Source]:
    labels = TargetEncoder.of(data)
    framing = choose_framing(data, sources[:1], None)
    context = TuningContext(sources, ImageDataset(data, labels, framing), labels, steps=1)
    first, found = context.load_image_model(0), [sources[0]]
    for k in range(1, len(sources)):
        if len(found) < count and same_architecture(first, context.load_image_model(k)):
            found.append(sources[k])
    if len(found) < 2:
        raise ValueError(f"hub must hold two models of the architecture of {sources[0].name!r}")
    return found
