"""What a loss sees of the samples that other processes hold, in data-parallel training.

Each process has the gradient of its own samples; DistributedDataParallel averages the gradients.
The functions here give values of the samples of all processes, and such gradients of the own
samples that this average is the gradient of the whole batch. For that the loss of each process
must be weighted by its share of the samples times the number of processes, as `hubfast.tuning`
does; where all hold equally many, that is a weight of one. None of them communicates in the
backward pass, whose order differs among processes that run different parts of a model.
"""

import torch
from torch import Tensor, distributed
from torch.nn.functional import pad


def process_count() -> int:
    """How many processes train together; 1 outside a process group."""
    joined = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if joined else 1


def samples_of_all(n_samples: int, device: torch.device) -> Tensor:
    """How many samples all processes hold together, a scalar float32; all must call it."""
    total = torch.tensor(float(n_samples), dtype=torch.float32, device=device)
    if process_count() > 1:
        distributed.all_reduce(total)
    return total


def mean_of_all(means: Tensor, n_samples: int) -> Tensor:
    """Means over the samples of all processes; all must call it.

    The gradient of the own means passes as it is: weighted and averaged over the processes as the
    module says, that gives the whole batch's.

    Args:
        means: Means over the samples of this process, of any shape.
        n_samples: How many samples these are.
    """
    if process_count() == 1:
        return means
    sums = torch.cat([means.detach().flatten() * n_samples, means.new_tensor([n_samples])])
    distributed.all_reduce(sums)
    whole = (sums[:-1] / sums[-1]).view_as(means)
    return means + (whole - means).detach()


def rows_of_all(rows: Tensor) -> Tensor:
    """Rows `(n, ...)` of all processes, the first process's first; all must call it.

    Only the own rows have a gradient, times all rows over the own ones: weighted and averaged over
    the processes as the module says, that gives the whole batch's.
    """
    if (world := process_count()) == 1:
        return rows
    counts = torch.zeros(world, dtype=torch.int64, device=rows.device)
    rank = distributed.get_rank()
    counts[rank] = len(rows)
    distributed.all_reduce(counts)
    sizes = counts.tolist()
    room = [0, 0] * (rows.ndim - 1) + [0, max(sizes) - len(rows)]
    own = pad(rows.detach(), room).contiguous()
    parts = [torch.empty_like(own) for _ in sizes]
    distributed.all_gather(parts, own)
    found = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    scaled = rows * (sum(sizes) / max(1, len(rows)))
    found[rank] = scaled + (rows - scaled).detach()
    return torch.cat(found)
