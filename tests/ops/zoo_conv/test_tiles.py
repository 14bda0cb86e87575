"""Which tile a convolution takes: the measured one, else by arithmetic."""

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

PIXELS_LAST = torch.zeros(1, 16, 2, 2).contiguous(memory_format=torch.channels_last)


def product(*sizes):
    from hubfast.kernels.tiles import Product

    return Product(*sizes)


def test_a_measured_tile_counts_first(monkeypatch):
    from hubfast.kernels import tiles

    sizes = product(48, 196, 256, 256, 9, 2)
    assert sizes.key == "48x196x256x256x9x2"
    table = {"convolve": {sizes.key: [64, 256, 32, 8, 4]}, "weight_gradient": {}}
    monkeypatch.setattr(tiles, "choices", lambda device, name: table[name])
    assert tiles.choose("convolve", sizes, PIXELS_LAST) == (64, 256, 32, 8, 4)
    by_shape = tiles.least_read("weight_gradient", sizes, tiles.MULTIPROCESSORS)
    assert tiles.choose("weight_gradient", sizes, PIXELS_LAST) == by_shape
    table["convolve"][sizes.key] = [64, 256, 32, 8]
    with pytest.raises(ValueError, match="convolve 48x196x256x256x9x2 must be a tile's five"):
        tiles.choose("convolve", sizes, PIXELS_LAST)


def test_scattered_channels_take_a_small_tile():
    from hubfast.kernels import tiles

    sizes = product(48, 196, 256, 256, 9, 2)
    for x in (torch.zeros(1, 16, 2, 2), torch.zeros(1, 2, 2, 15).movedim(-1, 1)):
        assert tiles.choose("convolve", sizes, PIXELS_LAST, x) == tiles.SCATTERED


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [  # samples, rows, columns, depth, parts, bytes
        ((48, 3136, 64, 64, 9, 2), (128, 64, 64, 4, 3)),  # as long as there are columns
        ((48, 784, 128, 128, 9, 2), (128, 128, 64, 8, 3)),
        ((1, 196, 256, 256, 9, 2), (64, 64, 64, 4, 4)),  # many small ones fill more processors
        ((48, 784, 128, 128, 9, 4), (128, 128, 32, 8, 3)),  # half as deep in float32
        ((1, 1, 1, 1, 1, 2), (16, 16, 16, 4, 4)),
    ],
)
def test_tiles_by_shape(sizes, wanted):
    from hubfast.kernels import tiles

    assert tiles.least_read("convolve", product(*sizes), tiles.MULTIPROCESSORS) == wanted


def test_what_is_read_is_counted():
    from hubfast.kernels import tiles

    tile = tiles.Tile(128, 128, 64, 8, 3)
    sizes = product(48, 196, 256, 256, 9, 2)
    assert sizes.programs(tile) == 48 * 2 * 2
    # 192 programs on 132 multiprocessors: one has two, each of 9 * 4 steps of 64 by 256.
    assert tiles.most_read(tile, sizes, 132) == 2 * (9 * 4 * 64 * 256 + tiles.START)


def test_candidates_fit_into_shared_memory():
    from hubfast.kernels import tiles

    for tile in (*tiles.CANDIDATES["convolve"], *tiles.CANDIDATES["weight_gradient"]):
        assert (tile.rows + tile.columns) * tile.depth * 2 * tile.stages <= 163 * 1024
