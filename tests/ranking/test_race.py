"""The race: each rule by hand, what holds of every race, and how often it is wrong."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.ranking.estimates import change_left
from hubfast.ranking.race import Race
from hubfast.ranking.verdict import Rules

LOOKS = (100, 200, 400)
STILL = np.zeros(10)  # influences of a score that no sample moves


def state_of(verdict):
    return {s.name: s.state for s in verdict.standings}


def plain(**scores):
    return {name: (score, STILL) for name, score in scores.items()}


def spread(error, samples, rows=4):
    """Influences of `rows` samples, of such a std that the mean of `samples` has this error."""
    signs = np.resize([1.0, -1.0], rows)
    return signs * error * math.sqrt(samples * (rows - 1) / rows)


def run(race, scores):
    """Runs a race to its end: `scores[name]` has an influence for each sample, its mean the score.

    Returns:
        The verdict of each look.
    """
    verdicts = []
    while not race.verdict.over:
        n = race.next_look
        every = {s.name: scores[s.name][:n] for s in race.verdict.running}
        verdicts.append(race.look(n, {name: (x.mean(), x) for name, x in every.items()}))
    return verdicts


def test_nothing_is_decided_at_the_first_look():
    race = Race("abc", LOOKS, Rules(top=1), "none")
    verdict = race.look(100, plain(a=9, b=5, c=1))
    assert state_of(verdict) == dict.fromkeys("abc", "in")
    assert not verdict.over
    assert race.next_look == 200


def test_where_no_sample_moves_a_score_the_second_look_decides():
    race = Race("abcd", LOOKS, Rules(top=2), "none")
    race.look(100, plain(a=4, b=3, c=2, d=1))
    verdict = race.look(200, plain(a=4, b=3, c=2, d=1))
    assert state_of(verdict) == {"a": "accepted", "b": "accepted", "c": "dropped", "d": "dropped"}
    assert verdict.over
    assert verdict.why == "the best are known with 95 % confidence"
    assert verdict["a"].why == "at most 1 model is better with 95 % confidence"
    assert verdict["c"].why == "2 models are better with 95 % confidence"
    assert verdict["d"].why == "3 models are better with 95 % confidence"
    assert [s.samples for s in verdict.standings] == [200] * 4
    assert race.next_look == 0


def test_margin_of_a_plain_mean():
    """Of 200 of 400 samples, one model spread, the other not: t of 3 degrees at 1 - 0.05 / 2."""
    # level = 0.05 / (1 deciding look * 1 * (3 - 1) pairs) = 0.025: t = 3.182446 for 4 rows
    half = 3.182446 * 0.1 * math.sqrt(1 - 200 / 400)  # 0.225033
    race = Race("abc", LOOKS, Rules(top=1), "none")
    scores = {
        "a": (1.0, spread(0.1, 200)),
        "b": (1.0 - half - 1e-6, np.zeros(4)),
        "c": (1.0 - half + 1e-6, np.zeros(4)),
    }
    race.look(100, scores)
    verdict = race.look(200, scores)
    assert state_of(verdict) == {"a": "in", "b": "dropped", "c": "in"}
    assert verdict["a"].low == pytest.approx(1 - half, rel=1e-6)
    assert verdict["a"].high == pytest.approx(1 + half, rel=1e-6)
    assert verdict["c"].low == pytest.approx(1 - 2 * half, abs=1e-5)
    assert verdict["a"].why == "it is not told apart yet"


def test_what_models_have_in_common_does_not_count():
    noise = np.random.default_rng(0).normal(size=200) * 100
    race = Race("ab", LOOKS, Rules(top=1), "none")
    race.look(100, {"a": (1.0, noise[:100]), "b": (0.9, noise[:100])})
    verdict = race.look(200, {"a": (1.0, noise), "b": (0.9, noise)})
    assert state_of(verdict) == {"a": "accepted", "b": "dropped"}


@pytest.mark.parametrize(
    ("growth", "estimate", "half"),
    [
        # From 0.4 to 0.5 in the last doubling, and one doubling is left: by 1 / n it changes by
        # half as much again; the range is 1/4 to 3/4 of 0.1, or 1/4 to 1.2 of it.
        ("inverse", 0.55, 0.025),
        ("slow", 0.5725, 0.0475),
        ("late", 0.5725, 0.0475),
        ("none", 0.5, 0.0),
    ],
)
def test_scores_are_extrapolated_to_all_samples(growth, estimate, half):
    race = Race("abc", LOOKS, Rules(top=1), growth)
    first = race.look(100, plain(a=0.4, b=0.4, c=-9))
    assert (first["a"].estimate is None) == (growth != "none")  # a change takes two looks
    verdict = race.look(200, plain(a=0.5, b=0.5, c=-9))
    assert verdict["a"].score == 0.5
    assert verdict["a"].estimate == pytest.approx(estimate)
    assert verdict["a"].low == pytest.approx(estimate - half)
    assert verdict["a"].high == pytest.approx(estimate + half)


def test_what_two_doublings_change():
    assert change_left("inverse", 2) == pytest.approx((0.375, 1.125))  # 3/4 by 1 / n
    assert change_left("slow", 2) == pytest.approx((0.375, 1.2 + 1.44))
    assert change_left("late", 1) == change_left("slow", 1)
    assert np.isnan(change_left("late", 1.1)).all()
    assert change_left("none", 2) == (0, 0)


def test_a_score_that_grows_late_decides_nothing_before_half_of_the_samples():
    race = Race("ab", (100, 200, 400, 800), Rules(top=1), "late")
    for n, state in ((100, "in"), (200, "in"), (400, "accepted")):
        assert race.look(n, plain(a=1, b=0))["a"].state == state


def test_a_model_that_overtakes_is_not_dropped():
    """b is behind at 200 samples, but rises faster: it is ahead of a at 400."""
    race = Race("abc", LOOKS, Rules(top=1), "inverse")
    race.look(100, plain(a=0.50, b=0.30, c=0.0))
    verdict = race.look(200, plain(a=0.50, b=0.44, c=0.0))
    assert verdict["b"].estimate == pytest.approx(0.51)
    assert state_of(verdict) == {"a": "in", "b": "in", "c": "dropped"}
    verdict = race.look(400, plain(a=0.50, b=0.51))
    assert state_of(verdict) == {"a": "dropped", "b": "accepted", "c": "dropped"}


@pytest.mark.parametrize(
    ("rise", "open_"),
    [
        (0.0, 0.1),  # b may rise by 0.025 to 0.12
        (0.02, 0.1),  # a rises, too: 0.0145 in the middle, so it is ahead by more
        (-0.02, 0.12),  # a falls: both are uncertain
    ],
)
def test_the_margin_is_that_of_the_larger_change(rise, open_):
    """b goes from 0 to 0.1, a by `rise`; the middle of the range is 0.725, its half 0.475."""
    lead = 0.1 + 0.725 * (0.1 - rise) + 0.475 * open_
    for more, state in ((1e-6, "dropped"), (-1e-6, "in")):
        race = Race("ab", LOOKS, Rules(top=1), "slow")
        race.look(100, plain(a=lead + more - rise, b=0.0))
        assert race.look(200, plain(a=lead + more, b=0.1))["b"].state == state


def test_the_noise_of_the_extrapolation_counts():
    """At 200 of 400 it takes 1 - 1/2 of the variance of a mean, and (1/2)^2 of it once more."""
    race = Race("ab", LOOKS, Rules(top=1), "inverse")
    scores = {"a": (1.0, spread(0.1, 200)), "b": (0.5, np.zeros(4))}
    race.look(100, scores)
    verdict = race.look(200, scores)
    critical = 2.353363  # t of 3 degrees at 1 - 0.05
    assert verdict["a"].high - 1 == pytest.approx(critical * 0.1 * math.sqrt(0.75), rel=1e-6)


def test_an_accepted_model_stops_and_others_go_on():
    wide = spread(1.0, 200)
    race = Race("abcd", LOOKS, Rules(top=2), "none")
    scores = {"a": (99, wide), "b": (2, wide), "c": (1, -wide), "d": (-99, wide)}
    race.look(100, scores)
    verdict = race.look(200, scores)
    assert state_of(verdict) == {"a": "accepted", "b": "in", "c": "in", "d": "dropped"}
    assert [s.name for s in verdict.running] == ["b", "c"]
    verdict = race.look(400, plain(b=1.4, c=1.5))
    assert [s.name for s in verdict.accepted] == ["a", "c"]
    assert [s.name for s in verdict.dropped] == ["b", "d"]
    assert [s.samples for s in verdict.standings] == [200, 400, 400, 200]
    assert [s.exact for s in verdict.standings] == [False, True, True, False]
    assert verdict.why == "all 400 samples were seen"
    assert verdict["b"].why == "2 models are better on all 400 samples"


def test_tolerance_ends_a_race_of_near_ties():
    scores = {"a": (1.0, spread(0.01, 200)), "b": (0.99, np.zeros(4)), "c": (0.98, np.zeros(4))}
    lost = 3.182446 * 0.01 * math.sqrt(0.5) - 0.01  # of b, if a is taken
    for tolerance, over in ((lost - 1e-6, False), (lost + 1e-6, True)):
        race = Race("abc", LOOKS, Rules(top=1, tolerance=tolerance), "none")
        race.look(100, scores)
        verdict = race.look(200, scores)
        assert verdict.over == over
    assert state_of(verdict) == {"a": "accepted", "b": "dropped", "c": "dropped"}
    assert verdict.why.startswith("no model that is left out is better by more than 0.0125")


def test_models_that_share_the_last_place_are_a_set():
    race = Race("abcd", (100,), Rules(top=2), "none")
    verdict = race.look(100, plain(a=3, b=2, c=2 + 1e-12, d=1))
    assert verdict.over
    assert [s.name for s in verdict.accepted] == ["a"]
    assert [s.name for s in verdict.undecided] == ["b", "c"]
    assert verdict["b"].why == "it shares the last place on all 100 samples"


def test_at_the_end_of_the_budget_the_rest_is_undecided():
    race = Race("abc", LOOKS, Rules(top=1), "none")
    race.look(100, plain(a=3, b=2, c=1))
    verdict = race.stop("the budget of 10 minutes is spent")
    assert verdict.over
    assert [s.name for s in verdict.undecided] == ["a", "b", "c"]
    assert verdict.why == "the budget of 10 minutes is spent"
    with pytest.raises(ValueError, match="the race is over: the budget"):
        race.look(200, plain(a=3, b=2, c=1))
    with pytest.raises(ValueError, match="a race that is on"):
        race.stop("again")


def test_a_model_that_fails_is_taken_out():
    race = Race("abcd", LOOKS, Rules(top=2), "none")
    race.look(100, plain(a=4, b=3, c=2, d=1))
    assert race.remove("a") == ()
    verdict = race.look(200, plain(b=3, c=2, d=1))
    assert state_of(verdict) == {"a": "failed", "b": "accepted", "c": "accepted", "d": "dropped"}
    assert [s.name for s in verdict.failed] == ["a"]


def test_a_model_dropped_for_one_that_fails_is_in_again():
    wide = spread(1.0, 200)
    race = Race("abcd", LOOKS, Rules(top=1), "none")
    scores = {"a": (9, wide), "b": (6, -wide), "c": (1, wide), "d": (4, -wide)}
    race.look(100, scores)
    verdict = race.look(200, scores)  # a is better than c, and b than d, on every sample
    assert state_of(verdict) == {"a": "in", "b": "in", "c": "dropped", "d": "dropped"}
    assert race.remove("a") == ("c",)
    assert race.verdict["c"].why == "a was better, and failed"
    verdict = race.look(400, plain(b=0.1, c=0.3))
    assert [s.name for s in verdict.accepted] == ["c"]


def test_when_no_more_than_the_wanted_are_left_the_race_is_over():
    race = Race("abc", LOOKS, Rules(top=2), "none")
    race.look(100, plain(a=3, b=2, c=1))
    race.remove("b")
    assert race.verdict.over
    assert state_of(race.verdict) == {"a": "accepted", "b": "failed", "c": "accepted"}


def test_when_all_fail_the_race_is_over():
    race = Race("ab", LOOKS, Rules(top=1), "none")
    race.remove("a")
    assert not race.verdict.over  # b has not been seen yet
    race.remove("b")
    assert race.verdict.over
    assert race.verdict.why == "no model is left"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("growth", ["none", "slow"])
def test_a_score_that_is_not_finite_decides_nothing(bad, growth):
    race = Race("abcd", LOOKS, Rules(top=2), growth)
    race.look(100, plain(a=4, b=3, c=2, d=1))
    verdict = race.look(200, plain(a=4, b=bad, c=2, d=1))
    assert verdict["b"].state == "in"
    assert verdict["b"].estimate is verdict["b"].low is None
    assert verdict["a"].state == "accepted"  # no more than b can be better
    assert verdict["c"].state == "in"  # it is not known whether b is better
    assert verdict["d"].state == "dropped"
    verdict = race.look(400, plain(b=bad, c=2))
    assert state_of(verdict) == {"a": "accepted", "b": "failed", "c": "accepted", "d": "dropped"}
    assert verdict["b"].why == "its score on all samples is not finite"


def test_a_model_dropped_for_one_without_a_score_in_the_end_is_in_again():
    race = Race("abc", LOOKS, Rules(top=1), "none")
    wide = spread(1.0, 200)
    scores = {"a": (9, wide), "b": (5.5, -wide), "c": (2, wide)}
    race.look(100, scores)
    assert state_of(race.look(200, scores)) == {"a": "in", "b": "in", "c": "dropped"}
    verdict = race.look(400, plain(a=math.nan, b=2))
    assert state_of(verdict) == {"a": "failed", "b": "in", "c": "in"}
    assert not verdict.over
    assert race.next_look == 400
    verdict = race.look(400, plain(b=2, c=3))
    assert [s.name for s in verdict.accepted] == ["c"]


def test_influences_that_are_not_finite_decide_nothing():
    race = Race("ab", LOOKS, Rules(top=1), "none")
    scores = {"a": (4, STILL), "b": (1, np.full(10, np.nan))}
    race.look(100, scores)
    assert state_of(race.look(200, scores)) == {"a": "in", "b": "in"}
    assert state_of(race.look(400, scores)) == {"a": "accepted", "b": "dropped"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"top": 0}, "top must be at least 1, got 0"),
        ({"confidence": 1.0}, "confidence must be between 0 and 1, got 1.0"),
        ({"confidence": math.nan}, "confidence must be between 0 and 1, got nan"),
        ({"tolerance": -0.1}, "tolerance must be finite and at least 0, got -0.1"),
        ({"tolerance": math.inf}, "tolerance must be finite and at least 0, got inf"),
    ],
)
def test_rules_are_checked(given, message):
    with pytest.raises(ValueError, match=message):
        Rules(**given)


@pytest.mark.parametrize(
    ("names", "looks", "growth", "message"),
    [
        ("aab", LOOKS, "none", "names must be different"),
        ("ab", LOOKS, "none", "top must be less than the number of models, 2, got 2"),
        ("abc", (200, 100), "none", "looks must be at least 1 and ascend"),
        ("abc", (), "none", "looks must be at least 1 and ascend"),
        ("abc", LOOKS, "fast", "growth must be one of .*, got 'fast'"),
    ],
)
def test_races_are_checked(names, looks, growth, message):
    with pytest.raises(ValueError, match=message):
        Race(names, looks, Rules(top=2), growth)


def test_looks_are_checked():
    race = Race("abc", LOOKS, Rules(top=1), "none")
    with pytest.raises(ValueError, match="samples must be 100, got 200"):
        race.look(200, plain(a=1, b=2, c=3))
    with pytest.raises(ValueError, match="scores must be of the running models"):
        race.look(100, plain(a=1, b=2))
    with pytest.raises(ValueError, match="influences must be of the same q <= 100 samples"):
        race.look(100, {**plain(a=1, b=2), "c": (1, np.zeros(9))})
    with pytest.raises(ValueError, match="influences must be of the same q <= 100 samples"):
        race.look(100, {name: (1, np.zeros(101)) for name in "abc"})
    with pytest.raises(ValueError, match="name must be one of the running models"):
        race.remove("d")


hubs = st.builds(
    lambda seed, models, step: (
        np.random.default_rng(seed).normal(size=(models, 400)) * 0.3
        + step * np.random.default_rng(seed + 1).permutation(models)[:, None]
    ),
    st.integers(0, 10_000),
    st.integers(4, 8),
    st.sampled_from([0.0, 0.02, 0.1, 1.0]),
)


@settings(max_examples=40, deadline=None)
@given(hubs, st.integers(1, 3), st.sampled_from(["none", "inverse", "slow"]))
def test_what_is_decided_stays_so(scores, top, growth):
    named = dict(zip("abcdefgh", scores, strict=False))
    verdicts = run(Race(list(named), (50, 100, 200, 400), Rules(top=top), growth), named)
    for before, after in pairwise(verdicts):
        for s in before.standings:
            if s.state != "in":
                assert after[s.name] == s
    assert len(verdicts[-1].accepted) == top
    assert not verdicts[-1].undecided


@settings(max_examples=40, deadline=None)
@given(hubs, st.randoms(use_true_random=False), st.sampled_from(["none", "inverse", "slow"]))
def test_the_order_of_the_models_does_not_matter(scores, random, growth):
    named = dict(zip("abcdefgh", scores, strict=False))
    shuffled = list(named)
    random.shuffle(shuffled)
    rules = Rules(top=2, tolerance=0.01)
    one = run(Race(list(named), (50, 100, 200, 400), rules, growth), named)
    two = run(Race(shuffled, (50, 100, 200, 400), rules, growth), named)
    assert list(map(state_of, one)) == list(map(state_of, two))
    assert [s.name for s in two[-1].standings] == shuffled


@settings(max_examples=40, deadline=None)
@given(hubs, st.sampled_from(["none", "inverse", "slow"]))
def test_equal_models_never_part(scores, growth):
    named = dict(zip("abcdefgh", scores, strict=False))
    named["z"] = named["a"]
    verdicts = run(Race(list(named), (50, 100, 200, 400), Rules(top=2), growth), named)
    for verdict in verdicts:
        assert verdict["a"].state == verdict["z"].state


@settings(max_examples=20, deadline=None)
@given(st.permutations([1.0, 2.0, 3.0, 4.0, 5.0]), st.integers(1, 4))
def test_without_influences_the_order_decides(scores, top):
    named = {name: (score, STILL) for name, score in zip("abcde", scores, strict=True)}
    race = Race(list(named), LOOKS, Rules(top=top), "none")
    race.look(100, named)
    verdict = race.look(200, named)
    assert verdict.over
    assert {named[s.name][0] for s in verdict.accepted} == set(range(6 - top, 6))


def test_a_simulated_race_seldom_loses_one_of_the_best():
    """300 races with 80 % confidence of near models: at most 20 % may go wrong, and few do."""
    rng = np.random.default_rng(7)
    wrong = stopped = 0
    for _ in range(300):
        common = rng.normal(size=2048)
        scores = 0.5 * common + rng.normal(size=(12, 2048)) + rng.normal(0, 0.1, 12)[:, None]
        named = dict(zip("abcdefghijkl", scores, strict=True))
        race = Race(list(named), (128, 256, 512, 1024, 2048), Rules(confidence=0.8), "none")
        verdict = run(race, named)[-1]
        best = sorted(named, key=lambda name: -named[name].mean())[:3]
        wrong += {s.name for s in verdict.accepted} != set(best)
        stopped += sum(s.samples < 2048 for s in verdict.standings)
    assert wrong <= 60
    assert wrong > 0  # the confidence is used, not wasted on bounds that never fail
    assert stopped > 300 * 6
