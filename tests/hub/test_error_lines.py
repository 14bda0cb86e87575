"""An error on one line is the line that says why."""

import numpy as np
import pytest
import torch
from torch import nn

from hubfast import rank
from hubfast.hub.errors import one_line


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("plain", "ValueError: plain"),
        ("", "ValueError"),
        ("\n\n  first \nsecond", "ValueError: first"),
        ("\x1b[1mbold\x1b[0m and \x1b[31;1mred\x1b[0m", "ValueError: bold and red"),
        ("Error(s) in it:\n\tmissing a\n\tmissing b", "ValueError: Error(s) in it: missing a"),
        ("raised:\nRuntimeError: no compiler", "ValueError: raised: RuntimeError: no compiler"),
        ("Load failed. Two options\n(1) a\nWeightsUnpickler error: no\nsee", "error: no"),
        (
            'Caught it in a worker\nTraceback (most recent call last):\n  File "a", line 1\n'
            "    f()\nOSError: image is truncated",
            "ValueError: OSError: image is truncated",
        ),
        (
            "Exception encountered when calling Dense.call().\n\n\x1b[1mInput is too small\x1b[0m",
            "Dense.call(). Input is too small",
        ),
    ],
)
def test_the_line_that_says_why(message, expected):
    line = one_line(ValueError(message))
    assert expected in line
    assert "\n" not in line
    assert "\x1b" not in line


def test_a_bare_assertion_is_shown_as_it_is_written():
    def check(x):
        assert x > 2

    with pytest.raises(AssertionError) as caught:
        check(1)
    error = caught.value
    error.args = ()  # pytest adds a message
    assert one_line(error).startswith("AssertionError in test_error_lines.py, line ")
    assert one_line(error).endswith("assert x > 2")


def test_torchs_own_lines_end_up_in_the_row():
    class Strict(nn.Module):
        def forward(self, x):
            nn.Linear(2, 3).load_state_dict({"weight": torch.ones(3, 4), "bias": torch.ones(3)})

    data = torch.rand(8, 2), np.arange(8) % 2
    (row,) = rank({"strict": Strict()}, data, progress=False)
    assert "size mismatch for weight" in row.error
    assert "[3, 4]" in row.error
