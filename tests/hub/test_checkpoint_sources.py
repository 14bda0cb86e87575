"""Checkpoints, random weights and weights by order, as specs and in hub files."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from hubfast import as_hub, as_source, rank
from hubfast.hub import query

NAME = "test_resnet"


@pytest.fixture
def data():
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    return images, np.arange(12) % 2


@pytest.fixture
def foreign(tmp_path):
    """The weights of a model under names of another implementation, in the same order."""
    torch.manual_seed(1)
    model = timm.create_model(NAME, num_classes=3).eval()
    state = {f"stage.{i}.w": x for i, x in enumerate(model.state_dict().values()) if x.ndim}
    torch.save({"state_dict": state}, tmp_path / "foreign.pth")
    return model, state


def hub(folder, *lines):
    (folder / "hub.yaml").write_text("\n".join(["models:", *lines]))
    return folder / "hub.yaml"


def with_keys(folder, file="foreign.pth", keys="by_order"):
    return hub(folder, f"  - model: timm:{NAME}@{file}", f"    keys: {keys}")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_checkpoints_keep_their_spec(tmp_path, data, suffix):
    state = timm.create_model(NAME, num_classes=3).state_dict()
    path = (tmp_path / "c").with_suffix(suffix)
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    spec = f"timm:{NAME}@{path}"
    (source,) = as_hub(hub(tmp_path, f"  - timm:{NAME}@{path.name}"))
    assert (source.name, source.spec) == (f"timm:{NAME}@{path.name}", spec)
    assert as_source(spec).spec == rank([spec], data, progress=False)[0].spec == spec


def test_weights_by_order(tmp_path, data, foreign):
    model, state = foreign
    (source,) = as_hub(with_keys(tmp_path))
    network = source.load()
    for name, x in network.run.state_dict().items():
        assert torch.equal(x, model.state_dict()[name]), name
    row = rank(source, data, progress=False)[0]
    assert row.note == f"its {len(state)} weights are matched by order, not by name"
    assert row.spec is None  # the spec alone does not give this model


def test_the_error_of_other_names_offers_it(tmp_path, foreign):
    with pytest.raises(RuntimeError, match=r"Missing keys: .*fit in their order: keys: by_order"):
        as_source(f"timm:{NAME}@{tmp_path / 'foreign.pth'}").load()


def test_the_error_does_not_offer_what_would_fail(tmp_path, foreign):
    names = list(foreign[1])
    torch.save({n: foreign[1][n] for n in reversed(names)}, tmp_path / "reversed.pth")
    with pytest.raises(RuntimeError) as caught:
        as_source(f"timm:{NAME}@{tmp_path / 'reversed.pth'}").load()
    assert "by_order" not in str(caught.value)


@pytest.mark.parametrize("change", ["fewer", "shape", "safetensors"])
def test_shapes_are_checked_by_order(tmp_path, foreign, change):
    state = dict(foreign[1])
    if change == "fewer":
        del state["stage.0.w"], state["stage.1.w"], state["stage.2.w"]
        said = r"by order, \d+ weights are wanted, got \d+"
    elif change == "shape":
        state["stage.1.w"] = torch.ones(2, 2)
        said = r"weight 2 is stage.1.w \(2, 2\) in the file, conv1.1.weight \(16,\) is wanted"
    else:
        said = r"needs a file of torch.save, .safetensors keeps no order"
    file = "c.safetensors" if change == "safetensors" else "c.pth"
    (save_file if change == "safetensors" else torch.save)(state, tmp_path / file)
    with pytest.raises(RuntimeError, match=said):
        as_hub(with_keys(tmp_path, file))[0].load()


def test_by_order_without_the_head(tmp_path, foreign):
    state = dict(list(foreign[1].items())[:-2])
    torch.save(state, tmp_path / "c.pth")
    network = as_hub(with_keys(tmp_path, "c.pth"))[0].load()
    assert network.run.num_classes == 0
    assert torch.equal(network.run.conv1[1].weight, foreign[0].conv1[1].weight)


@pytest.mark.parametrize(
    ("spec", "keys", "said"),
    [
        (f"timm:{NAME}@a.pth", "by_chance", r"keys of model 1 of \S+ must be one of .*'by_chance'"),
        ("onnx:a.onnx", "by_order", r"keys of model 1 of \S+ is for timm:NAME@FILE, got 'onnx:"),
        (f"timm:{NAME}", "by_order", r"is for timm:NAME@FILE"),
    ],
)
def test_keys_in_the_wrong_place(tmp_path, spec, keys, said):
    with pytest.raises(ValueError, match=said):
        as_hub(hub(tmp_path, f"  - model: {spec}", f"    keys: {keys}"))


def test_a_hub_file_without_models_lists_its_keys(tmp_path):
    (tmp_path / "h.yaml").write_text("model: timm:a\nname: b\n")
    with pytest.raises(ValueError, match=r"got NoneType; its keys are \['model', 'name'\]"):
        as_hub(tmp_path / "h.yaml")


class TestRandomWeights:
    def test_are_the_same_each_time_and_touch_no_generator(self, data):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        one, two = (as_source(f"timm:{NAME}?pretrained=false").load() for _ in range(2))
        assert torch.equal(one.run.conv1[0].weight, two.run.conv1[0].weight)
        assert torch.equal(torch.get_rng_state(), before)
        (row,) = rank(f"timm:{NAME}?pretrained=false", data, progress=False)
        assert (row.error, row.spec) == (None, f"timm:{NAME}?pretrained=false")
        assert row.note == "weights are random (seed 0)"

    @pytest.mark.parametrize(
        ("spec", "name", "trained"),
        [
            ("a", "a", True),
            ("a.b?pretrained=false", "a.b", False),
            ("a?pretrained=False", "a", False),
            ("a?pretrained=true", "a", True),
            ("a*?params<3M&pretrained=false", "a*?params<3M", False),
            ("a*?pretrained = false & params<3M", "a*? params<3M", False),
            ("a*?params<3M", "a*?params<3M", True),
            ("a?pretrained=falsely", "a?pretrained=falsely", True),
        ],
    )
    def test_how_it_is_asked_for(self, spec, name, trained):
        assert query.wants_training(spec) == (name, trained)

    def test_in_queries(self):
        found = as_hub("timm:test_resne*?pretrained=false&params<30M")
        assert "timm:test_resnet?pretrained=false" in [source.name for source in found]
        assert all(source.licence == "" for source in found)  # which is that of trained weights

    def test_in_a_hub_file_and_a_mapping(self, tmp_path):
        (source,) = as_hub(hub(tmp_path, f"  - timm:{NAME}?pretrained=false"))
        (other,) = as_hub({"baseline": f"timm:{NAME}?pretrained=false"})
        assert source.load().notes == other.load().notes == ("weights are random (seed 0)",)
        assert other.name == "baseline"
