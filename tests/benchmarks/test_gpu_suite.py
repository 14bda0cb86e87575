"""The GPU suite runs to its end without a GPU, whatever single measurements do, and goes on."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gpu import plan
from gpu.choosing import planned
from gpu.figures import figures, met, open_points, sources, unfinished
from gpu.jobs import Job, Sizes
from gpu.report import TODO, report
from gpu.rows import Rows, read
from gpu.tables import tables
from gpu.timing import Timing, faster

ROOT = Path(__file__).parents[2]
MACHINE = {"gpu": "Fake GPU", "torch": "1", "triton": "2"}
BAD = {"extra.hang": "hung", "extra.raise": "raised", "extra.crash": "crashed"}
NEED_A_GPU = {"correct.evidence", "correct.spectra"}  # what they call refuses tensors of the CPU


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """The folder of two runs, and what they printed."""
    folder = tmp_path_factory.mktemp("suite") / "out"
    command = [sys.executable, str(ROOT / "tests/helpers/gpu_dry_run.py"), str(folder)]
    left_out = ("build", "rank", "zoo.profile", "zoo.tiles", "zoo.chunks")
    command += ["--minutes", "20", "--without", *left_out]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    first, second, _ = done.stdout.split("exit status 1\n")
    return folder, first, second


def ends(folder: Path) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in read(folder / "rows.jsonl"):
        if "status" in row:
            found.setdefault(row["job"], []).append(row)
    return found


def test_what_hangs_raises_or_crashes_is_a_row_and_the_rest_goes_on(dry):
    folder, *_ = dry
    how = {job: [row["status"] for row in rows] for job, rows in ends(folder).items()}
    for job, status in BAD.items():
        assert how.pop(job) == [status, status]
    for job in NEED_A_GPU:
        assert how.pop(job) == ["raised", "raised"]
    assert how.pop("machine") == ["done", "done"]
    assert set(map(tuple, how.values())) == {("done",)}, how
    assert len(how) > 30


def test_a_hung_measurement_dies_with_what_it_started(dry):
    folder, *_ = dry
    started = [row["child"] for row in read(folder / "rows.jsonl") if "child" in row]
    assert len(started) == 2
    for pid in started:
        state = Path(f"/proc/{pid}/stat")
        assert not state.exists() or state.read_text().split()[2] == "Z"


def test_the_rows_that_a_raising_measurement_said_before_are_kept(dry):
    folder, *_ = dry
    rows = [row for row in read(folder / "rows.jsonl") if row["job"] == "extra.raise"]
    assert [row.get("what", row.get("status")) for row in rows[:2]] == [
        "before it raised",
        "raised",
    ]


def test_no_field_of_a_row_is_overwritten_by_the_machine(dry):
    folder, *_ = dry
    for row in read(folder / "rows.jsonl"):
        assert row["job"] == "machine" or row["machine"]["gpu"] == "Fake GPU"
    (evidence,) = [r for r in read(folder / "rows.jsonl") if r.get("what") == "evidence"]
    assert len(evidence["ms"]["torch"]) == 3  # the rival's times, and not torch's version


def test_the_report_tells_how_every_open_point_stands(dry):
    folder, *printed = dry
    text = (folder / "report.md").read_text()
    for key in open_points(TODO.read_text()):
        assert re.search(
            rf"^\| {re.escape(key)} \| .* \| (met|NOT MET|measured|not run)", text, re.M
        )
    assert "extra.hang hung" in text
    for output in printed:
        assert len(output[output.index("# What was measured") :]) < 10_000


def test_what_may_come_back_from_a_lent_machine_is_kept(dry):
    folder, *_ = dry
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["fake_gpu.json", "log.txt", "report.md", "rows.jsonl"]
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names)
    assert set(json.loads((folder / "fake_gpu.json").read_text())) >= {"gpu", "tables", "triton"}


def row(job: str, machine: dict = MACHINE, **fields) -> dict:
    return {"job": job, **fields, "machine": machine}


def test_rows_of_another_gpu_do_not_count(tmp_path):
    lines = [row("a", status="done"), row("b", MACHINE | {"gpu": "Other"}, status="done")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"job": "c", "st')
    rows = Rows(tmp_path / "out", path)
    rows.machine = MACHINE
    assert set(rows.status()) == {"a"}
    assert len(read(tmp_path / "out" / "rows.jsonl")) == 2  # without the line that was cut off


def test_a_line_that_is_no_row_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"what": 1}\n{"job": "a"}\n')
    with pytest.raises(ValueError, match=r"line 1 of .* must be a row: no job is named"):
        read(path)


def test_figures_are_those_of_the_last_good_attempt_and_errors_the_worst():
    rows = [
        row("step", figures={"zoo.step.grouped_ms": 9.0}),
        row("step", status="hung"),
        row("step", figures={"zoo.step.grouped_ms": 8.0}),
        row("step", status="done"),
        row("step", figures={"zoo.step.grouped_ms": 7.0}),
        row("step", status="cut"),
        row("ours", figures={"zoo.step.hubfast_ms": 4.0}),
        row("c", figures={"correct.x.bf16": 2.0}),
        row("c", figures={"correct.x.bf16": 1.0}),
    ]
    found = figures(rows)
    assert found["zoo.step.times_grouped"] == 2.0
    assert found["correct.x.bf16"] == 2.0
    assert "zoo.step.lite_over_plain" not in found


@pytest.mark.parametrize(
    ("value", "wanted", "right"),
    [
        (1.5, "<= 1.5", True),
        (1.6, "<= 1.5", False),
        (float("inf"), "<= 1.5", False),
        (float("nan"), "<= 1.5", False),
        (1.4, ">= 1.35", True),
        (1.3, ">= 1.35", False),
        (0, "= 0", True),
        (3, "measured", None),
    ],
)
def test_a_figure_is_as_wanted_or_not(value, wanted, right):
    assert met(value, wanted) is right


def test_a_wish_that_is_none_is_refused():
    with pytest.raises(ValueError, match="wanted must be 'measured' or a sign and a number"):
        met(1.0, "fast")


def test_a_point_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="a must stand once"):
        open_points("| `a` | `<= 1` | x |\n| `a` | `<= 2` | y |")


@pytest.fixture(scope="module")
def jobs() -> list[Job]:
    return plan.jobs(Sizes(), Path())


def test_every_open_point_has_a_job_and_a_wish_that_can_be_read(jobs):
    for key, (what, wanted) in open_points(TODO.read_text()).items():
        assert sources(key, jobs), key
        assert what
        met(1.0, wanted)


def test_jobs_have_names_of_their_own_that_files_and_rows_can_bear(jobs):
    names = [job.key for job in jobs]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names)


def test_a_kernel_one_of_whose_checks_crashed_is_not_called_right(tmp_path):
    jobs = [Job(f"correct.zoo_conv.bf16.{n}", print, 1, False) for n in "ab"]
    rows = Rows(tmp_path)
    rows.machine = MACHINE
    rows.add(jobs[0], {"figures": {"correct.zoo_conv.bf16": 1.0}})
    rows.add(jobs[0], {"status": "done"})
    rows.add(jobs[1], {"status": "crashed"})
    assert unfinished(jobs, rows.status()) == {jobs[1].key: "crashed"}
    (line,) = re.findall(r"^\| correct.zoo_conv.bf16 .*$", report(rows, jobs), re.MULTILINE)
    assert line.endswith("| met, but of 1: crashed |")


def test_a_candidate_wins_by_more_than_the_repeats_differ():
    own, near, far = Timing(2.0, 1.9, 2.1), Timing(1.8, 1.7, 1.95), Timing(1.0, 0.9, 1.2)
    assert faster({"own": own, "near": near}, "own") == "own"
    assert faster({"own": own, "near": near, "far": far}, "own") == "far"


def test_only_winners_come_into_the_tables():
    choice = {"table": "convolve", "key": "3x3", "winner": "[64]", "value": [64]}
    rows = [
        row("t", choice=choice),
        row("t", choice={**choice, "key": "5x5", "winner": "own", "value": None}),
        row("p", choice={"table": "plan", "key": None, "winner": "fit", "value": {"traffic": 1}}),
    ]
    for batch, ms in ((64, [6.4, 6.3, 6.5]), (128, [6.4, 6.3, 6.5])):
        both, slow = ms, [10 * value for value in ms]
        times = {"folded": slow, "both": both}
        rows.append(row("f", what="forward", model="m", dtype="float32", batch=batch, ms=times))
    assert tables(rows) == {
        "convolve": {"3x3": [64]},
        "plan": {"traffic": 1},
        "inference": {"channels_last_float32": True, "batch_size": 128},
    }


def test_the_planners_costs_are_replaced_by_those_that_tell_every_winner():
    def clear(ms: float) -> Timing:
        return Timing(ms, 0.99 * ms, 1.01 * ms)

    # Times in the ratio of 5 products of 0.5 to one and traffic of 100, at p pixels
    seen = [(p, clear(p + 100.0), clear(5 * p * 0.5)) for p in (1, 4, 16, 49, 100, 196)]
    found = planned(seen, 5)
    assert found["choice"]["table"] == "plan"
    assert found["choice"]["value"] == {"traffic": 100, "product": 0.5}
    assert found["figures"]["zoo.forms.missed_by_planner"] >= 1
