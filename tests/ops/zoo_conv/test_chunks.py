"""How many samples a GPU convolves at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hubfast.ops.zoo_conv import chunks
from hubfast.ops.zoo_conv.chunks import CHUNKS, Device, Layer, chunk_key, chunk_of, rule


def layer(samples=48, out=256, patch=2304, pixels=196):
    return Layer(samples, 5, out, patch, pixels, 2, 4)


def test_the_layer_is_that_of_the_tensors():
    x = torch.empty(48, 256, 14, 14, dtype=torch.bfloat16)
    assert Layer.of(x, torch.empty(5, 256, 256, 3, 3), 196) == layer()


@pytest.mark.parametrize(
    ("asked", "forward", "backward"),
    [
        (layer(), 48, 48),  # the first example of the docstring
        (layer(out=512, patch=4608, pixels=49), 48, 48),  # the models' weights fill the cache
        (layer(out=128, patch=1152, pixels=784), 48, 48),  # all mixed weights fit
        (layer(128, out=128, patch=1152, pixels=784), 43, 43),  # the second
        (layer(128, out=1024, patch=256), 26, 128),
    ],
)
def test_chunks_by_hand_for_an_h100(asked, forward, backward):
    assert rule(asked, "forward", Device()) == forward
    assert rule(asked, "backward", Device()) == backward


@given(
    st.builds(
        Layer,
        *(st.integers(1, n) for n in (300, 64, 4096, 9999, 9999)),
        st.sampled_from([2, 4]),
        st.sampled_from([2, 4]),
    ),
    st.sampled_from(["forward", "backward"]),
)
def test_chunks_fit_the_cache_and_fill_the_device(asked, direction):
    device = Device()
    chunk = rule(asked, direction, device)
    assert 1 <= chunk <= asked.samples
    if chunk < asked.samples:
        size = asked.out_channels * asked.patch
        assert chunk * size * asked.mixed_bytes + asked.models * size * asked.weight_bytes <= (
            device.cache * 0.4
        )
        # Chunks are of one size, so they may be smaller than those that fit, by less than half.
        programs = (asked.pixels + 63) // 64 * ((asked.out_channels + 63) // 64)
        assert 2 * chunk * programs >= device.multiprocessors


def test_what_was_measured_decides(monkeypatch):
    key = chunk_key(layer(), "forward")
    tables = {key: 0}
    monkeypatch.setattr(chunks, "choices", lambda device, table: {"chunks": tables}[table])
    cpu = torch.device("cpu")
    assert chunk_of(layer(), "forward", cpu) == 48
    tables[key] = CHUNKS[1]
    assert chunk_of(layer(), "forward", cpu) == CHUNKS[1]
    assert chunk_of(layer(), "backward", cpu) == 48
    keys = {chunk_key(each, d) for each in (layer(), layer(47)) for d in ("forward", "backward")}
    assert len(keys) == 4
