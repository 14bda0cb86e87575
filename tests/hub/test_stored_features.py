"""Stored features: numbers of every type in files of every format, listed where they are not."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from sources import run

from hubfast import as_source, as_target_data, rank
from hubfast.hub import Extraction, stored
from hubfast.hub.numbers import as_floats

COUNT = 8
VALUES = (np.random.default_rng(0).random((COUNT, 3)) * 200).round()
TARGETS = np.arange(COUNT) % 2
KINDS = ["f2", "f4", "f8", ">f2", ">f4", ">f8", np.longdouble, "u1", "u2", "u4", "u8", ">u2"]
KINDS += ["i1", "i2", "i4", "i8", ">i4"]
TENSORS = ["bfloat16", "float16", "float64", "float8_e4m3fn", "uint8", "uint16", "uint64", "int64"]


def features(path):
    source = as_source(path)
    batches = source.load().batches(as_target_data(TARGETS), Extraction())
    return torch.cat([b.features for b in batches])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_features_and_logits(tmp_path, suffix):
    features, logits = torch.randn(COUNT, 4), torch.randn(COUNT, 2)
    file = tmp_path / f"model{suffix}"
    match suffix:
        case ".npy":
            np.save(file, features.numpy())
        case ".npz":
            np.savez(file, features=features.numpy(), logits=logits.numpy())
        case _:
            save_file({"features": features, "logits": logits}, file)
    targets = as_target_data(TARGETS)
    source = as_source(file)
    assert source.name == "model"
    assert torch.equal(run(source, targets)[0], features)
    part = targets.subset(torch.tensor([5, 1]))
    assert torch.equal(run(source, part)[0], features[[5, 1]])
    found = run(source, targets)[1]
    assert found is None if suffix == ".npy" else torch.equal(found, logits)


def test_bad_files_are_named(tmp_path):
    targets = as_target_data(TARGETS)
    np.save(tmp_path / "short.npy", np.zeros((3, 2)))
    short = as_source(tmp_path / "short.npy")
    with pytest.raises(ValueError, match=r"a row for each of 8 samples, got 3"):
        run(short, targets)
    with pytest.raises(ValueError, match=r"has 3 rows, sample 6 is asked for"):
        run(short, targets.subset(torch.tensor([6])))
    np.save(tmp_path / "flat.npy", np.zeros(7))
    with pytest.raises(ValueError, match=r"features in .* must be \(N, D\), got \(7,\)"):
        as_source(tmp_path / "flat.npy").load()
    np.savez(tmp_path / "other.npz", x=np.zeros((7, 1)), y=np.zeros(7))
    with pytest.raises(ValueError, match=r"must hold 'features', got x, y"):
        as_source(tmp_path / "other.npz").load()
    with pytest.raises(FileNotFoundError, match=r"features not found"):
        as_source(tmp_path / "none.npy").load()
    np.save(tmp_path / "objects.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"Python objects"):
        as_source(tmp_path / "objects.npy").load()


class TestTypes:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("suffix", [".npy", ".npz"])
    def test_of_numpy(self, tmp_path, kind, suffix):
        path = (tmp_path / "f").with_suffix(suffix)
        values = (VALUES / 2).round().astype(kind)
        np.save(path, values) if suffix == ".npy" else np.savez(path, features=values)
        found = features(path)
        assert found.dtype in (torch.float32, torch.float64)
        assert torch.equal(found.double(), torch.from_numpy(values.astype(np.float64)))
        assert rank([path], TARGETS, progress=False)[0].error is None

    def test_booleans_are_zeros_and_ones(self, tmp_path):
        np.save(tmp_path / "f.npy", VALUES > 100)
        found = features(tmp_path / "f.npy")
        assert np.array_equal(found.numpy(), (VALUES > 100).astype(float))
        save_file({"features": torch.from_numpy(VALUES > 100)}, tmp_path / "f.safetensors")
        assert torch.equal(features(tmp_path / "f.safetensors"), found)

    @pytest.mark.parametrize("dtype", TENSORS)
    def test_of_safetensors(self, tmp_path, dtype):
        values = torch.from_numpy(VALUES).float().to(getattr(torch, dtype))
        save_file({"features": values}, tmp_path / "f.safetensors")
        found = features(tmp_path / "f.safetensors")
        assert torch.equal(found.double(), values.double())
        assert rank([tmp_path / "f.safetensors"], TARGETS, progress=False)[0].error is None

    @pytest.mark.parametrize("kind", ["float32", "uint16", "bool", "Int64", "float64[pyarrow]"])
    def test_of_parquet(self, tmp_path, kind):
        frame = pd.DataFrame(VALUES % 2, columns=list("abc")).astype(kind)
        frame.to_parquet(tmp_path / "f.parquet")
        assert np.array_equal(features(tmp_path / "f.parquet").numpy(), VALUES % 2)

    def test_large_unsigned_integers_stay_positive(self):
        values = np.array([[2**63 + 2**12, 1]], dtype=np.uint64)
        assert as_floats(values, "x").tolist() == [[float(2**63 + 2**12), 1.0]]

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            (VALUES + 1j, "real numbers, got dtype complex128"),
            (VALUES.astype("U5"), "real numbers, got dtype <U5"),
            (np.zeros(COUNT, dtype=[("a", "f4"), ("b", "f4")]), r"got fields \['a', 'b'\]"),
            (np.zeros((COUNT, 2), dtype="V2"), r"raw bytes \(\|V2\), as NumPy saves bfloat16"),
            (
                VALUES.astype(object),
                "must hold arrays of numbers and cannot be read: it holds Python objects",
            ),
        ],
        ids=["complex", "text", "fields", "bytes", "objects"],
    )
    def test_what_is_no_number_is_refused(self, tmp_path, values, said):
        np.save(tmp_path / "f.npy", values)
        with pytest.raises(ValueError, match=said):
            as_source(tmp_path / "f.npy").load()

    def test_complex_tensors_are_refused(self, tmp_path):
        save_file({"features": torch.zeros(COUNT, 2) + 1j}, tmp_path / "f.safetensors")
        with pytest.raises(ValueError, match=r"real numbers, got torch.complex64"):
            as_source(tmp_path / "f.safetensors").load()

    @pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".parquet"])
    @pytest.mark.parametrize("content", [b"", b"PK\3\4 cut off", b"\x10\0\0\0\0\0\0\0{"])
    def test_broken_files_are_named(self, tmp_path, suffix, content):
        path = (tmp_path / "f").with_suffix(suffix)
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"f\{suffix}.* cannot be read: \S"):
            as_source(path).load()

    def test_arrays_stay_on_the_disk(self, tmp_path):
        np.save(tmp_path / "f.npy", VALUES.astype(">f4"))
        assert isinstance(stored.read(tmp_path / "f.npy").features, np.memmap)


class TestNames:
    @pytest.mark.parametrize("name", ["arr_0", "embeddings", "features"])
    @pytest.mark.parametrize("logits", [True, False])
    @pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
    def test_the_only_array_is_taken(self, tmp_path, name, logits, suffix):
        arrays = {name: VALUES, **({"logits": VALUES[:, :2].copy()} if logits else {})}
        path = (tmp_path / "f").with_suffix(suffix)
        if suffix == ".npz":
            np.savez(path, **arrays)
        elif suffix == ".safetensors":
            save_file({key: torch.from_numpy(x) for key, x in arrays.items()}, path)
        else:
            pd.DataFrame({key: list(x) for key, x in arrays.items()}).to_parquet(path)
        assert np.array_equal(features(path).numpy(), VALUES)
        assert (as_source(path).load().logits is not None) == logits

    def test_what_there_is_is_listed(self, tmp_path):
        arrays = {"x": torch.ones(COUNT, 3), "y": torch.ones(COUNT)}
        np.savez(tmp_path / "f.npz", **{key: x.numpy() for key, x in arrays.items()})
        save_file(arrays, tmp_path / "f.safetensors")
        save_file(
            {"fc.weight": torch.ones(2), "fc.bias": torch.ones(2)}, tmp_path / "w.safetensors"
        )
        frame = pd.DataFrame({"x": list(VALUES), "y": list(VALUES), "id": list("abcdefgh")})
        frame.to_parquet(tmp_path / "f.parquet")
        for name, said in (
            ("f.npz", "must hold 'features', got x, y"),
            ("f.safetensors", r"got x \(8, 3\), y \(8,\)"),
            ("w.safetensors", r"these are a model's weights: timm:NAME@\S+w.safetensors"),
            ("f.parquet", r"got columns \['x', 'y', 'id'\]"),
        ):
            with pytest.raises(ValueError, match=said):
                as_source(tmp_path / name).load()

    def test_rows_of_parquet_are_named(self, tmp_path):
        path, rows = tmp_path / "f.parquet", list(VALUES)
        pd.DataFrame({"features": [*rows[:5], rows[5][:2], *rows[6:]]}).to_parquet(path)
        with pytest.raises(ValueError, match=r"one length, got \(3,\) in row 0, \(2,\) in row 5"):
            as_source(path).load()
        pd.DataFrame({"features": [*rows[:2], None, *rows[3:]]}).to_parquet(path)
        with pytest.raises(ValueError, match=r"lists of numbers, got None in row 2 \(1 such row"):
            as_source(path).load()


class TestMapsAndTokens:
    @pytest.mark.parametrize(
        ("shape", "axes", "said"),
        [
            ((COUNT, 4, 3), 1, "(8, 4, 3) are averaged over tokens to D = 3"),
            ((COUNT, 3, 5, 5), (2, 3), "(8, 3, 5, 5) are averaged over places to D = 3"),
            ((COUNT, 5, 5, 3), (1, 2), "(8, 5, 5, 3) are averaged over places to D = 3"),
            ((COUNT, 3, 1, 1), (2, 3), "(8, 3, 1, 1) are averaged over places to D = 3"),
        ],
    )
    def test_are_averaged_and_the_row_says_so(self, tmp_path, shape, axes, said):
        values = np.random.default_rng(1).random(shape)
        np.save(tmp_path / "f.npy", values)
        np.testing.assert_allclose(features(tmp_path / "f.npy").numpy(), values.mean(axes))
        assert rank([tmp_path / "f.npy"], TARGETS, progress=False)[0].note == f"features {said}"

    @pytest.mark.parametrize("shape", [(COUNT, 5, 5, 5), (COUNT, 3, 4, 5)])
    def test_of_unknown_layout_are_refused(self, tmp_path, shape):
        np.save(tmp_path / "f.npy", np.zeros(shape))
        with pytest.raises(ValueError, match="which axis holds the features cannot be told"):
            as_source(tmp_path / "f.npy").load()

    def test_tokens_in_parquet(self, tmp_path):
        values = np.random.default_rng(1).random((COUNT, 4, 3))
        pd.DataFrame({"features": [x.tolist() for x in values]}).to_parquet(tmp_path / "f.parquet")
        np.testing.assert_allclose(features(tmp_path / "f.parquet").numpy(), values.mean(1))
