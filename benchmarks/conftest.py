"""Prints how many times faster hubfast is in each group, and records it with --record."""

from collections import defaultdict

from recording import record


def pytest_addoption(parser):
    parser.addoption("--record", action="store_true", help="append to benchmarks/results")


def pytest_terminal_summary(terminalreporter, config):
    groups = defaultdict(dict)
    session = getattr(config, "_benchmarksession", None)
    for bench in session.benchmarks if session else ():
        groups[bench.group][bench.params["who"]] = bench.stats.median
    for group, medians in groups.items():
        ours = medians.get("hubfast")
        for rival, seconds in medians.items():
            if ours is None or rival == "hubfast":
                continue
            row = {"what": group, "rival": rival, "rival_s": seconds, "hubfast_s": ours}
            row["times_faster"] = round(seconds / ours, 2)
            terminalreporter.write_line(
                f"{group}: {rival} {seconds:.4f} s, hubfast {ours:.4f} s, {seconds / ours:.1f} x"
            )
            record(config, row)
