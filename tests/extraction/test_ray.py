"""Whatever runs the models, a ranking is the same to the last bit."""

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import away_models
import numpy as np
import pytest
import torch
from away_models import Failing, hub_of, numbers, problem, ran
from PIL import Image

import hubfast
from hubfast import as_source

ray = pytest.importorskip("ray")
rank = partial(hubfast.rank, progress=False)
pytestmark = pytest.mark.usefixtures("one_thread")
COUNT = 3000  # more than are kept as features: sums over blocks are merged


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images in folders of classes, one of which cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for i in range(300):
        path = folder / f"class {i % 3}" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        pixels[..., 0] //= 1 + i % 3
        Image.fromarray(pixels).save(path)
    path.write_bytes(b"no image")
    return folder


@pytest.mark.parametrize(
    ("workers", "options"),
    [
        (1, {"metrics": ["logme", "knn", "leep"]}),
        (2, {"metrics": ["logme", "leep"]}),
        (3, {"metric": "logme"}),
        (2, {"race": True, "top": 2}),
    ],
)
def test_any_number_of_workers_gives_the_local_ranking(tmp_path, workers, options):
    data = problem(COUNT)
    plain = rank(hub_of(tmp_path, 6), data, cache=False, **options)
    (tmp_path / "ran").unlink()
    hub = [*hub_of(tmp_path, 3), *hub_of(tmp_path, 6, keyed=False)[3:]]
    found = rank(hub, data, ray=f"local:{workers}", cache_dir=tmp_path / "cache", **options)
    assert numbers(found) == numbers(plain)
    assert found.notes == plain.notes
    assert found.race == plain.race or options.get("race")
    assert os.getpid() not in ran(tmp_path)
    assert len(ran(tmp_path)) <= workers
    # What can be kept is there for a local ranking, and nothing else is.
    (tmp_path / "ran").unlink()
    again = rank(hub[:3], data, cache_dir=tmp_path / "cache", **options | {"top": 1})
    assert not ran(tmp_path) or options.get("race")
    assert [*(tmp_path / "cache").glob("passing-*")] == []
    if not options.get("race"):
        plain_scores = {m.name: m.score for m in rank(hub[:3], data, cache=False, **options)}
        assert {m.name: m.score for m in again} == plain_scores


def test_images_modules_and_files(images, tmp_path, monkeypatch):
    """Relative paths are those of this process; unreadable images are said once."""
    monkeypatch.chdir(images.parent)
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(2))
    module = torch.nn.Sequential(body, torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten())
    transform = partial(_tensor_of, side=16)
    hub = ["timm:test_resnet?pretrained=false", "timm:test_vit?pretrained=false"]
    hub += [as_source(module, name="own", transform=transform)]
    plain = rank(hub, images.name, cache=False)
    found = rank(hub, images.name, cache=False, ray="local:2")
    assert len(plain.scored) == 3
    assert numbers(found) == numbers(plain)
    assert found.notes == plain.notes
    assert any("1 of 300 samples cannot be read" in note for note in found.notes)


def _tensor_of(image, side):
    return torch.from_numpy(np.array(image.resize((side, side)))).permute(2, 0, 1).float() / 255


@pytest.mark.filterwarnings("default")
def test_faults_of_models_are_rows_as_they_are_locally(tmp_path):
    for name in ("here", "away"):
        (tmp_path / name).mkdir()
    data = problem(700)

    def hub(folder):
        failing = as_source(Failing(3.0, folder), name="failing", key="failing")
        return [failing, "timm:no_such_model", *hub_of(folder, 0)]

    good = [as_source(away_models.warning, name="w"), *hub_of(tmp_path, 2)]
    plain = rank([*good, *hub(tmp_path / "here")], data, cache=False)
    found = rank([*good, *hub(tmp_path / "away")], data, cache=False, ray="local:2")
    assert numbers(found) == numbers(plain)
    assert len(found.failed) == 2
    assert found.notes == plain.notes == ("warning from w: this is old",)


def test_what_cannot_be_sent_runs_here_and_is_said(tmp_path):
    data, folder = problem(400), tmp_path
    file = (tmp_path / "open").open("w")  # no file that is open can be pickled

    def own(rows):
        file.write(f"{os.getpid()}\n")
        return rows[:, :6]

    hub = [*hub_of(folder, 2), as_source(own, name="own")]
    plain = rank(hub, data, cache=False)
    found = rank(hub, data, cache=False, ray="local:1")
    file.close()
    assert numbers(found) == numbers(plain)
    (note,) = found.notes
    assert note.startswith("own runs in this process, as it cannot be sent: ")


class Unsteady(torch.utils.data.Dataset):
    """Gives another sample each time."""

    targets = np.arange(300) % 3

    def __len__(self):
        return 300

    def __getitem__(self, index):
        return torch.rand(4), index % 3


@pytest.mark.parametrize(
    ("address", "options", "message"),
    [
        ("", {}, "ray must be 'auto', 'local', 'local:4'"),
        ("hub.yaml", {}, "got 'hub.yaml'"),
        ("local:0", {}, "got 'local:0'"),
        ("ray://head:10001", {}, "submit the command as a job"),
        ("local:1", {"device": "cuda:1"}, "device must be 'cpu' or 'cuda' with ray"),
        ("127.0.0.1:9", {}, "no Ray cluster answers at 127.0.0.1:9"),
    ],
)
def test_wrong_arguments(address, options, message, tmp_path):
    with pytest.raises((ValueError, OSError), match=message):
        rank(hub_of(tmp_path, 1), problem(200), ray=address, **options)


def test_what_listens_and_is_no_cluster_is_told_from_silence(monkeypatch):
    """Such as a cluster that wants a token, of which Ray's error says nothing."""
    from hubfast.extraction.cluster import ray_cluster

    def refused(ray, **how):
        raise ConnectionError("Failed to connect")

    monkeypatch.setattr(ray_cluster, "_init", refused)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)  # which Ray itself may have set before
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"at {address}: Failed.*RAY_AUTH_MODE=token"):
            ray_cluster._connect(ray, address)
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        with pytest.raises(ConnectionError, match=r"Failed to connect$"):
            ray_cluster._connect(ray, address)


def test_data_that_are_others_each_time_are_refused(tmp_path):
    from hubfast import as_target_data

    data = as_target_data(Unsteady(), progress=False)
    hub = [as_source(away_models.first_columns, name="m")]
    with pytest.raises(ValueError, match=r"gave others to a worker on .*: leave out random"):
        rank(hub, data, ray="local:1", cache=False)


def test_nothing_is_left_and_nothing_printed(tmp_path):
    """In a process of its own, whose standard output has the ranking alone."""
    code = (
        "import signal, sys, os, json; before = signal.getsignal(signal.SIGTERM)\n"
        "import hubfast; from away_models import *; from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        f"    folder = Path({str(tmp_path)!r})\n"
        "    found = hubfast.rank(hub_of(folder, 2), problem(400), cache=False, ray='local:1',"
        " progress=False)\n"
        "    assert signal.getsignal(signal.SIGTERM) is before\n"
        "    print(len(found.scored), *ran(folder))\n"
    )
    helpers = Path(away_models.__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{helpers}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stderr == ""
    scored, *processes = map(int, done.stdout.split())
    assert scored == 2
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
