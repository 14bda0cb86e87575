"""What a race found, on a terminal, in files, and by `top`."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from races import raced
from rich.console import Console

from hubfast import Ranking, as_source, rank
from hubfast.data.order import seeded_order
from hubfast.ranking.race_record import RaceRecord
from hubfast.ranking.rows import RankedModel


def printed(content, width):
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(content)
    return captured.get().splitlines()


def rows(lines):
    """The place, the name and the samples of each row."""
    found = [re.match(r" +(\d+|\?|-)  (net\S*) .*? (\d[\d,]*)(?: |$)", line) for line in lines]
    return [(m[1], m[2]) for m in found if m]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("until", [None, 1, 3])
def test_accepted_models_have_places_and_others_a_mark(until, width):
    content = raced(12, until=until)
    lines = printed(content, width)
    assert max(map(len, lines)) <= width
    marks = {"accepted": None, "undecided": "?", "dropped": "-"}
    expected = [
        (str(i) if m.standing == "accepted" else marks[m.standing], m.name)
        for i, m in enumerate(content.scored, 1)
    ]
    assert rows(lines) == expected
    header = next(line for line in lines if "model" in line.split() and "#" in line.split())
    at = header.index("samples")
    for m in content.scored:
        line = next(line for line in lines if f" {m.name} " in line)
        assert line[at : at + 7].split() == [f"{m.samples:,}"]


def test_what_is_said_below_at_80_columns():
    known, open_ = printed(raced(12), 80), printed(raced(12, until=3), 80)
    assert " top 3 of 12 models known with 95 % confidence" in known
    share = f" {100 * raced(12).race.passes:.0f} % of the passes of a full ranking were needed"
    assert share in known
    assert " 2 of the top 3 of 12 models known with 95 % confidence" in open_
    assert " the race ended as the budget of 10 min is spent" in open_
    assert " places are by estimates; ? is undecided; - is dropped" in open_
    assert " places are by estimates; - is dropped" in known
    nothing = printed(raced(9, until=1), 80)
    assert " none of the top 3 of 9 models known with 95 % confidence" in nothing
    assert " ? is undecided" in nothing
    assert " time: read 3.0 s, load 6.0 s, prepare 3.0 s, forward 6.9 s, score 1.5 s" in known
    note = "note: 2 models are undecided, as the budget of 10 min is spent: net_2, net_3 hold"
    assert " ".join(" ".join(open_[-2:]).split()) == f"{note} the rest of the best"
    assert not any(line.startswith("note") for line in known)


@pytest.mark.parametrize(
    ("tolerance", "why", "accepted", "lines"),
    [
        (
            0.0,
            "the best are known with 90 % confidence",
            2,
            ("top 2 of 9 models known with 90 % confidence",),
        ),
        (
            0.1,
            "no model that is left out is better by more than 0.1, with 90 % confidence",
            2,
            (
                "top 2 of 9 models known",
                "no model that is left out is better by more than 0.1, with 90 % confidence",
            ),
        ),
        (
            0.1,
            "all 500 samples were seen",
            1,
            (
                "1 of the top 2 of 9 models known with 90 % confidence",
                "the race ended as all 500 samples were seen",
            ),
        ),
    ],
)
def test_sentences_of_a_race(tolerance, why, accepted, lines):
    record = RaceRecord(2, 0.9, tolerance, 0.256, why)
    needed = "26 % of the passes of a full ranking were needed"
    assert record.lines(9, accepted) == (*lines, needed)


def test_top_beyond_what_is_known_names_the_undecided():
    open_ = raced(12, until=3)
    assert open_.top(2) == ["net_0", "net_1"]
    with pytest.raises(
        ValueError, match=r"k must be in 1\.\.2, got 3; 2 models are undecided"
    ) as e:
        open_.top(3)
    assert "net_2, net_3 hold the rest of the best" in str(e.value)
    assert [m.name for m in open_.undecided] == ["net_2", "net_3"]
    with pytest.raises(
        ValueError, match=r"k must be in 1\.\.3, got 4; the race was for the top 3$"
    ):
        raced(12).top(4)
    with pytest.raises(
        ValueError, match=r"k must be in 1\.\.0, got 1; 30 models .* and 20 more hold the best$"
    ):
        raced(30, until=1).top(1)


def test_files_hold_the_race(tmp_path):
    content = raced(12, until=3, failing=["net_5"])
    content.to_json(tmp_path / "race.json")
    assert Ranking.from_json(tmp_path / "race.json") == content
    frame = content.to_frame()
    assert frame["standing"].tolist()[:4] == ["accepted", "accepted", "undecided", "undecided"]
    assert frame["rank"].isna().tolist()[:4] == [False, False, True, True]
    assert frame["samples"].tolist()[:-1] == [m.samples for m in content.scored]


def test_files_of_former_versions_are_read(tmp_path):
    """Before there were races, readings and their fields."""
    seconds = {"load": 1.0, "prepare": 2.0, "forward": 3.0, "score": 4.0}
    row = {"name": "a", "score": 0.5, "low": 0.4, "high": 0.6, "tied": True, "seconds": seconds}
    told = {"metric": "logme", "data": "d", "task": "classification", "samples": 10}
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"format": "hubfast.Ranking/1", "models": [row], **told}))
    found = Ranking.from_json(path)
    assert (found.race, found.reading, found[0].standing) == (None, 0.0, "")
    lines = printed(found, 80)
    assert not any("samples" in line.split() for line in lines if "model" in line)
    assert " time: read 0.0 s, load 1.0 s, prepare 2.0 s, forward 3.0 s, score 4.0 s" in lines


def test_a_long_title_is_not_broken_to_the_width_of_the_table():
    content = replace(raced(3, top=1), data="a_folder/of_flowers/" * 3)
    (title,) = [line for line in printed(content, 80) if "logme of" in line]
    assert len(title) <= 80
    assert re.fullmatch(r"logme of 3 models on a_fold\S+…\S+ers/ \(8,000 samples\)", title.strip())
    assert content.data in printed(content, 200)[0]


def test_long_times_are_in_words():
    row = RankedModel("a", score=0.5)
    content = replace(raced(3, top=1), models=(row,), race=None, reading=5000.0)
    assert " time: read 83.3 min, load 0.0 s" in "\n".join(printed(content, 80))


def test_scores_are_of_all_samples_that_can_be_read(tmp_path):
    """The title counts them although no model has seen all, and the rows what each has seen."""
    rng = np.random.default_rng(0)
    count, broken = 1100, 30
    for i in range(count):
        folder = tmp_path / "ab"[2 * i // count]
        folder.mkdir(exist_ok=True)
        colours = rng.integers(0, 200, 3).astype(np.uint8)
        colours[0] = colours[0] // 2 + 100 * (2 * i // count)
        image = Image.fromarray(np.broadcast_to(colours, (2, 2, 3)).copy())
        path = folder / f"{i:04}.png"
        path.write_bytes(b"no image") if i < broken else image.save(path)

    def colours(*channels):
        return lambda batch: batch[:, list(channels)]

    def mean(image):
        return torch.tensor(np.asarray(image, dtype=np.float32).mean((0, 1)))

    hub = {"net_good": colours(0, 1), "net_poor": colours(1, 2), "net_worse": colours(2)}
    sources = [as_source(model, name=name, transform=mean) for name, model in hub.items()]
    found = rank(sources, str(tmp_path), race=True, top=1, progress=False, cache=False)
    assert found.top(1) == ["net_good"]
    targets = torch.arange(count) * 2 // count
    whole = seeded_order(targets, "classification", 0) >= broken
    last = found.race.looks[-1].samples
    assert last < count
    assert found.samples == count - int((~whole[:last]).sum()) < count
    looks = found.race.looks
    assert {m.samples for m in found} <= {int(whole[: look.samples].sum()) for look in looks}
    assert f"({found.samples:,} samples)" in printed(found, 80)[0]
