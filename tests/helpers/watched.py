"""Rankings on their way, as a watch sees them, without any model."""

from types import SimpleNamespace

from hubfast.ranking.budget import Budget
from hubfast.ranking.verdict import Rules, Standing, Verdict
from hubfast.ranking.watch import Watch
from hubfast.utils.progress import progress_bar

ENDS = (128, 256, 512, 1000)


class Run:
    """What a watch looks at of a model's run."""

    def __init__(self, name):
        self.source = SimpleNamespace(name=name)
        self.loaded, self.done, self.error, self.computed = None, 0, "", 0
        self.away = False
        self.spent = SimpleNamespace(load=0.0)


class Feed:
    """What it looks at of the samples."""

    def __init__(self, ends=ENDS):
        self.ends, self.data, self.seconds = ends, range(ends[-1]), 0.0

    def __len__(self):
        return len(self.ends)


def watch_of(names, *, rules=None, budget=None, bars=None, ends=ENDS):
    """A watch of models of these names that have seen nothing."""
    bars = progress_bar(False) if bars is None else bars
    return Watch([Run(name) for name in names], Feed(ends), Budget(budget), bars, rules)


def go_on(watch, name, *, kept=False, error=""):
    """Lets a model see one more block, or fail at it."""
    run = next(model.run for model in watch.models if model.name == name)
    watch.begin(run)
    if not kept and run.loaded is None:
        run.loaded = object()
        watch.loaded()
    if error:
        run.error = error
    else:
        count = ENDS[run.done] - (ENDS[run.done - 1] if run.done else 0)
        run.computed += 0 if kept else count
        run.done += 1
        watch.advanced(count)
    watch.end(run)


def watched_race(count, *, top=3, length=12, bars=None):
    """A race of 4 or more models after its third look: the best is accepted, the last dropped.

    The second to last has failed, and the second is running now.
    """
    names = [
        f"n{i}_convnext_base.fb_in22k_ft_in1k_{'abcdefghij' * 4}"[:length] for i in range(count)
    ]
    watch = watch_of(names, rules=Rules(top), bars=bars)
    states = {names[0]: "accepted", names[-2]: "failed", names[-1]: "dropped"}
    for block in range(3):
        for name in names:
            if states.get(name) != "failed" or not block:
                go_on(watch, name)
            elif block == 1:
                go_on(watch, name, error="OutOfMemoryError: no room for 12 MiB " + "more " * 30)
    standings = []
    for i, name in enumerate(names):
        score = 0.7 - i / 100
        ends = (score + 0.02, score, score + 0.04)
        state = states.get(name, "in")
        standings.append(Standing(name, state, 512, 3, score, *ends, why="a reason"))
    watch.looked(Verdict(512, 3, tuple(standings), False, ""))
    watch.begin(watch.models[1].run)
    return watch
