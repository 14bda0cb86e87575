import pytest
import torch

from hubfast.hub import as_source
from hubfast.hub.memory import within_memory
from hubfast.ranking import rank

FULL = torch.OutOfMemoryError("CUDA out of memory")


def small_memory(limit, error=FULL):
    """A model that has room for `limit` samples."""

    def run(inputs):
        images = inputs["images"] if isinstance(inputs, dict) else inputs
        if len(images) > limit:
            raise error
        return images * 2, images + 1

    return run


@pytest.mark.parametrize("limit", [1, 2, 3, 6])
@pytest.mark.parametrize(
    "error",
    [
        FULL,
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_same_result_in_parts(limit, error):
    images = torch.arange(14.0).view(7, 2)
    with pytest.warns(UserWarning, match="out of memory") as seen:
        features, logits = within_memory(small_memory(limit, error), images)
    assert "with 7 samples in a batch: going on with 3" in str(seen[0].message)
    assert torch.equal(features, images * 2)
    assert torch.equal(logits, images + 1)


def test_mappings_and_lists_are_cut():
    images = torch.arange(4.0)
    with pytest.warns(UserWarning, match="going on with 2"):
        features, _ = within_memory(small_memory(2), {"images": images, "names": list("abcd")})
    assert torch.equal(features, images * 2)


def test_one_sample_too_many_is_an_error():
    with pytest.warns(UserWarning, match="out of"), pytest.raises(torch.OutOfMemoryError):
        within_memory(small_memory(0), torch.zeros(2))


def test_other_errors_are_not_retried():
    with pytest.raises(RuntimeError, match="shape"):
        within_memory(small_memory(1, RuntimeError("shape mismatch")), torch.zeros(2))


@pytest.mark.filterwarnings("always:out of memory")
def test_a_ranking_goes_on():
    torch.manual_seed(0)
    images, targets = torch.rand(12, 5), torch.arange(12) % 2

    def cramped(batch):
        if len(batch) > 3:
            raise FULL
        return batch.square()

    hub = [as_source(cramped, name="cramped"), as_source(torch.square, name="roomy")]
    ranking = rank(hub, (images, targets), batch_size=8, progress=False)
    (note,) = ranking.notes
    assert note.startswith("warning from cramped: out of memory")
    scores = {m.name: m.score for m in ranking.models}
    assert scores["cramped"] == scores["roomy"]
