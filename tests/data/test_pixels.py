"""Every kind of image becomes the same RGB image of 8 bits, whatever it comes in."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import hubfast
from hubfast import as_target_data
from hubfast.cli import main
from hubfast.data import TargetData, readable
from hubfast.data.pixels import Pixels

WHITE = (255, 255, 255)


def rgb(sample, **rule) -> np.ndarray:
    image = Pixels(**rule).prepared(sample)
    assert image.mode == "RGB"
    return np.asarray(image)


def stored(image: Image.Image, kind: str, **how) -> Image.Image:
    """As a file of that kind gives it."""
    file = io.BytesIO()
    image.save(file, kind, **how)
    return Image.open(file)


# Depth

DEEP = np.array([[0, 257, 12850], [25700, 38550, 65535]], np.uint16)  # 0 1 50 / 100 150 255
SHALLOW = [[0, 1, 50], [100, 150, 255]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_files_of_16_bits_are_divided_by_257(kind):
    image = stored(Image.fromarray(DEEP), kind)
    assert image.mode.startswith("I")
    assert rgb(image)[..., 0].tolist() == rgb(image)[..., 2].tolist() == SHALLOW


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_arrays_of_16_bits_are_divided_by_257(order):
    array = DEEP.astype(order)
    assert rgb(array)[..., 1].tolist() == SHALLOW
    assert rgb(np.stack([array] * 3, -1))[..., 1].tolist() == SHALLOW
    assert rgb(stored(Image.fromarray(array), "TIFF"))[..., 1].tolist() == SHALLOW
    assert rgb(torch.from_numpy(DEEP))[..., 1].tolist() == SHALLOW


def test_the_scale_does_not_depend_on_the_image():
    bright, dark = DEEP, DEEP // 4
    assert np.abs(rgb(dark).astype(float) - rgb(bright) / 4).max() <= 1


@pytest.mark.parametrize(
    ("bits", "value", "expected"), [(12, 4095, 255), (12, 2048, 128), (8, 7, 7)]
)
def test_fewer_bits_are_said(bits, value, expected):
    array = np.full((2, 2), value, np.uint16)
    assert rgb(array, bits=bits).max() == expected
    assert rgb(stored(Image.fromarray(array), "PNG"), bits=bits).max() == expected
    with pytest.raises(ValueError, match=rf"images of {bits} bits must hold values in 0\.\..*70"):
        rgb(np.array([[70, 2**bits]], np.uint16), bits=bits)


def test_integers_of_32_bits():
    assert rgb(Image.fromarray(DEEP.astype(np.int32)))[..., 0].tolist() == SHALLOW
    for wrong in (-1, 65536):
        with pytest.raises(
            ValueError, match=rf"16 bits must hold values in 0..65535, got .*{wrong}"
        ):
            rgb(Image.fromarray(np.array([[0, wrong]], np.int32)))


@pytest.mark.parametrize("dtype", ["i8", "i4", "u4", ">i2", "u8"])
def test_arrays_of_other_integers_hold_8_bits(dtype):
    array = np.array(SHALLOW, dtype)
    assert rgb(array)[..., 0].tolist() == SHALLOW
    with pytest.raises(ValueError, match=r"must hold values in 0..255, got 0..256; give uint16"):
        rgb(np.array([[0, 256]], dtype))


def test_negative_integers_are_refused():
    with pytest.raises(ValueError, match=r"must hold values in 0..255, got -1000..5"):
        rgb(np.array([[-1000, 5]], np.int16))


def test_floats_in_an_image_are_shares():
    values = np.array([[0, 0.2, 1]], np.float32)
    for image in (Image.fromarray(values), stored(Image.fromarray(values), "TIFF")):
        assert image.mode == "F"
        assert rgb(image)[..., 0].tolist() == [[0, 51, 255]]
    for wrong in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"images of floats must hold values in 0\.\.1, got"):
            rgb(Image.fromarray(np.array([[0, wrong]], np.float32)))


def test_arrays_of_floats_are_taken_as_they_are():
    random = np.random.default_rng(0).random((4, 5, 3))
    for array in (random, random.astype(">f4"), random.T, np.ones(7, "f2")):
        tensor = Pixels().prepared(array)
        assert tensor.dtype == torch.float32
        np.testing.assert_allclose(tensor, array, rtol=1e-6)
    frozen = np.ones((3, 4, 5), np.float32)
    frozen.flags.writeable = False
    assert Pixels().prepared(frozen).mean() == 1
    half = torch.rand(3, 4, 5, requires_grad=True).bfloat16()
    assert torch.equal(Pixels().prepared(half), half.detach().float())


def test_one_bit():
    flags = np.array([[True, False]])
    for sample in (flags, Image.fromarray(flags), np.stack([flags] * 3, -1), torch.tensor(flags)):
        assert rgb(sample)[..., 0].tolist() == [[255, 0]]


# Colours


@pytest.mark.parametrize("mode", ["RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "P"])
def test_colour_spaces(mode):
    red = Image.new("RGB", (8, 8), (200, 30, 40))
    if mode == "LAB":  # lightness 50 without a hue is sRGB 119
        image, expected, within = Image.new("LAB", (8, 8), (128, 128, 128)), (119,) * 3, 2
    elif mode == "P":
        image, expected, within = red.quantize(4), (200, 30, 40), 0
    else:
        image, expected, within = red.convert(mode), (200, 30, 40), 4
    assert np.abs(rgb(image)[0, 0].astype(int) - expected).max() <= within


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "CMYK"), ("JPEG", "YCbCr"), ("TIFF", "CMYK")])
def test_files_of_other_colour_spaces(kind, mode):
    image = stored(Image.new("RGB", (16, 16), (40, 180, 90)).convert(mode), kind)
    assert np.abs(rgb(image)[8, 8].astype(int) - (40, 180, 90)).max() <= 4


# Transparency


def half_clear(mode: str) -> Image.Image:
    """A black pixel that is seen and one that is not."""
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    match mode:
        case "RGBa":
            return image.convert("RGBa")
        case "La":
            return image.convert("LA").convert("La")
        case "PA":
            palette = Image.new("PA", (2, 1))
            palette.putdata([(0, 255), (0, 0)])
            return palette
        case "P":
            palette = Image.new("P", (2, 1))
            palette.putpalette([0, 0, 0, 0, 0, 0])
            palette.putpixel((1, 0), 1)
            return stored(palette, "PNG", transparency=bytes([255, 0]))
        case "GIF":
            palette = Image.new("P", (2, 1))
            palette.putpalette([0, 0, 0, 9, 9, 9])
            palette.putpixel((1, 0), 1)
            return stored(palette, "GIF", transparency=1)
        case "L" | "I;16":
            grey = np.array([[0, 9]], np.uint8 if mode == "L" else np.uint16)
            return stored(Image.fromarray(grey), "PNG", transparency=9)
        case "RGB":
            colours = np.array([[[0, 0, 0], [0, 0, 9]]], np.uint8)
            return stored(Image.fromarray(colours), "PNG", transparency=(0, 0, 9))
    return image.convert(mode)


MODES = ["RGBA", "LA", "RGBa", "La", "PA", "P", "GIF", "L", "RGB", "I;16"]


@pytest.mark.parametrize("mode", MODES)
def test_clear_pixels_show_the_background(mode):
    assert rgb(half_clear(mode)).tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert rgb(half_clear(mode), background="#0a141e").tolist() == [[[0, 0, 0], [10, 20, 30]]]


def test_half_clear_pixels_are_mixed():
    image = Image.new("RGBA", (6, 5), (0, 100, 200, 51))
    assert rgb(image)[3, 2].tolist() == [204, 224, 244]
    assert rgb(np.asarray(image))[3, 2].tolist() == [204, 224, 244]
    grey = np.zeros((5, 6, 2), np.uint8)
    grey[..., 1] = 51
    assert rgb(grey)[3, 2].tolist() == [204] * 3


def test_what_the_background_hides_is_said():
    clear = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    clear.paste((255, 255, 255, 255), (2, 2, 5, 5))  # a white shape
    images = [clear, Image.new("RGB", (8, 8), "white"), half_clear("RGBA"), np.asarray(clear)]
    data = readable(as_target_data((images, [0, 1, 0, 1])), progress=False)
    assert data.notes == (
        "2 images with transparency show nothing on white; another background may help: "
        "sample 0, sample 3",
    )
    black = as_target_data((images[:2], [0, 1]), background="black")
    assert not readable(black, progress=False).notes


def test_bad_rules_are_named():
    with pytest.raises(ValueError, match=r"background must be a colour .* got 'whitish'"):
        Pixels(background="whitish")
    with pytest.raises(ValueError, match=r"bits must be in 8..16, got 32"):
        as_target_data((np.zeros((2, 4, 4), np.uint8), [0, 1]), bits=32)


# Orientation and frames


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright(kind, orientation):
    upright = np.zeros((24, 16), np.uint8)
    upright[:8, :8] = 255  # a white corner, top left
    undo = {1: 0, 2: "fliplr", 3: 2, 4: "flipud", 5: "transpose", 6: 1, 7: "transverse", 8: 3}
    way = undo[orientation]
    match way:
        case "fliplr" | "flipud":
            kept = getattr(np, way)(upright)
        case "transpose":
            kept = upright.T
        case "transverse":
            kept = np.rot90(upright, 2).T
        case _:
            kept = np.rot90(upright, way)
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"quality": 100} if kind in ("JPEG", "WEBP") else {}
    image = stored(
        Image.fromarray(np.ascontiguousarray(kept)).convert("RGB"), kind, exif=exif, **how
    )
    shown = Pixels().prepared(image)
    assert np.abs(np.asarray(shown)[..., 0].astype(int) - upright).max() < 60
    assert np.array_equal(Pixels().prepared(shown), shown)  # turned once


def test_unreadable_exif_leaves_the_image_as_it_is():
    image = stored(Image.new("RGB", (4, 2)), "JPEG", exif=b"Exif\0\0no such block")
    assert rgb(image).shape == (2, 4, 3)


def films():
    first, second = Image.new("RGB", (8, 8), (200, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 200))
    return [
        stored(first, kind, save_all=True, append_images=[second], **how)
        for kind, how in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {}))
    ]


def test_of_several_frames_the_first_is_taken_and_said():
    images = films()
    data = readable(as_target_data((images, [0, 1, 0, 1])), progress=False)
    assert [np.asarray(data[i])[0, 0].tolist() for i in range(4)] == [[200, 0, 0]] * 4
    assert data.notes == (
        "of 4 images with several frames the first is taken: "
        "sample 0, sample 1, sample 2, sample 3",
    )


# Shapes of arrays


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((5, 6), (6, 5)),
        ((5, 6, 1), (6, 5)),
        ((5, 6, 2), (6, 5)),
        ((5, 6, 3), (6, 5)),
        ((5, 6, 4), (6, 5)),
        ((1, 5, 6), (6, 5)),
        ((3, 5, 6), (6, 5)),
        ((4, 5, 6), (6, 5)),
        ((4, 5, 3), (5, 4)),
        ((3, 5, 4), (4, 5)),
    ],
)
def test_channels_are_first_or_last(shape, size):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = Pixels().prepared(array)
    assert image.size == size
    assert np.array_equal(Pixels().prepared(torch.from_numpy(array)), image)
    assert np.array_equal(rgb(array.astype(np.int64)), image)


def test_channels_first_are_the_same_image():
    array = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    assert np.array_equal(rgb(array.transpose(2, 0, 1)), array)


@pytest.mark.parametrize(
    "shape", [(2, 5, 6), (5, 6, 7), (3, 5, 3), (4, 5, 4), (1, 3, 5, 6), (0, 4)]
)
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"images must be \(height, width\).*got \("):
        Pixels().prepared(np.zeros(shape, np.uint8))


# The same wherever they come from


@pytest.fixture
def kinds():
    """Images of every kind that a file can hold, none of them plain RGB."""
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, :5] = 200
    return [
        (Image.fromarray(np.tile(DEEP, (4, 4))), "png", {}),
        (Image.fromarray(np.tile(DEEP, (4, 4)).astype(">u2")), "tif", {}),
        (Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)), "tiff", {}),
        (Image.fromarray(wide).convert("RGBA").rotate(45), "png", {}),
        (Image.fromarray(wide).convert("CMYK"), "jpg", {"quality": 95}),
        (Image.fromarray(wide), "jpg", {"exif": exif}),
        (Image.fromarray(wide[..., 0] > 100), "png", {}),
        (half_clear("RGBA").resize((8, 8)).quantize(4), "png", {}),
    ]


def test_one_rule_for_every_source(kinds, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    import pandas as pd

    paths, targets = [], [i % 2 for i in range(len(kinds))]
    for i, (image, suffix, how) in enumerate(kinds):
        path = tmp_path / "photos" / "ab"[i % 2] / f"{i}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **how)
        paths.append(path)
    table = tmp_path / "t.csv"
    pd.DataFrame({"image": map(str, paths), "label": targets}).to_csv(table, index=False)
    content = [{"bytes": path.read_bytes(), "path": None} for path in paths]
    pd.DataFrame({"picture": content, "label": targets}).to_parquet(tmp_path / "t.parquet")
    hf = datasets.Dataset.from_dict({"image": list(map(str, paths)), "label": targets})

    def opened(path):
        return Image.open(io.BytesIO(path.read_bytes()))

    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return len(paths)

        def __getitem__(self, index):
            return opened(paths[index]), targets[index]

    sources = {
        "table": as_target_data(table),
        "parquet": as_target_data(tmp_path / "t.parquet"),
        "hf": as_target_data(hf.cast_column("image", datasets.Image())),
        "undecoded": as_target_data(hf.cast_column("image", datasets.Image(decode=False))),
        "list": as_target_data(([opened(path) for path in paths], targets)),
        "paths": as_target_data((paths, targets)),
        "pairs": as_target_data(Pairs(), progress=False),
    }
    folder = as_target_data(tmp_path / "photos")
    expected = {name: np.asarray(folder[i]) for i, name in enumerate(folder.names)}
    for name, data in sources.items():
        assert data.targets.tolist() == targets, name
        for i, path in enumerate(paths):
            assert np.array_equal(data[i], expected[str(path)]), (name, path.name)
    for pixels in expected.values():
        assert 0 < pixels.mean() < 255


# What is refused is named


def test_a_sample_that_is_refused_is_named(tmp_path):
    for i in range(2):
        (tmp_path / f"c{i}").mkdir()
        values = np.full((4, 4), 200.0 * i, np.float32)
        Image.fromarray(values).save(tmp_path / f"c{i}" / "x.tiff")
    data = as_target_data(tmp_path)
    name = str(tmp_path / "c1" / "x.tiff")
    with pytest.raises(
        ValueError, match=r"c1.x\.tiff: images of floats must hold values in 0\.\.1"
    ):
        data[1]
    with pytest.raises(ValueError, match=r"1 of 2 samples cannot be read") as error:
        readable(data, progress=False)
    assert f"{name} (ValueError: images of floats must hold" in str(error.value)
    listed = as_target_data(
        ([np.zeros((4, 4, 3), np.uint8)] * 20 + [np.zeros((4, 4), complex)],) * 1
        + (np.arange(21) % 2,)
    )
    good = readable(listed, progress=False)
    assert len(good) == 20
    assert "sample 20 (TypeError: samples must be images, texts or numbers" in good.notes[0]


@pytest.mark.parametrize("largest", [255, 4095])
def test_16_bits_that_would_be_nearly_black_are_asked_about(largest, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(4):
        (tmp_path / f"c{i % 2}").mkdir(exist_ok=True)
        array = rng.integers(0, largest + 1, (32, 32)).astype(np.uint16)
        array[0, 0] = largest
        Image.fromarray(array).save(tmp_path / f"c{i % 2}" / f"{i}.png")
    bits = largest.bit_length()
    with pytest.raises(ValueError, match=rf"no value above {largest} of 65535.*say .*bits={bits}"):
        hubfast.rank({"m": lambda images: np.ones((len(images), 2))}, tmp_path, progress=False)
    said = readable(as_target_data(tmp_path, bits=bits), progress=False)
    assert np.asarray(said[0]).max() == 255
    assert np.asarray(readable(as_target_data(tmp_path, bits=16), progress=False)[0]).max() < 17
    arrays = (np.full((4, 8, 8), largest, np.uint16), np.arange(4) % 2)
    with pytest.raises(ValueError, match=r"would be nearly black"):
        readable(as_target_data(arrays), progress=False)


def test_the_command_line_says_bits(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for i in range(6):
        (tmp_path / "x" / f"c{i % 2}").mkdir(parents=True, exist_ok=True)
        array = rng.integers(0, 4096, (16, 16)).astype(np.uint16)
        Image.fromarray(array).save(tmp_path / "x" / f"c{i % 2}" / f"{i}.png")
    np.save(tmp_path / "stored.npy", rng.random((6, 3)))
    command = ["hubfast", "rank", str(tmp_path / "stored.npy"), "--data", str(tmp_path / "x")]
    monkeypatch.setattr("sys.argv", [*command, "--quiet"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "or --bits 12" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr("sys.argv", [*command, "--bits", "12", "--background", "black", "--quiet"])
    with pytest.raises(SystemExit, match="0"):
        main()


def test_held_out_data_is_read_as_the_training_data(tmp_path):
    from hubfast.tuning.parts import Parts

    for i in range(4):
        (tmp_path / f"c{i % 2}").mkdir(exist_ok=True)
        array = np.full((8, 8), 2048, np.uint16)
        Image.fromarray(array).save(tmp_path / f"c{i % 2}" / f"{i}.png")
    train = as_target_data(tmp_path, bits=12, background="black")
    parts = Parts.of(train, tmp_path, str(tmp_path), progress=False)
    for part in (parts.train, *parts.held_out.values()):
        assert part.pixels == train.pixels
        assert np.asarray(part[0]).max() == 128
    bright = (np.full((4, 8, 8), 4000 * 16, np.uint16), [0, 1] * 2)
    with pytest.raises(ValueError, match=r"validation data: .*would be nearly black; say bits=12"):
        Parts.of(bright, tmp_path, None, progress=False)


def test_the_rule_stays_with_parts_of_the_data():
    data = as_target_data((np.full((8, 4, 4), 4095, np.uint16), np.arange(8) % 2), bits=12)
    for part in (*data.split(0.5), data.sample(4), readable(data, progress=False)):
        assert np.asarray(part[0]).min() == 255
    assert isinstance(data, TargetData)
