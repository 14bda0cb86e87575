"""All measurements, in their order of worth."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from gpu import (
    building,
    card,
    choosing,
    chunking,
    correct_routing,
    correct_zoo,
    evidence,
    forward,
    grouped_probe,
    pathway,
    ranking,
    zoo,
    zoo_layers,
)
from gpu.jobs import Job, Sizes
from gpu.shapes import convolutions, representatives


def jobs(sizes: Sizes, folder: Path) -> list[Job]:
    """The measurements: a probe, correctness side by side, then those with a clock.

    Args:
        sizes: How large they are.
        folder: Where the rows lie, for the step that takes the choices measured before it.
    """
    shapes = convolutions(sizes)
    few = representatives(shapes)
    return [
        Job("probe.ceilings", card.ceilings, 20, gives=("probe.copy", "probe.gemm")),
        Job("probe.host", card.host, 15, gives=("probe.add", "probe.route", "probe.combine")),
        Job("probe.grouped", grouped_probe.grouped, 45, gives=("probe.grouped", "probe.plain")),
        Job("build", building.cores, 150, alone=False),
        *correct_zoo.jobs(shapes, few),
        *correct_routing.jobs(),
        *_zoo(shapes, few, folder),
        Job("pathway.ops", pathway.routing, 30, gives=("pathway.route", "pathway.combine")),
        Job("pathway.inference", partial(pathway.executors, False), 45),
        Job("pathway.training", partial(pathway.executors, True), 45),
        *(Job(f"forward.{n}", partial(forward.passes, n), 30) for n in sizes.forward),
        Job("forward.statistics", forward.statistics, 20, gives=("forward.statistics",)),
        Job("rank", ranking.ranked, 90),
        Job("correct.evidence", evidence.correct, 30),
        Job("correct.spectra", evidence.correct_spectra, 30),
        Job("evidence", evidence.search, 30),
        Job("hub", evidence.hub, 45),
        Job("spectra", evidence.spectra, 60),
        Job("tests", building.tests, 150),
    ]


def _zoo(shapes: dict, few: dict, folder: Path) -> Iterator[Job]:
    for form in zoo.FORMS:
        figures = (f"zoo.step.{form}_ms", f"zoo.step.{form}_peak")
        yield Job(f"zoo.step.{form}", partial(zoo.step, form), 75, gives=figures)
    yield Job("zoo.profile.hubfast", partial(zoo.profile, "hubfast"), 40)
    yield Job(
        "zoo.aggregate", partial(zoo_layers.aggregate, few.values()), 30, gives=("zoo.aggregate",)
    )
    yield Job("zoo.layers", partial(zoo_layers.layers, shapes), 90)
    yield Job("zoo.chunks", partial(chunking.chunks, shapes), 75)
    for group in dict.fromkeys(shape.group for shape in shapes):
        if group != "1x1":  # a product of torch's
            mine = {shape: count for shape, count in shapes.items() if shape.group == group}
            yield Job(f"zoo.tiles.{group}", partial(choosing.tiles, mine), 60)
    yield Job("zoo.forms", choosing.forms, 30)
    yield Job(
        "zoo.step.measured",
        partial(zoo.step_as_measured, folder),
        60,
        gives=("zoo.step.hubfast_measured",),
    )
