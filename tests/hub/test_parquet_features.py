"""Stored features in Parquet files."""

import numpy as np
import pytest
from sources import COUNT, run

from hubfast import as_source, as_target_data

pytestmark = pytest.mark.usefixtures("offline")


def test_parquet_features(tmp_path):
    import pandas as pd

    features, logits = np.eye(COUNT)[:, :3] / 3, np.eye(COUNT)[:, :2]
    columns = {"features": list(features), "logits": list(logits), "id": list("abcdefg")}
    lists = pd.DataFrame(columns)
    lists.to_parquet(tmp_path / "lists.parquet")
    pd.DataFrame(features, columns=list("xyz")).to_parquet(tmp_path / "columns.parquet")
    lists.drop(columns="features").drop(columns="logits").to_parquet(tmp_path / "bad.parquet")
    targets = as_target_data(np.arange(COUNT) % 2)
    found, found_logits, _ = run(as_source(tmp_path / "lists.parquet"), targets)
    assert np.array_equal(found, features)
    assert np.array_equal(found_logits, logits)
    assert np.array_equal(run(as_source(tmp_path / "columns.parquet"), targets)[0], features)
    with pytest.raises(ValueError, match=r"must hold 'features' or numbers only, got .*'id'"):
        as_source(tmp_path / "bad.parquet").load()
