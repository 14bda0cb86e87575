"""Nothing is computed twice: what models gave is found again, and only where it is the same."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from counted_models import Counted, hub_of, numbers, problem

import hubfast
from hubfast import as_source, as_target_data


@pytest.fixture
def rank(tmp_path):
    return partial(hubfast.rank, cache_dir=tmp_path / "cache", progress=False)


def ran(calls):
    """Samples that the models were run on since the last look."""
    total = sum(map(sum, calls.values()))
    for each in calls.values():
        each.clear()
    return total


@pytest.mark.parametrize("count", [100, 700, 2500])
def test_the_same_again_needs_no_model(rank, count):
    samples, targets, features = problem(count)
    hub, calls = hub_of(features)
    plain = rank(hub, (samples, targets), cache=False)
    assert ran(calls) == 3 * count
    first = rank(hub, (samples, targets))
    assert ran(calls) == 3 * count
    again = rank(hub, (samples, targets))
    assert ran(calls) == 0
    assert numbers(plain) == numbers(first) == numbers(again)


@pytest.mark.parametrize("metric", ["h_score", "knn", "leep", "nce"])
def test_another_metric_needs_no_model(rank, metric):
    samples, targets, features = problem(500)
    hub, calls = hub_of(features)
    rank(hub, (samples, targets))
    ran(calls)
    other = rank(hub, (samples, targets), metric=metric)
    assert ran(calls) == 0
    assert numbers(other) == numbers(rank(hub, (samples, targets), metric=metric, cache=False))


@pytest.mark.parametrize("targets", ["others", "numbers", "several"])
def test_other_targets_need_no_model(rank, targets):
    samples, classes, features = problem(500)
    hub, calls = hub_of(features)
    rank(hub, (samples, classes))
    ran(calls)
    new = {
        "others": (classes > 1).astype(int),
        "numbers": classes + 0.5,
        "several": np.eye(4, dtype=int)[classes],
    }[targets]
    found = rank(hub, (samples, new))
    assert ran(calls) == 0
    fresh = rank(hub, (samples, new), cache=False)
    assert [m.name for m in found] == [m.name for m in fresh]
    assert [m.score for m in found] == pytest.approx([m.score for m in fresh], rel=1e-6)


def test_a_part_of_the_samples_and_another_order_need_no_model(rank):
    samples, targets, features = problem(600)
    hub, calls = hub_of(features)
    rank(hub, (samples, targets))
    ran(calls)
    rank(hub, (samples, targets), samples=300)
    rank(hub, (samples, targets), seed=5)
    rank(hub, (samples[50:250], targets[50:250]))
    assert ran(calls) == 0


def test_more_samples_need_the_others_only(rank):
    samples, targets, features = problem(900)
    hub, calls = hub_of(features)
    rank(hub, (samples, targets), samples=512)
    assert ran(calls) == 3 * 512
    rank(hub, (samples, targets))
    assert ran(calls) == 3 * (900 - 512)


def test_what_changed_is_computed_anew(rank):
    samples, targets, features = problem(300)
    hub, calls = hub_of(features)
    rank(hub, (samples, targets))
    ran(calls)
    changed = samples.clone()
    changed[7] += 0.25
    rank(hub, (changed, targets))
    assert ran(calls) in (3 * 128, 3 * (256 - 128), 3 * (300 - 256))
    renamed, others = hub_of({f"other {name}": found for name, found in features.items()})
    rank(renamed, (samples, targets))
    assert ran(others) == 3 * 300


def test_models_without_a_key_are_not_kept(rank, tmp_path):
    samples, targets, features = problem(200)
    hub, calls = hub_of(features, keyed=False)
    rank(hub, (samples, targets))
    rank(hub, (samples, targets))
    assert ran(calls) == 2 * 3 * 200


def test_a_model_without_a_classifier_is_not_asked_again(rank):
    samples, targets, features = problem(200)
    calls = []

    class WithoutLogits(Counted):
        def __call__(self, rows):
            return super().__call__(rows)[0]

    hub = [
        as_source(WithoutLogits(features["m0"], calls), name="m0", key="bare"),
        hub_of(features)[0][1],
    ]
    rank(hub, (samples, targets))
    calls.clear()
    found = rank(hub, (samples, targets), metrics=["leep", "logme"])
    assert not calls
    assert "needs the source classifier's logits" in found.by("leep").failed[0].error


@pytest.mark.filterwarnings("default")  # so that it is heard, and not raised
def test_damage_is_said_and_mended(rank, tmp_path):
    samples, targets, features = problem(300)
    hub, calls = hub_of(features)
    first = rank(hub, (samples, targets))
    ran(calls)
    largest = sorted((tmp_path / "cache").rglob("*.safetensors"), key=lambda p: p.stat().st_size)
    content = bytearray(largest[-1].read_bytes())
    content[-5] ^= 1
    largest[-1].write_bytes(content)
    found = rank(hub, (samples, targets))
    assert numbers(found) == numbers(first)
    assert 0 < ran(calls) <= 172
    assert any("is damaged" in note for note in found.notes)
    assert not any("is damaged" in note for note in rank(hub, (samples, targets)).notes)


@pytest.mark.filterwarnings("default")
def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    samples, targets, features = problem(150)
    hub, _ = hub_of(features)

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hubfast.extraction.cache.replacing", full)
    found = hubfast.rank(hub, (samples, targets), cache_dir=tmp_path / "c", progress=False)
    assert len(found.scored) == 3
    (note,) = [note for note in found.notes if "No space left" in note]
    assert "nothing more is kept" in note


def test_a_cache_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    samples, targets, features = problem(20)
    with pytest.raises(ValueError, match="cache_dir must be a folder"):
        hubfast.rank(hub_of(features)[0], (samples, targets), cache_dir=tmp_path / "file")


class TestMoreSamplesThanAreKept:
    """For n > 2 D and n > 2,048 only sums are kept of the later samples."""

    COUNT = 4000

    def stopped(self, monkeypatch, after):
        """Makes the models stop the process, as it were, after so many batches."""
        from hubfast.extraction import model_outputs

        plain, count = model_outputs.run_block, [0]

        def counting(*args):
            count[0] += 1
            if count[0] > after:
                raise KeyboardInterrupt
            return plain(*args)

        monkeypatch.setattr(model_outputs, "run_block", counting)
        monkeypatch.setattr("hubfast.extraction.sums.EVERY", 0.0)

    @pytest.mark.parametrize("metrics", [["logme"], ["h_score", "leep"], ["nce", "knn"]])
    @pytest.mark.parametrize("after", [3, 8, 11, 14, 17, 20])
    def test_a_stopped_run_goes_on(self, rank, monkeypatch, metrics, after):
        samples, targets, features = problem(self.COUNT)
        hub, calls = hub_of(features)
        whole = rank(hub, (samples, targets), metrics=metrics, cache=False)
        every = ran(calls)
        with monkeypatch.context() as patch:
            self.stopped(patch, after)
            part = rank(hub, (samples, targets), metrics=metrics)
        assert part.interrupted
        before = ran(calls)
        found = rank(hub, (samples, targets), metrics=metrics)
        assert numbers(found) == numbers(whole)
        assert before + ran(calls) == every

    @pytest.mark.parametrize("metric", ["logme", "h_score"])
    def test_the_same_race_again_needs_no_model(self, rank, monkeypatch, metric):
        """Each look finds the sums of then, of a race that ended as of one that was cut off."""
        samples, targets, features = problem(3 * self.COUNT)
        hub, calls = hub_of(dict.fromkeys(features, features["m0"]))  # so that none is dropped
        race = partial(rank, hub, (samples, targets), race=True, top=1, metric=metric)
        whole = race(cache=False)
        every = ran(calls)
        with monkeypatch.context() as patch:
            self.stopped(patch, 30)
            assert race().interrupted
        before = ran(calls)
        assert numbers(race()) == numbers(whole)
        assert before + ran(calls) == every
        assert numbers(race()) == numbers(whole)
        assert ran(calls) == 0

    def test_other_labels_are_no_stale_sums(self, rank):
        samples, targets, features = problem(self.COUNT)
        hub, calls = hub_of(features)
        rank(hub, (samples, targets))
        ran(calls)
        others = (targets > 1).astype(int)
        found = rank(hub, (samples, others))
        assert ran(calls) > 0
        assert numbers(found) == numbers(rank(hub, (samples, others), cache=False))


def test_notes_on_the_samples_come_from_the_cache_too(rank, tmp_path):
    from PIL import Image

    paths = []
    for i in range(20):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (8, 8), (12 * i, 0, 0)).save(paths[-1])
    paths[3].write_bytes(b"no image")
    data = as_target_data((paths, [0, 1] * 10))
    reads = []

    def shade(images):
        reads.append(len(images))
        return np.array([np.asarray(image).mean() for image in images])[:, None]

    hub = [as_source(shade, name="shade", key="shade")]
    first, again = (rank(hub, data, max_unreadable=0.1) for _ in range(2))
    assert reads == [19]
    assert first.notes == again.notes
    assert "1 of 20 samples cannot be read" in first.notes[0]
    assert first.samples == again.samples == 19
    assert numbers(first) == numbers(again)
    other = replace(data, pixels=replace(data.pixels, background="black"))
    rank(hub, other, max_unreadable=0.1)
    assert len(reads) == 2


def test_random_numbers_of_a_model_do_not_hang_on_what_ran_before(rank):
    def noisy(rows):
        return rows[:, :1] + torch.randn(len(rows), 3)

    samples, targets, features = problem(400)
    alone = rank([as_source(noisy, name="noisy")], (samples, targets))
    hub = [*hub_of(features)[0], as_source(noisy, name="noisy")]
    beside = rank(hub, (samples, targets))
    assert numbers(alone)[0][1:4] == next(n for n in numbers(beside) if n[0] == "noisy")[1:4]


def test_what_a_user_says_of_a_model_is_not_kept(rank):
    samples, targets, features = problem(150)
    hub, _ = hub_of(features)
    for accuracy in (70.0, 75.0):
        given = [replace(source, imagenet=accuracy) for source in hub]
        found = rank(given, (samples, targets), metric="imagenet")
        assert [m.score for m in found] == [accuracy] * 3
