"""The CUDA core: its arithmetic on the host, its kernels compiled, and, on a GPU, run."""

import contextlib
import ctypes
import inspect
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import hubfast
from hubfast import ops
from hubfast.ops import reference
from hubfast.ops.backends import missing
from hubfast.ops.evidence import cuda
from hubfast.ops.linalg import cusolver
from hubfast.scores import LogME, fit_hub

ROOT = Path(__file__).parents[2]
HOME = os.environ.get("CUDA_HOME")
NVCC = str(Path(HOME) / "bin" / "nvcc") if HOME else shutil.which("nvcc")
on_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or missing("cuda") is not None,
    reason="needs a GPU and the CUDA core",
)


@pytest.fixture(scope="module")
def host_library(tmp_path_factory):
    """csrc/evidence_search.hpp, compiled for this CPU."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    target = tmp_path_factory.mktemp("host") / "evidence.so"
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", f"-I{ROOT / 'csrc'}"]
    source = ROOT / "tests/ops/evidence/evidence_host.cpp"
    subprocess.run([compiler, *flags, str(source), "-o", str(target)], check=True)
    library = ctypes.CDLL(str(target))
    pointer, number = ctypes.c_void_p, ctypes.c_double
    for function in (library.evidence, library.climb):
        function.argtypes = (pointer, pointer, ctypes.c_int, number, number, pointer, pointer)
    return library


def call(function, eigenvalues, energy, residual, count, out):
    """One column by `function` of the host's library, into `out`: 1 if it converged."""
    energy, options = energy.contiguous(), cuda.Settings(*cuda.settings())
    sizes = (len(eigenvalues), float(residual), count)
    addresses = (eigenvalues.data_ptr(), energy.data_ptr())
    return function(*addresses, *sizes, ctypes.byref(options), out.data_ptr())


@pytest.fixture(scope="module")
def host(host_library):
    """The search as a function of tensors."""

    def search(eigenvalues, energy, residual, count):
        out = torch.empty(energy.shape[1], 3, dtype=torch.float64)
        for c, row in enumerate(out):
            args = (eigenvalues, energy[:, c], residual[c], count, row)
            assert call(host_library.evidence, *args) == 1
        return reference.EvidenceMaximum(*out.unbind(1))

    return search


def assert_same(found, expected):
    assert_close(found.value, expected.value, rtol=1e-12, atol=1e-13)
    assert_close(found.t, expected.t, rtol=1e-6, atol=0)  # the maximum is flat
    assert_close(found.quadratic, expected.quadratic, rtol=1e-6, atol=0)


def problem(k, columns, count, zero_residual=False, dropped=0):
    eigenvalues = (torch.randn(k, dtype=torch.float64) * 2).exp().sort().values
    energy = torch.rand(k, columns, dtype=torch.float64) * (1 + eigenvalues[:, None])
    eigenvalues[:dropped], energy[:dropped] = 0, 0
    residual = torch.rand(columns, dtype=torch.float64) + 0.1
    return eigenvalues, energy, residual * (not zero_residual), count


CASES = {
    "one direction": {"k": 1, "columns": 1, "count": 2},
    "odd": {"k": 65, "columns": 5, "count": 100},
    "past a block": {"k": 1025, "columns": 2, "count": 3000},
    "dropped": {"k": 40, "columns": 3, "count": 60, "dropped": 7},
    "k = n, nothing left over": {"k": 12, "columns": 3, "count": 12, "zero_residual": True},
    "k < n, nothing left over": {"k": 12, "columns": 3, "count": 30, "zero_residual": True},
    "all dropped": {"k": 5, "columns": 2, "count": 9, "dropped": 5},
    "no directions": {"k": 0, "columns": 2, "count": 9},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_host_search_equals_reference(host, case):
    args = problem(**case)
    assert_same(host(*args), reference.evidence(*args))


def test_host_search_finds_the_higher_of_two_peaks(host):
    """Two groups of directions, far apart, each with a signal of its own."""
    eigenvalues = torch.tensor([1e-6] * 30 + [1e6] * 30, dtype=torch.float64)
    strengths = torch.logspace(-3, 3, 25, dtype=torch.float64)
    energy = torch.ones(60, 25, dtype=torch.float64)
    energy[:30] *= strengths
    residual = torch.full((25,), 1e-3, dtype=torch.float64)
    args = (eigenvalues, energy, residual, 100)
    assert_close(host(*args).value, reference.evidence(*args).value, rtol=1e-12, atol=1e-13)


@given(
    k=st.integers(1, 30),
    extra=st.integers(0, 50),
    spread=st.floats(0, 8),
    noise=st.floats(1e-8, 10),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_host_search_is_never_lower(host, k, extra, spread, noise, seed):
    make = torch.Generator().manual_seed(seed)
    eigenvalues = (torch.randn(k, generator=make, dtype=torch.float64) * spread).exp()
    energy = torch.rand(k, 3, generator=make, dtype=torch.float64)
    residual = torch.full((3,), noise, dtype=torch.float64)
    args = (eigenvalues, energy, residual, k + extra)
    assert_close(host(*args).value, reference.evidence(*args).value, rtol=1e-10, atol=1e-11)


@given(
    k=st.integers(1, 70),
    count=st.integers(1, 200),
    spread=st.sampled_from([0.0, 0.5, 3.0, 8.0]),
    noise=st.sampled_from([0.0, 1e-9, 1.0, 100.0]),
    strength=st.sampled_from([0.0, 1.0]),
    start=st.floats(-30, 30),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=200, deadline=None)
def test_host_climb_is_the_reference_climb(
    host_library, k, count, spread, noise, strength, start, seed
):
    make = torch.Generator().manual_seed(seed)
    eigenvalues = (torch.randn(k, generator=make, dtype=torch.float64) * spread).exp()
    energy = strength * torch.rand(k, 1, generator=make, dtype=torch.float64)
    residual = torch.full((1,), noise, dtype=torch.float64)
    assume(strength or noise)  # y = 0 has no evidence
    args = (eigenvalues, energy, residual, count)
    out = torch.tensor([[start, 0, 0]], dtype=torch.float64)
    assert call(host_library.climb, *args[:2], noise, count, out) == 1
    value, t, quadratic = out[0].split(1)
    expected = reference.climb(torch.full((1,), start, dtype=torch.float64), *args)
    assert_close(value, expected.value, rtol=1e-12, atol=1e-13)
    # Where L is flat any t is as good: value and Q must belong to the one found.
    at_t = (energy * (t / (t + eigenvalues[:, None]))).sum(0) + residual
    assert_close(value, reference.profile_evidence(t, *args)[0], rtol=1e-12, atol=1e-13)
    assert_close(quadratic, at_t, rtol=1e-12, atol=0)


def test_host_search_of_pure_noise_is_silent(host):
    found = host(*(x.double() for x in (torch.ones(3), torch.zeros(3, 1), torch.ones(1))), 50)
    assert math.isinf(float(found.t))


@pytest.mark.skipif(NVCC is None, reason="no nvcc: CUDA_HOME is not set, none is on the path")
@pytest.mark.parametrize("capability", [80, 90, 100])
def test_compiles_without_a_gpu(capability, tmp_path):
    """Nothing is spilled, and at least 4 blocks (16 warps) fit on a multiprocessor."""
    command = [NVCC, "-std=c++17", "-O3", "-cubin", f"-arch=sm_{capability}", "-Xptxas=-v"]
    command += [str(ROOT / "csrc/cuda_evidence.cu"), "-o", str(tmp_path / "kernel.cubin")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = done.stderr
    assert len(re.findall(r"0 bytes spill stores, 0 bytes spill loads", report)) == 2, report
    registers = [int(number) for number in re.findall(r"Used (\d+) registers", report)]
    shared = [int(number) for number in re.findall(r"(\d+) bytes smem", report)]
    assert len(registers) == len(shared) == 2
    assert max(registers) * 128 * 4 <= 65536
    assert max(shared) * 4 <= 100 * 1024  # the least that these cards have, and their successors


@pytest.fixture
def core_at(monkeypatch, tmp_path):
    """A path of the core's, where a test may leave a file."""
    monkeypatch.setattr(cuda, "PATH", tmp_path / "_cuda.so")
    cuda.library.cache_clear()
    missing.cache_clear()
    yield tmp_path / "_cuda.so"
    cuda.library.cache_clear()
    missing.cache_clear()


def test_the_core_lies_beside_the_package():
    assert Path(hubfast.__file__).with_name("_cuda.so") == cuda.PATH


def test_a_core_that_was_not_built_is_named(core_at):
    with pytest.raises(ModuleNotFoundError, match=rf"CUDA core was not built \(no {core_at.name}"):
        cuda.library()
    assert "not built" in missing("cuda")


def test_a_broken_core_is_not_taken_for_a_missing_one(core_at):
    core_at.write_text("no library")
    with pytest.raises(OSError, match=r"_cuda\.so"):
        missing("cuda")


@pytest.mark.skipif(missing("cuda") is not None, reason="the CUDA core was not built")
def test_the_core_loads_without_a_gpu():
    assert {"sm_80", "sm_90", "sm_100"} <= set(cuda.architectures())
    core = cuda.library()
    assert core.hubfast_cuda_models() == cuda.MODELS
    assert core.hubfast_cuda_error(0) == b"no error"


def test_a_missing_core_is_refused(monkeypatch):
    missing = {"torch": None}
    monkeypatch.setattr("hubfast.ops.backends.missing", lambda name: missing.get(name, "no"))
    args = problem(3, 2, 9)
    with pytest.raises(ValueError, match=r"must be one of \['torch'\] .* got 'cuda'"):
        ops.evidence(*args, backend="cuda")


class FakeCore:
    """The CUDA core's climb as its header declares it, by the host's library."""

    def __init__(self, host_library):
        self.climb, self.failing = host_library.climb, 0

    def hubfast_climb(
        self, device, values, energy, residual, starts, k, columns, count, options, out, missed, _
    ):
        assert device == 0
        found = _array(out, ctypes.c_double, (3, columns))
        for c, row in enumerate(np.empty((columns, 3))):
            row[0] = _array(starts, ctypes.c_double, (columns,))[c]
            rest = _array(residual, ctypes.c_double, (columns,))[c]
            where = (values, energy + 8 * k * c, k, rest, count)
            converged = self.climb(*where, ctypes.byref(options), row.ctypes.data)
            found[:, c] = row
            _array(missed, ctypes.c_int, (columns,))[c] = not converged
        _array(missed, ctypes.c_int, (columns,))[: self.failing] = 1
        return 0


def _array(address, kind, shape):
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(kind)), shape)


@pytest.fixture
def fake_core(host_library, monkeypatch):
    """The core's calls on tensors of the CPU, which stands for GPU 0."""
    core = FakeCore(host_library)
    monkeypatch.setattr(cuda, "library", lambda: core)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    stream = SimpleNamespace(cuda_stream=None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    return core


class OnGPU(torch.Tensor):
    """A tensor of the CPU that says it is on GPU 0."""

    device = torch.device("cuda", 0)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_climbs_of_the_core_give_the_evidence(case, fake_core, monkeypatch):
    monkeypatch.setattr(cuda, "_room", lambda n, _: (torch.empty(3, n).double(), _ints(n)))
    args = problem(**case)

    def find(log_t, eigenvalues, energy, residual, count):
        return cuda.climb(log_t, eigenvalues, energy.as_subclass(OnGPU), residual, count)

    assert_same(reference.evidence(*args, find), reference.evidence(*args))
    if (args[0] > 0).any():
        fake_core.failing = 1
        with pytest.raises(RuntimeError, match="did not converge for 1 columns"):
            reference.evidence(*args, find)


def _ints(count):
    return torch.empty(count, dtype=torch.int32)


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ({"energy": torch.ones(3, 2)}, TypeError, "vit: energy must be float64"),
        ({"residual": torch.ones(3).double()}, ValueError, r"vit: residual .* \(2\), got \(3,\)"),
        ({"count": 0}, ValueError, "vit: count must be at least 1, got 0"),
        ({"residual": torch.ones(2, device="meta").double()}, ValueError, "vit: residual .* meta"),
    ],
)
def test_a_batch_is_checked_before_the_core_gets_addresses(bad, error, words):
    good = ops.EvidenceInputs(*problem(3, 2, 9))
    with pytest.raises(error, match=words):
        ops.evidence_batch([good, good._replace(**bad)], names=["resnet", "vit"], backend="cuda")


@on_gpu
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_cuda_equals_reference(case):
    args = problem(**case)
    on_device = [x.cuda() if torch.is_tensor(x) else x for x in args]
    found = ops.evidence(*on_device, backend="cuda")
    assert_same(reference.EvidenceMaximum(*(x.cpu() for x in found)), reference.evidence(*args))


@on_gpu
def test_cuda_models_of_different_widths_in_several_launches():
    hub = [problem(5 + m, 1 + m % 4, 200 + m) for m in range(70)]
    on_device = [ops.EvidenceInputs(*(x.cuda() for x in p[:3]), p[3]) for p in hub]
    maxima, missed = cuda.evidence(on_device)
    again, _ = cuda.evidence(on_device)
    assert not any(int(where.sum()) for where in missed)
    for found, repeated, args in zip(maxima, again, hub, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(found, repeated, strict=True))
        assert_same(reference.EvidenceMaximum(*(x.cpu() for x in found)), reference.evidence(*args))


def test_cusolver_says_what_it_tried():
    with pytest.raises(OSError, match=r"could not be loaded: libhubfast-none\.so.*; .*-neither"):
        cusolver.load(("libhubfast-none.so", "libhubfast-neither.so"))


def test_cusolver_has_the_functions_called_here():
    if torch.version.cuda is None:
        pytest.skip("this torch brings no cuSOLVER")
    library = cusolver.load()
    assert library.cusolverDnXsyevd.argtypes == cusolver.PROTOTYPES["cusolverDnXsyevd"]


def test_eigh_halves_what_runs_side_by_side_when_memory_ends(monkeypatch):
    tried = []

    def run(library, grams, jobs, streams):
        tried.append((streams, len(jobs)))
        if len(jobs) == 1:
            raise torch.OutOfMemoryError
        return [], [], torch.zeros(1)

    monkeypatch.setattr(cusolver, "load", lambda: None)
    monkeypatch.setattr(cusolver, "_side_by_side", run)
    with pytest.warns(UserWarning, match="GPU out of memory: . eigenproblems at a time"):
        cusolver.eigh([torch.eye(2), torch.eye(2)], 4)
    assert tried == [(4, 1), (2, 1), (1, 1), (1, 2)]
    with pytest.raises(torch.OutOfMemoryError):
        cusolver.eigh([torch.eye(2)], 1)


def test_small_matrices_of_one_size_are_solved_together():
    assert cusolver.jobs_of([8, 4, 8, 700, 4, 9], batched=8) == [[3], [0, 2], [5], [1, 4]]
    assert cusolver.jobs_of([8, 4, 8], batched=0) == [[0], [2], [1]]


class FakeSolver:
    """cuSOLVER's calls as its header declares them, on the CPU, by LAPACK."""

    def __init__(self):
        self.calls = []

    def _sizes(self, on_device, on_host):
        on_device._obj.value, on_host._obj.value = 24, 40

    def _solve(self, job, triangle, size, pointers, work, info, count):
        matrix, values = pointers
        assert (job, triangle) == (1, 0)
        assert (work[1], work[3]) == (24, 40)
        array = np.ctypeslib.as_array
        flat = array(ctypes.cast(matrix, ctypes.POINTER(ctypes.c_double)), (count, size, size))
        found = array(ctypes.cast(values, ctypes.POINTER(ctypes.c_double)), (count, size))
        failed = array(ctypes.cast(info, ctypes.POINTER(ctypes.c_int)), (count,))
        for b in range(count):  # rows in memory are cuSOLVER's columns
            found[b], vectors = scipy.linalg.eigh(flat[b].T, lower=True)
            flat[b] = vectors.T
        failed[:] = 0
        self.calls.append((count, size))

    def cusolverDnXsyevd_bufferSize(self, handle, params, job, tri, n, ta, a, lda, tw, w, tc, d, h):
        assert (ta, tw, tc, lda) == (1, 1, 1, n)
        self._sizes(d, h)
        return 0

    def cusolverDnXsyevd(
        self, handle, params, job, tri, n, ta, a, lda, tw, w, tc, work, size, host, host_size, info
    ):
        assert (ta, tw, tc, lda) == (1, 1, 1, n)
        self._solve(job, tri, n, (a, w), (work, size, host, host_size), info, 1)
        return 0

    def cusolverDnXsyevBatched_bufferSize(
        self, handle, params, job, tri, n, ta, a, lda, tw, w, tc, d, h, count
    ):
        assert (ta, tw, tc, lda) == (1, 1, 1, n)
        self._sizes(d, h)
        return 0

    def cusolverDnXsyevBatched(
        self, handle, params, job, tri, n, ta, a, lda, tw, w, tc, work, size, host, host_size, info,
        count,
    ):  # fmt: skip
        assert (ta, tw, tc, lda) == (1, 1, 1, n)
        self._solve(job, tri, n, (a, w), (work, size, host, host_size), info, count)
        return 0


@pytest.mark.parametrize("count", [1, 3])
def test_what_cusolver_is_called_with(count):
    rows = torch.randn(count, 9, 5, dtype=torch.float64)
    grams, solver, held = rows.mT @ rows, FakeSolver(), []
    given = grams.triu()  # only this triangle is read
    found = cusolver._solve(solver, None, None, given.clone(), held)
    assert solver.calls == [(count, 5)]
    assert len(held) == 1
    assert_close(found.vectors.mT @ (found.values[:, :, None] * found.vectors), grams)
    assert found.info.tolist() == [0] * count


@pytest.mark.parametrize("name", ["cusolverDnXsyevd", "cusolverDnXsyevBatched"])
@pytest.mark.parametrize("end", ["", "_bufferSize"])
def test_prototypes_have_the_parameters_of_the_calls(name, end):
    called = inspect.signature(getattr(FakeSolver(), name + end)).parameters
    assert len(cusolver.PROTOTYPES[name + end]) == len(called)


def test_evidence_halves_the_models_of_a_launch_when_memory_ends(monkeypatch):
    tried = []

    def launch(problems):
        tried.append(len(problems))
        if len(problems) > 20:
            raise torch.OutOfMemoryError
        return [(problem, torch.zeros(1)) for problem in problems]

    monkeypatch.setattr(cuda, "_launch", launch)
    with pytest.warns(UserWarning, match="GPU out of memory: (32|16) models in a launch"):
        maxima, missed = cuda.evidence(list(range(70)))
    assert maxima == list(range(70))
    assert len(missed) == 70
    assert tried == [64, 32, 16, 16, 16, 16, 6]


@pytest.fixture
def cusolver_on_the_cpu(monkeypatch):
    """`ops.spectrum_batch(backend="cusolver")` with torch's eigh in cuSOLVER's place."""
    info = torch.zeros(3, dtype=torch.int32)

    def eigh(grams):
        pairs = [torch.linalg.eigh(gram, UPLO="U") for gram in grams]
        values, vectors = zip(*pairs, strict=True)
        return list(values), [v.T for v in vectors], info

    monkeypatch.setattr(cusolver, "eigh", eigh)
    module = sys.modules[ops.spectrum_batch.__module__]  # the op hides it under its own name
    monkeypatch.setattr(module, "on_device", lambda x, cpu=(), cuda=(): cuda or cpu)
    return info


def test_spectra_side_by_side(cusolver_on_the_cpu):
    rows = [torch.randn(9, size, dtype=torch.float64) for size in (4, 1, 6)]
    grams, rhs = [x.T @ x for x in rows], [torch.ones(x.shape[1], 2).double() for x in rows]
    found = ops.spectrum_batch(grams, rhs, backend="cusolver")
    for gram, columns, spectrum in zip(grams, rhs, found, strict=True):
        again = spectrum.basis.expand(spectrum.eigenvalues[:, None] * spectrum.projections)
        assert_close(again, gram @ columns)
    cusolver_on_the_cpu[[0, 2]] = 1
    with pytest.raises(RuntimeError, match=r"eigenvalues were not found of: matrix 0, matrix 2"):
        ops.spectrum_batch(grams, rhs, backend="cusolver")
    with pytest.raises(RuntimeError, match=r"not found of: resnet, vit"):
        ops.spectrum_batch(grams, rhs, names=["resnet", "swin", "vit"], backend="cusolver")


def test_a_hub_is_solved_at_once(cusolver_on_the_cpu, monkeypatch):
    missed = torch.zeros(3, dtype=torch.int32)

    def search(problems):
        found = [reference.evidence(*problem) for problem in problems]
        return found, [
            where.expand(len(p.residual)) for where, p in zip(missed, problems, strict=True)
        ]

    monkeypatch.setattr(cuda, "evidence", search)
    module = sys.modules[ops.evidence.__module__]
    monkeypatch.setattr(
        module, "choose", lambda *backends: "native" if "native" in backends else "cuda"
    )
    targets = torch.arange(60) % 4
    hub = {f"m{width}": torch.randn(60, width) for width in (5, 90, 30)}  # n < D once
    together = fit_hub(hub, targets, backend="cuda")
    for fitted, features in zip(together, hub.values(), strict=True):
        alone = LogME.fit(features, targets)
        assert fitted.score == pytest.approx(alone.score, rel=1e-10)
        assert fitted.rank == alone.rank
        assert_close(fitted.means, alone.means)
    missed[1] = 1
    with pytest.raises(RuntimeError, match="no convergence for: m90"):
        fit_hub(hub, targets, backend="cuda")
    cusolver_on_the_cpu[[0, 2]] = 1
    with pytest.raises(RuntimeError, match="eigenvalues were not found of: m5, m30"):
        fit_hub(hub, targets, backend="cuda")


def test_spectra_by_cusolver_need_cuda():
    eye = torch.eye(3, dtype=torch.float64)
    with pytest.raises(ValueError, match="got 'cusolver'"):
        ops.spectrum_batch([eye], [eye], backend="cusolver")
    with pytest.raises(TypeError, match="matrix 0: gram must be float64"):
        ops.spectrum_batch([eye.float()], [eye], backend="cusolver")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_spectra_by_cusolver():
    rows = [torch.randn(3 * size, size, dtype=torch.float64, device="cuda") for size in (1, 7, 200)]
    grams = [x.T @ x for x in rows]
    for gram, found in zip(
        grams, ops.spectrum_batch(grams, grams, backend="cusolver"), strict=True
    ):
        assert_close(found.basis.expand(found.projections), gram)


def test_the_gpu_suite_refuses_without_a_gpu():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, str(ROOT / "benchmarks/gpu_suite.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no GPU here" in done.stderr


@on_gpu
def test_cuda_hub_is_solved_at_once():
    targets = torch.arange(300, device="cuda") % 7
    hub = {f"m{w}": torch.randn(300, w, device="cuda") for w in (5, 64, 64, 200, 400)}
    for fitted, features in zip(fit_hub(hub, targets, backend="cuda"), hub.values(), strict=True):
        assert fitted.score == pytest.approx(LogME.fit(features.cpu(), targets.cpu()).score)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_eigh_of_several_sizes():
    rows = [torch.randn(3 * size, size, dtype=torch.float64, device="cuda") for size in (1, 7, 200)]
    grams = [x.T @ x for x in rows]
    values, vectors, info = cusolver.eigh([g.triu() for g in grams], 2)
    assert not info.any()
    for gram, value, vector in zip(grams, values, vectors, strict=True):
        assert_close(vector.T @ torch.diag(value) @ vector, gram)
