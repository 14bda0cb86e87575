"""What becomes of a network's outputs."""

import pytest
import torch
from sources import close

from hubfast.hub.outputs import log_probabilities, pooled, run_in_fixed_batches

pytestmark = pytest.mark.usefixtures("offline")


def test_outputs():
    logits = torch.randn(4, 3)
    close(log_probabilities(logits.softmax(1)), logits.log_softmax(1))
    assert log_probabilities(torch.tensor([[0.9, 0.8]])) is None
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert pooled(x).tolist() == [[5.5, 17.5]]
    assert pooled(x, channels_last=True).tolist() == [[10.0, 11.0, 12.0, 13.0]]
    assert pooled(x[0]).shape == (2, 4)
    seen = []

    def double(part):
        seen.append(len(part))
        return [2 * part]

    values = torch.arange(5.0)[:, None]
    assert torch.equal(run_in_fixed_batches(double, values, 2)[0], 2 * values)
    assert seen == [2, 2, 2]
    assert torch.equal(run_in_fixed_batches(double, values, None)[0], 2 * values)
