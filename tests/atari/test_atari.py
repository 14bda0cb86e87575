"""Agents on the emulator: a few hundred steps each."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch

from hubfast.atari import (
    Ppo,
    Study,
    atari_environment,
    new_agent,
    record_returns,
    save_curves,
    table,
    transferred,
)
from hubfast.cli import main

SMALL = Ppo(n_steps=32, batch_size=32, n_epochs=1)


@pytest.fixture(scope="module")
def breakout():
    pytest.importorskip("ale_py", reason="needs hubfast[atari]")
    environment = atari_environment("Breakout", 2)
    yield environment
    environment.close()


@pytest.fixture(scope="module")
def sources(breakout):
    return [new_agent(breakout, seed=seed, settings=SMALL) for seed in range(3)]


def weights(agent):
    return {name: value.clone() for name, value in agent.policy.state_dict().items()}


def pictures(agent):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(5, *agent.observation_space.shape, generator=generator)


def test_environment_is_84_by_84_by_4(breakout):
    assert breakout.reset().shape == (2, 84, 84, 4)
    assert breakout.observation_space.dtype == np.uint8


def test_finished_games_are_recorded_with_their_whole_returns(breakout):
    agent = new_agent(breakout, settings=SMALL)
    steps = []
    games = record_returns(agent, 4096, steps.append)
    assert sum(steps) == 4096
    assert games
    assert all(0 < frames <= 4096 for frames, _ in games)
    assert all(value >= 0 and value == int(value) for _, value in games)


def test_one_source_gives_features_and_no_head(breakout, sources):
    agent = transferred("one", breakout, sources, seed=7, settings=SMALL)
    own, source = weights(agent), weights(sources[0])
    assert all(own[n].equal(source[n]) for n in own if n.startswith("features_extractor"))
    assert not own["action_net.weight"].equal(source["action_net.weight"])


@pytest.mark.parametrize("method", ["zoo", "zoo-lite"])
def test_zoo_of_equal_sources_starts_as_that_source(breakout, sources, method):
    """Gates are equal and sum to one, alignment is the identity."""
    agent = transferred(method, breakout, [sources[0]] * 3, settings=SMALL)
    agent.policy.set_training_mode(False)
    images = pictures(agent)
    with torch.no_grad():
        found = agent.policy.features_extractor(images)
        expected = sources[0].policy.features_extractor(images)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", ["zoo", "zoo-lite"])
def test_zoo_holds_every_source_and_all_of_it_learns(breakout, sources, method):
    agent = transferred(method, breakout, sources, settings=SMALL)
    zoo = agent.policy.features_extractor.zoo
    layers = zoo.zoo_layers()
    assert list(layers) == ["cnn.0", "cnn.2", "cnn.4", "linear.0"]
    for name, layer in layers.items():
        for number, source in enumerate(sources):
            original = source.policy.features_extractor.get_submodule(name).weight
            assert layer.weights[number].equal(original)
    before, originals = weights(agent), [weights(source) for source in sources]
    record_returns(agent, 1024)
    after = weights(agent)
    parameters = [name for name, _ in agent.policy.named_parameters()]
    # A gate's first map gets no gradient until its second, zero at first, has moved, nor where its
    # few rectified outputs are all off.
    still = [n for n in parameters if before[n].equal(after[n])]
    assert [n for n in still if not n.endswith("gate.squeeze.weight")] == []
    for source, original in zip(sources, originals, strict=True):
        assert all(v.equal(original[n]) for n, v in weights(source).items())


def test_wrong_arguments_are_told(breakout, sources):
    with pytest.raises(ValueError, match=r"method must be one of .*'two'"):
        transferred("two", breakout, sources)
    with pytest.raises(ValueError, match="sources must be at least one agent for method 'zoo'"):
        transferred("zoo", breakout)
    with pytest.raises(ValueError, match=r"game must be one of ale-py's.*'Chess'"):
        atari_environment("Chess")
    with pytest.raises(ValueError, match="environments must be at least 1, got 0"):
        atari_environment("Pong", 0)
    with pytest.raises(ValueError, match="frames must be at least 4, got 3"):
        record_returns(sources[0], 3)


def test_study_keeps_finished_runs(breakout, tmp_path):
    study = Study(tmp_path / "new", ["Pong"], "Breakout", 256, 4096, 2, settings=SMALL)
    found = study.run(["scratch", "one"], 1, progress=False)
    assert list(found.columns) == ["frames", "return", "method", "seed"]
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "new").iterdir()}
    assert sorted(path.name for path in files) == [
        "Breakout-4096-one-0-from-Pong-256.csv",
        "Breakout-4096-scratch-0.csv",
        "source-Pong-256.csv",
        "source-Pong-256.zip",
    ]
    pd.testing.assert_frame_equal(study.run(["scratch", "one"], 1, progress=False), found)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "new").iterdir()} == files


def test_a_run_that_was_cut_off_goes_on(breakout, sources, tmp_path):
    def agent():
        return transferred("zoo", breakout, sources, seed=1, settings=SMALL)

    class Cut(Exception):
        pass

    def cut(frames):
        done.append(frames)
        if sum(done) > 3000:
            raise Cut

    done, path = [], tmp_path / "new" / "run.pt"
    with pytest.raises(Cut):
        record_returns(agent(), 4096, cut, checkpoint=path, save_every=1024)
    kept = torch.load(path, weights_only=True)
    assert kept["steps"] * 4 == 2048
    resumed, told = agent(), []
    games = record_returns(resumed, 4096, told.append, checkpoint=path, save_every=1024)
    assert told[0] == 2048
    assert sum(told) == 4096
    assert games[: len(kept["games"])] == kept["games"]
    assert resumed.num_timesteps * 4 == 4096
    assert resumed.lr_schedule(resumed._current_progress_remaining) < Ppo().learning_rate / 10
    # Training went on from the checkpoint: weights are near it, and not at it
    moved = {n: (v - kept["policy"][n]).abs().max() for n, v in resumed.policy.named_parameters()}
    assert 0 < max(moved.values()) < 0.05


def test_study_takes_up_a_run_and_clears_its_checkpoint(breakout, tmp_path):
    study = Study(tmp_path, (), "Breakout", 4, 4096, 2, settings=SMALL)
    agent = transferred("scratch", breakout, settings=SMALL)
    path = tmp_path / "Breakout-4096-scratch-0.pt"
    early = record_returns(agent, 2048, checkpoint=path, save_every=256)
    told = []
    found = study.train_target("scratch", 0, told.append)
    assert told[0] == 2048 - 256  # the last checkpoint was before the last rollout
    kept = [game for game in early if game[0] <= told[0]]
    assert list(found[["frames", "return"]].itertuples(index=False, name=None))[: len(kept)] == kept
    assert [p.name for p in tmp_path.iterdir()] == ["Breakout-4096-scratch-0.csv"]


def test_runs_of_a_seed_are_equal(breakout, tmp_path):
    runs = [Study(tmp_path / name, (), "Breakout", 4, 2048, 2, settings=SMALL) for name in "ab"]
    first, second = (run.train_target("scratch", 3) for run in runs)
    pd.testing.assert_frame_equal(first, second)


def test_table_by_hand(tmp_path):
    games = pd.DataFrame(
        [("zoo", 0, 10, 1.0), ("zoo", 0, 40, 3.0), ("zoo", 1, 50, 6.0), ("zoo", 1, 90, 5.0)],
        columns=["method", "seed", "frames", "return"],
    )
    found = table(games, bins=2, frames=100)
    assert found.to_numpy().tolist() == [
        ["zoo", 50, 4.0, 2.0, 6.0, 3],  # seed 0: (1 + 3) / 2, seed 1: 6
        ["zoo", 100, 5.0, 5.0, 5.0, 1],
    ]
    save_curves(found, tmp_path / "curves")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert pd.read_csv(tmp_path / "curves.csv").shape == (2, 6)
    with pytest.raises(ValueError, match="games must be at least one"):
        table(games[:0])
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        table(games, bins=0)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["hubfast", "atari", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


def test_command(breakout, tmp_path, monkeypatch, capsys):
    arguments = ["--method", "scratch", "--frames", 4096, "--seeds", 1, "--environments", 2]
    assert run(monkeypatch, *arguments, "--out", tmp_path / "a", "--quiet") == 0
    assert "scratch" in capsys.readouterr().out
    assert (tmp_path / "a" / "Breakout-curves.png").exists()
    assert run(monkeypatch, "--method", "two", "--out", tmp_path / "b") == 2
    assert "method must be one of" in capsys.readouterr().err


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs ale_py: pip install 'hubfast\[atari\]'"):
        atari_environment("Pong")
