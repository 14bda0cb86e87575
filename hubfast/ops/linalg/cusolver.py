"""Symmetric eigenproblems on CUDA by the cuSOLVER that torch brings, several at a time.

torch takes a batch of large matrices in turn, and one of them leaves most of a card idle: its
reduction to tridiagonal form waits on a chain of small kernels. Here small matrices of one size go
as a batch, and large ones run side by side, each on its own thread and stream. The prototypes are
those of cuSOLVER's 64-bit API (CUDA 12.6.2 and later, as torch 2.11 and later bring).
"""

import ctypes
import functools
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref, c_int, c_int64, c_size_t, c_void_p
from typing import NamedTuple

import torch
from torch import Tensor

from hubfast.ops.choices import choices

NAMES = ("libcusolver.so.12", "libcusolver.so.11")  # CUDA 13, CUDA 12; torch has loaded one
STREAMS = 4  # matrices side by side where the GPU was not measured: a guess
BATCHED = 512  # width up to which they go as a batch where it was not measured: a guess
VECTORS, LOWER, DOUBLE = 1, 0, 1  # CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, CUDA_R_64F

# handle, params, job, triangle, n, type, matrix, leading dimension, type, values, compute type
_PROBLEM = [
    c_void_p,
    c_void_p,
    c_int,
    c_int,
    c_int64,
    c_int,
    c_void_p,
    c_int64,
    c_int,
    c_void_p,
    c_int,
]
_WORK = [c_void_p, c_size_t, c_void_p, c_size_t, c_void_p]  # on the device, on the host, info
PROTOTYPES = {
    "cusolverDnCreate": [c_void_p],
    "cusolverDnDestroy": [c_void_p],
    "cusolverDnSetStream": [c_void_p, c_void_p],
    "cusolverDnCreateParams": [c_void_p],
    "cusolverDnDestroyParams": [c_void_p],
    "cusolverDnXsyevd_bufferSize": [*_PROBLEM, c_void_p, c_void_p],
    "cusolverDnXsyevd": [*_PROBLEM, *_WORK],
    "cusolverDnXsyevBatched_bufferSize": [*_PROBLEM, c_void_p, c_void_p, c_int64],
    "cusolverDnXsyevBatched": [*_PROBLEM, *_WORK, c_int64],
}


@functools.cache
def load(names: Sequence[str] = NAMES) -> ctypes.CDLL:
    """The library under the first of `names` that loads, with prototypes.

    Raises:
        OSError: None of them loads with all functions; the message says what was tried.
    """
    tried = []
    for name in names:
        try:
            library = ctypes.CDLL(name)
            for function, arguments in PROTOTYPES.items():
                getattr(library, function).argtypes = arguments
                getattr(library, function).restype = c_int
        except (OSError, AttributeError) as error:
            tried.append(str(error))
            continue
        return library
    raise OSError(f"cuSOLVER could not be loaded: {'; '.join(tried)}")


def eigh(
    grams: Sequence[Tensor], streams: int | None = None, batched: int | None = None
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Eigenvalues and eigenvectors of symmetric matrices of any sizes.

    Args:
        grams: Each `(D, D)` float64, all on one CUDA device; their upper triangles are read.
        streams: How many matrices run side by side; None for what was measured on this GPU. Out
            of memory halves this number, then ends the batches, with a warning.
        batched: The largest size whose matrices go as a batch, 0 for none; None for what was
            measured on this GPU.

    Returns:
        For each matrix its eigenvalues `(D,)`, ascending; for each matrix V' `(D, D)`, whose row i
        is an eigenvector; and cuSOLVER's info `(M,)` int32 on the device, not 0 where a matrix
        failed: the caller reads it when it next waits for the GPU, and names the model.

    Raises:
        OSError: cuSOLVER cannot be loaded.
        RuntimeError: cuSOLVER refused a call.
        torch.OutOfMemoryError: One matrix alone does not fit.
    """
    if not grams:
        return [], [], torch.empty(0, dtype=torch.int32, device="cpu")
    known = choices(grams[0].device, "cusolver")
    streams = known.get("streams", STREAMS) if streams is None else streams
    batched = known.get("batched", BATCHED) if batched is None else batched
    library, sizes = load(), [len(gram) for gram in grams]
    while True:
        jobs = jobs_of(sizes, batched)
        try:
            return _side_by_side(library, grams, jobs, streams)
        except torch.OutOfMemoryError:
            if streams == 1 and len(jobs) == len(grams):
                raise
            batched = batched if streams > 1 else 0
            streams = max(1, streams // 2)
            smaller = f"{streams} eigenproblems at a time" + (
                "" if batched else ", none as a batch"
            )
            warnings.warn(f"GPU out of memory: {smaller}", stacklevel=2)


def jobs_of(sizes: Sequence[int], batched: int) -> list[list[int]]:
    """The indices of the matrices that each call solves, the call that costs most first."""
    groups: dict[int, list[int]] = {}
    jobs = []
    for index, size in enumerate(sizes):
        if size <= batched:
            groups.setdefault(size, []).append(index)
        else:
            jobs.append([index])
    return sorted([*jobs, *groups.values()], key=lambda job: -len(job) * sizes[job[0]] ** 3)


def _side_by_side(
    library: ctypes.CDLL, grams: Sequence[Tensor], jobs: list[list[int]], streams: int
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    device = grams[0].device
    caller = torch.cuda.current_stream(device)

    def run(worker: int) -> list[Solved]:
        side = torch.cuda.Stream(device)
        side.wait_stream(caller)
        with torch.cuda.device(device), torch.cuda.stream(side):
            mine = [[grams[i] for i in job] for job in jobs[worker::streams]]
            return _in_turn(library, mine, side)

    with ThreadPoolExecutor(streams) as pool:
        by_worker = list(pool.map(run, range(streams)))
    by_matrix: dict[int, tuple[Tensor, ...]] = {}
    for number, job in enumerate(jobs):
        solved = by_worker[number % streams][number // streams]
        for tensor in solved:
            tensor.record_stream(caller)  # made on another stream, used on the caller's
        by_matrix.update(zip(job, zip(*solved, strict=True), strict=True))
    values, vectors, info = zip(*(by_matrix[i] for i in range(len(grams))), strict=True)
    return list(values), list(vectors), torch.stack(info)


class Solved(NamedTuple):
    """The eigenproblems of B matrices of one size."""

    values: Tensor  # (B, D)
    vectors: Tensor  # (B, D, D), rows are eigenvectors
    info: Tensor  # (B,) int32


def _in_turn(
    library: ctypes.CDLL,
    jobs: list[list[Tensor]],
    stream: torch.cuda.Stream,
) -> list[Solved]:
    handle, params = c_void_p(), c_void_p()
    held: list[ctypes.Array] = []
    _check(library.cusolverDnCreate(byref(handle)))
    try:
        _check(library.cusolverDnCreateParams(byref(params)))
        _check(library.cusolverDnSetStream(handle, stream.cuda_stream))
        return [_solve(library, handle, params, torch.stack(grams), held) for grams in jobs]
    finally:
        stream.synchronize()  # cuSOLVER uses its handle, and `held`, until then
        if params:
            library.cusolverDnDestroyParams(params)
        library.cusolverDnDestroy(handle)


def _solve(
    library: ctypes.CDLL,
    handle: c_void_p,
    params: c_void_p,
    matrices: Tensor,
    held: list[ctypes.Array],
) -> Solved:
    """Solves `matrices` by one call, which overwrites them.

    Their rows are cuSOLVER's columns: our upper triangle is its lower one. What the host must keep
    until the stream is through goes into `held`.
    """
    count, size = matrices.shape[:2]
    values = matrices.new_empty(count, size)
    info = torch.zeros(count, dtype=torch.int32, device=matrices.device)
    name, many = ("cusolverDnXsyevd", ()) if count == 1 else ("cusolverDnXsyevBatched", (count,))
    matrix = (VECTORS, LOWER, size, DOUBLE, matrices.data_ptr(), size)
    problem = (handle, params, *matrix, DOUBLE, values.data_ptr(), DOUBLE)
    on_device, on_host = c_size_t(), c_size_t()
    sizes = (byref(on_device), byref(on_host))
    _check(getattr(library, f"{name}_bufferSize")(*problem, *sizes, *many))
    work = torch.empty(max(1, on_device.value), dtype=torch.uint8, device=matrices.device)
    host = ctypes.create_string_buffer(max(1, on_host.value))
    held.append(host)
    buffers = (work.data_ptr(), on_device.value, ctypes.addressof(host), on_host.value)
    _check(getattr(library, name)(*problem, *buffers, info.data_ptr(), *many))
    return Solved(values, matrices, info)


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"cuSOLVER refused with status {status}")
