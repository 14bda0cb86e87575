"""What the tests of runs elsewhere share."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """Workers have one thread of torch each, and last bits may depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
