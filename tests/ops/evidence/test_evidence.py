import math

import pytest
import torch
from torch.testing import assert_close

from hubfast import ops
from hubfast.ops import reference
from hubfast.ops.backends import missing
from hubfast.ops.reference import T_FLOOR

BACKENDS = [
    "torch",
    pytest.param(
        "native",
        marks=pytest.mark.skipif(
            missing("native") is not None, reason="the native core was not built"
        ),
    ),
]
# (k, C, n): one direction, fewer than, as many as and more samples than directions, no vector width
SHAPES = [(1, 1, 2), (3, 2, 3), (7, 1, 40), (64, 5, 100), (65, 3, 80)]


def spectral_input(k, columns, count, spread=3.0):
    eigenvalues = (torch.randn(k, dtype=torch.float64) * spread).exp().sort().values
    noise_and_signal = 1 + eigenvalues[:, None]
    energy = torch.rand(k, columns, dtype=torch.float64) * noise_and_signal
    residual = torch.rand(columns, dtype=torch.float64) + 0.1 if count > k else torch.zeros(columns)
    return eigenvalues, energy, residual.double(), count


def dense_scan(eigenvalues, energy, residual, count):
    """The best value on a fine grid, wider than the search's own."""
    t = torch.linspace(-60, 60, 24001, dtype=torch.float64).exp() * eigenvalues.max()
    return reference.profile_evidence(t, eigenvalues, energy, residual, count).max(0).values


def test_profile_by_hand():
    # One sample, one feature: K = 1/beta + lambda/alpha, whatever t, beta makes K = y^2.
    one = torch.ones(1, dtype=torch.float64)
    value = reference.profile_evidence(one, one, 4 * one[:, None], 0 * one, 1)
    assert_close(value.item(), -0.5 * (1 + math.log(2 * math.pi) + math.log(4.0)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_maximum_beats_dense_scan(shape, backend):
    args = spectral_input(*shape)
    found = ops.evidence(*args, backend=backend)
    scanned = dense_scan(*args)
    assert bool((found.value >= scanned - 1e-12).all())
    assert_close(found.value, scanned, rtol=0, atol=1e-4)  # the scan's own step


@pytest.mark.parametrize("backend", BACKENDS)
def test_value_belongs_to_t(backend):
    args = spectral_input(30, 4, 100)
    found = ops.evidence(*args, backend=backend)
    for c in range(4):
        at_t = reference.profile_evidence(found.t[c : c + 1], *args)
        assert_close(found.value[c], at_t[0, c], rtol=1e-13, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(7, 3, 40), (64, 5, 70), (20, 2, 20)], ids=str)
def test_fixed_point_of_algorithm_3_agrees(shape, backend):
    eigenvalues, energy, residual, count = spectral_input(*shape, spread=1.0)
    energy *= 5
    found = ops.evidence(eigenvalues, energy, residual, count, backend=backend)
    for c in range(energy.shape[1]):
        point = reference.fixed_point(
            eigenvalues, energy[:, c], float(residual[c]), count, steps=20000, tolerance=1e-14
        )
        assert found.value[c].item() == pytest.approx(point.value, rel=1e-9)
        assert found.t[c].item() == pytest.approx(point.t, rel=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_signal_t_is_infinite(backend):
    eigenvalues = torch.tensor([1.0, 2.0], dtype=torch.float64)
    energy = torch.zeros(2, 1, dtype=torch.float64)
    found = ops.evidence(eigenvalues, energy, torch.ones(1).double(), 10, backend=backend)
    assert found.t.item() == math.inf
    assert found.quadratic.item() == 1.0
    assert found.value.item() == pytest.approx(-0.5 * (1 + math.log(2 * math.pi / 10)))


def test_no_directions_at_all():
    empty = torch.zeros(3, dtype=torch.float64)
    found = ops.evidence(empty, torch.zeros(3, 1).double(), torch.ones(1).double(), 4)
    assert found.t.item() == math.inf


@pytest.mark.parametrize("backend", BACKENDS)
def test_limit_at_zero(backend):
    """k = n and energies along lambda: no noise explains the targets best, t -> 0."""
    eigenvalues = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
    found = ops.evidence(
        eigenvalues, eigenvalues[:, None], torch.zeros(1).double(), 3, backend=backend
    )
    exact = -0.5 * (1 + math.log(2 * math.pi)) - math.log(36.0) / 6
    assert found.value.item() == pytest.approx(exact, abs=1e-12)
    assert found.t.item() < 2 * T_FLOOR


@pytest.mark.parametrize("backend", BACKENDS)
def test_zeros_stand_for_dropped_directions(backend):
    eigenvalues, energy, residual, count = spectral_input(9, 2, 30)
    padded = torch.cat([torch.zeros(4).double(), eigenvalues])
    padded_energy = torch.cat([torch.zeros(4, 2).double(), energy])
    plain = ops.evidence(eigenvalues, energy, residual, count, backend=backend)
    same = ops.evidence(padded, padded_energy, residual, count, backend=backend)
    for a, b in zip(plain, same, strict=True):
        assert_close(a, b, rtol=1e-13, atol=0)


def test_two_maxima_the_higher_one_is_found():
    """A strong narrow direction and a broad weak one make L bimodal in t."""
    eigenvalues = torch.tensor([1e-6] * 40 + [1e6], dtype=torch.float64)
    energy = torch.full((41, 1), 0.02, dtype=torch.float64)
    energy[-1] = 5.0
    for residual in (1e-3, 1e-2, 0.1, 1.0):
        args = (eigenvalues, energy, torch.tensor([residual], dtype=torch.float64), 60)
        assert ops.evidence(*args).value >= dense_scan(*args) - 1e-12


def test_bad_input_is_named():
    eigenvalues, energy, residual, count = spectral_input(5, 2, 9)
    with pytest.raises(TypeError, match=r"energy must be float64, got torch\.float32"):
        ops.evidence(eigenvalues, energy.float(), residual, count)
    with pytest.raises(ValueError, match=r"energy must have shape \(5, any\), got \(4, 2\)"):
        ops.evidence(eigenvalues, energy[1:], residual, count)
    with pytest.raises(ValueError, match=r"count must be at least 1, got 0"):
        ops.evidence(eigenvalues, energy, residual, 0)
    with pytest.raises(ValueError, match=r"backend must be one of .* got 'triton'"):
        ops.evidence(eigenvalues, energy, residual, count, backend="triton")


def rival_peaks(high):
    """Columns with two maxima of the evidence far apart, the order of which changes on the way."""
    eigenvalues = torch.tensor([-7.0, high], dtype=torch.float64).exp().repeat_interleave(30)
    residual = torch.full((201,), 30.0, dtype=torch.float64)
    low_energy, balance = torch.full((30, 201), 3.0), torch.linspace(2.2, 4.5, 201)
    energy = torch.cat([low_energy, balance.expand(30, 201)]).double()
    return eigenvalues, energy, residual, 400


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("high", [6.9, 7.0, 7.1, 7.2, 7.3])
def test_the_higher_of_two_peaks_is_found(high, backend):
    """Whatever order they seem to have on the grid."""
    args = rival_peaks(high)
    t = torch.linspace(-16, 16, 12801, dtype=torch.float64).exp()
    values = reference.profile_evidence(t, *args)
    low, high = values[:6400].max(0).values, values[6400:].max(0).values
    assert bool((low > high).any())
    assert bool((low < high).any())
    found = ops.evidence(*args, backend=backend)
    assert_close(found.value, torch.maximum(low, high), rtol=0, atol=1e-6)
    clear = (low - high).abs() > 1e-6
    assert torch.equal(found.t[clear] < 1, (low > high)[clear])
