"""Hub-Pathway's kernels against float64 for shapes, ties and memory orders that hypothesis draws.

Expected values are NumPy's, and autograd's of plain torch.
"""

import numpy as np
import pytest
import torch
from drawn_tensors import DEVICE, DTYPES, ORDERS, drawn, laid_out, normal, within_rounding
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("triton", reason="triton is not installed")


@st.composite
def choices(draw):
    """Numbers of samples, models and chosen models: one of each, all of 64, none of the samples."""
    models = draw(st.sampled_from((1, 2, 3, 5, 8, 17, 64)))
    k = draw(st.sampled_from(sorted({1, min(2, models), min(3, models), models})))
    return draw(st.sampled_from((0, 1, 2, 5, 16, 33))), models, k


def routed(logits: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """Where samples go by their logits, by NumPy in float64."""
    samples, models = logits.shape
    chosen = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    weights = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = weights / weights.sum(1, keepdims=True)
    gates = np.take_along_axis(probabilities, chosen, 1)
    if k > 1:
        gates = gates / gates.sum(1, keepdims=True)
    counts = np.bincount(chosen.ravel(), minlength=models)
    order = np.argsort(chosen.ravel(), kind="stable")
    position = np.empty_like(order)
    position[order] = np.arange(samples * k)
    mean = probabilities.sum(0) / max(samples, 1)
    mean = np.maximum(mean, np.finfo(np.float32).tiny)
    own = -(probabilities * np.log(probabilities)).sum() / max(samples, 1)
    return {
        "gates": gates,
        "probabilities": probabilities,
        "entropy": np.array([own, -(mean * np.log(mean)).sum()]),
        "chosen": chosen,
        "counts": counts,
        "offsets": np.concatenate([[0], np.cumsum(counts)]),
        "order": order,
        "position": position.reshape(samples, k),
    }


@drawn
@given(
    sizes=choices(),
    orders=st.tuples(*[st.sampled_from(ORDERS)] * 3),
    dtype=st.sampled_from(DTYPES),
    noisy=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_route(sizes, orders, dtype, noisy, seed):
    from hubfast.kernels.route import route

    samples, models, k = sizes
    logits, spread, noise = (
        laid_out(value, order)
        for value, order in zip(normal(seed, *[(samples, models)] * 3), orders, strict=True)
    )
    exact = logits
    if noisy:
        exact = logits + torch.nn.functional.softplus(spread) * noise
        exact = exact.float().double()  # ties are those of float32
    given = [
        laid_out(value.to(dtype), order)
        for value, order in zip((logits, spread, noise), orders, strict=True)
    ]
    found = route(given[0], k, *(given[1:] if noisy else (None, None)))
    expected = routed(exact.cpu().numpy(), k) if samples else routed(np.zeros((0, models)), k)
    for one, (name, value) in zip(found, expected.items(), strict=True):
        value = torch.as_tensor(value, device=DEVICE)
        if one.is_floating_point():
            within_rounding(one, value, 1.0)
        else:
            assert torch.equal(one, value), name


def objective(logits, spread, noise, chosen, wanted):
    """What `wanted` weighs of the gates, probabilities and entropies, in float64."""
    h = logits if noise is None else logits + torch.nn.functional.softplus(spread) * noise
    p = h.softmax(1)
    selected = h.gather(1, chosen)
    gates = p.gather(1, chosen) if chosen.shape[1] == 1 else selected.softmax(1)
    mean = p.mean(0).clamp(min=torch.finfo(torch.float32).tiny)
    log = h.log_softmax(1)
    entropy = torch.stack([-(p * log).sum() / len(h), -(mean * mean.log()).sum()])
    return sum((a * b).sum() for a, b in zip((gates, p, entropy), wanted, strict=True))


@drawn
@given(
    sizes=choices(),
    orders=st.tuples(*[st.sampled_from(ORDERS)] * 2),
    noisy=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_route_backward(sizes, orders, noisy, seed):
    from hubfast.kernels.route import route
    from hubfast.kernels.route_backward import route_backward

    samples, models, k = sizes
    shape = (samples, models)
    logits, spread, noise, *wanted = normal(seed, *[shape] * 3, (samples, k), shape, (2,))
    spread, noise = (
        laid_out(one, order) for one, order in zip((spread, noise), orders, strict=True)
    )
    if not noisy:
        spread = noise = None
    single = [None if one is None else one.float() for one in (spread, noise)]
    gates, probabilities, _, chosen, *_ = route(logits.float(), k, *single)
    arguments = [one.float() for one in wanted]
    found = route_backward(*arguments, gates, probabilities, chosen, *single)
    if not samples:
        assert [one.shape for one in found] == [shape, shape]
        return
    values = [one.clone().requires_grad_() for one in ((logits, spread) if noisy else (logits,))]
    both = (*values, noise) if noisy else (*values, None, None)
    expected = torch.autograd.grad(objective(*both, chosen, wanted), values)
    if not noisy:
        expected = (*expected, torch.zeros(shape, dtype=torch.float64, device=DEVICE))
    size = 1 + sum(one.abs().max() for one in wanted)
    for one, exact in zip(found, expected, strict=True):
        within_rounding(one, exact, size * (1 + (noise.abs().max() if noisy else 0)))


def maps_of(seed: int, samples: int, models: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`order` and `position` of samples that go to k random models each."""
    generator = np.random.default_rng(seed)
    chosen = [generator.permutation(models)[:k] for _ in range(samples)]
    order = np.argsort(np.array(chosen, np.int64).reshape(-1), kind="stable")
    position = np.empty_like(order)
    position[order] = np.arange(samples * k)
    return (torch.as_tensor(one, device=DEVICE) for one in (order, position.reshape(samples, k)))


@drawn
@given(
    sizes=choices(),
    shape=st.sampled_from(
        ((1,), (7,), (3, 5), (1, 1, 1), (3, 4, 6), (2, 9, 1), (1025,), (5, 17, 23))
    ),
    order=st.sampled_from(ORDERS),
    part=st.tuples(*[st.floats(0, 1)] * 2),
    dtypes=st.tuples(*[st.sampled_from(DTYPES)] * 2),
    seed=st.integers(0, 2**16),
)
def test_dispatch(sizes, shape, order, part, dtypes, seed):
    from hubfast.kernels.dispatch import dispatch, dispatch_backward

    samples, models, k = sizes
    k = min(k, 8)  # a kernel repeats its code for each
    places, position = maps_of(seed, samples, models, k)
    start, stop = sorted(round(one * samples * k) for one in part)
    values, d_values = normal(seed, (samples, *shape), (stop - start, *shape))
    batch = laid_out(values.to(dtypes[0]), order)
    rows = dispatch(batch, places, k, start, stop, dtypes[1])
    expected = batch.to(dtypes[1])[places[start:stop] // k]
    assert torch.equal(rows, expected)
    assert rows.dtype == dtypes[1]
    if rows.numel() and rows.ndim == 4:
        assert rows.is_contiguous(memory_format=torch.channels_last)
    d_rows = laid_out(d_values.to(dtypes[1]), order)
    found = dispatch_backward(d_rows, position, start, dtypes[0])
    exact, summed = (
        torch.zeros((samples, *shape), dtype=torch.float64, device=DEVICE) for _ in "ab"
    )
    exact.index_add_(0, places[start:stop] // k, d_rows.double())
    summed.index_add_(0, places[start:stop] // k, d_rows.double().abs())
    within_rounding(found, exact, summed)


@drawn
@given(
    sizes=choices(),
    width=st.sampled_from((0, 1, 2, 10, 37, 1024, 1025)),
    orders=st.tuples(*[st.sampled_from(ORDERS)] * 3),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
def test_combine(sizes, width, orders, dtype, seed):
    from hubfast.kernels.dispatch import combine, combine_backward

    samples, models, k = sizes
    k = min(k, 8)  # a kernel repeats its code for each
    _, position = maps_of(seed, samples, models, k)
    shapes = ((samples * k, width), (samples, k), (samples, width))
    exact = [
        laid_out(value, order) for value, order in zip(normal(seed, *shapes), orders, strict=True)
    ]
    rows, gates, d_out = (
        laid_out(value.to(one), order)
        for value, order, one in zip(exact, orders, (dtype, torch.float32, dtype), strict=True)
    )
    found = (combine(rows, gates, position), *combine_backward(d_out, rows, gates, position))

    def expected(rows, gates, d_out):
        chosen = rows[position]  # (B, k, E)
        d_rows = torch.empty_like(rows, memory_format=torch.contiguous_format)
        d_rows[position] = gates[:, :, None] * d_out[:, None]
        return (gates[:, :, None] * chosen).sum(1), d_rows, (chosen * d_out[:, None]).sum(2)

    truth, summed = expected(*exact), expected(*(one.abs() for one in exact))
    for triple in zip(found, truth, summed, strict=True):
        within_rounding(*triple)
