"""Runs a source over the data of `tests/hub/conftest.py`."""

import torch

from hubfast.hub import Extraction

COUNT = 7  # samples


def run(source, data):
    """All features and logits of a source, and its parameters."""
    model = source.load()
    batches = list(model.batches(data, Extraction(batch_size=3, logits=True)))
    assert torch.equal(torch.cat([b.index for b in batches]), torch.arange(len(data)))
    logits = [b.logits for b in batches]
    features = torch.cat([b.features for b in batches])
    return features, None if logits[0] is None else torch.cat(logits), model.parameters


def prepared(data, transform):
    """The samples as a batch, each transformed."""
    return torch.stack([transform(data[i]) for i in range(len(data))])


def close(found, expected):
    """Asserts that features agree but for rounding."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
