"""Symmetric eigenproblems on CUDA by the cuSOLVER that torch brings, several at a time.

torch takes a batch of large matrices in turn, and one of them leaves most of a card idle: its
reduction to tridiagonal form waits on a chain of small kernels. Here a thread and a stream a matrix
run side by side. Prototypes: cuSOLVER's 64-bit API (CUDA 11.1 and later).
"""

import ctypes
import functools
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref, c_int, c_int64, c_size_t, c_void_p

import torch
from torch import Tensor

NAMES = ("libcusolver.so.12", "libcusolver.so.11")  # CUDA 13, CUDA 12; torch has loaded one
STREAMS = 4  # to be measured: benchmarks/gpu_logme.py tries 1, 2, 4, 8
VECTORS, LOWER, DOUBLE = 1, 0, 1  # CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, CUDA_R_64F

_PROBLEM = [c_void_p, c_void_p, c_int, c_int, c_int64, c_int, c_void_p, c_int64, c_int, c_void_p]
PROTOTYPES = {
    "cusolverDnCreate": [c_void_p],
    "cusolverDnDestroy": [c_void_p],
    "cusolverDnSetStream": [c_void_p, c_void_p],
    "cusolverDnCreateParams": [c_void_p],
    "cusolverDnDestroyParams": [c_void_p],
    "cusolverDnXsyevd_bufferSize": [*_PROBLEM, c_int, c_void_p, c_void_p],
    "cusolverDnXsyevd": [*_PROBLEM, c_int, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p],
}


@functools.cache
def load(names: Sequence[str] = NAMES) -> ctypes.CDLL:
    """The library under the first of `names` that loads, with prototypes.

    Raises:
        OSError: None loads, or one lacks a function; says what was tried.
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
    grams: Sequence[Tensor], streams: int = STREAMS
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Eigenvalues and eigenvectors of symmetric matrices of any sizes.

    Args:
        grams: Each `(D, D)` float64, all on one CUDA device; their upper triangles are read.
        streams: How many run side by side. Out of memory halves it, with a warning.

    Returns:
        Eigenvalues ascending, a `(D,)` each; V', a `(D, D)` each, row i an eigenvector;
        cuSOLVER's info `(M,)` int32 on the device, not 0 where a matrix failed: for the caller to
        read when it next waits for the GPU, and to name the model.

    Raises:
        OSError: No cuSOLVER.
        RuntimeError: A call was refused.
        torch.OutOfMemoryError: One matrix alone does not fit.
    """
    if not grams:
        return [], [], torch.empty(0, dtype=torch.int32)
    library = load()
    while True:
        try:
            return _side_by_side(library, grams, streams)
        except torch.OutOfMemoryError:
            if streams == 1:
                raise
            streams //= 2
            warnings.warn(f"GPU out of memory: {streams} eigenproblems at a time", stacklevel=2)


def _side_by_side(
    library: ctypes.CDLL, grams: Sequence[Tensor], streams: int
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    device = grams[0].device
    info = torch.zeros(len(grams), dtype=torch.int32, device=device)
    caller = torch.cuda.current_stream(device)

    def run(worker: int) -> list[tuple[Tensor, Tensor]]:
        side = torch.cuda.Stream(device)
        side.wait_stream(caller)
        mine = range(worker, len(grams), streams)
        try:
            with torch.cuda.device(device), torch.cuda.stream(side):
                return _in_turn(library, [grams[i] for i in mine], [info[i] for i in mine], side)
        finally:
            side.synchronize()  # cuSOLVER reads host workspace, which goes now

    with ThreadPoolExecutor(streams) as pool:
        found = list(pool.map(run, range(streams)))
    pairs = [found[i % streams][i // streams] for i in range(len(grams))]
    for tensor in (x for pair in pairs for x in pair):
        tensor.record_stream(caller)  # made on another stream, used on the caller's
    values, vectors = zip(*pairs, strict=True)
    return list(values), list(vectors), info


def _in_turn(
    library: ctypes.CDLL, grams: list[Tensor], infos: list[Tensor], stream: torch.cuda.Stream
) -> list[tuple[Tensor, Tensor]]:
    handle, params = c_void_p(), c_void_p()
    _check(library.cusolverDnCreate(byref(handle)))
    try:
        _check(library.cusolverDnCreateParams(byref(params)))
        _check(library.cusolverDnSetStream(handle, stream.cuda_stream))
        return [
            _xsyevd(library, handle, params, gram, info)
            for gram, info in zip(grams, infos, strict=True)
        ]
    finally:
        if params:
            library.cusolverDnDestroyParams(params)
        library.cusolverDnDestroy(handle)


def _xsyevd(
    library: ctypes.CDLL, handle: c_void_p, params: c_void_p, gram: Tensor, info: Tensor
) -> tuple[Tensor, Tensor]:
    """One matrix. Its rows are cuSOLVER's columns: our upper triangle is its lower one."""
    size = len(gram)
    vectors = gram.clone(memory_format=torch.contiguous_format)
    values = gram.new_empty(size)
    matrix = (VECTORS, LOWER, size, DOUBLE, vectors.data_ptr(), size)
    problem = (handle, params, *matrix, DOUBLE, values.data_ptr(), DOUBLE)
    on_device, on_host = c_size_t(), c_size_t()
    sizes = (byref(on_device), byref(on_host))
    _check(library.cusolverDnXsyevd_bufferSize(*problem, *sizes))
    work = torch.empty(max(1, on_device.value), dtype=torch.uint8, device=gram.device)
    host = ctypes.create_string_buffer(max(1, on_host.value))
    buffers = (work.data_ptr(), on_device.value, ctypes.addressof(host), on_host.value)
    _check(library.cusolverDnXsyevd(*problem, *buffers, info.data_ptr()))
    torch.cuda.current_stream().synchronize()  # `host` must outlive the call
    return values, vectors


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"cuSOLVER refused with status {status}")
