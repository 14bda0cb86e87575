"""What a method costs to train and to use."""

from dataclasses import dataclass

from torch import nn

from hubfast.profiling import counts
from hubfast.profiling import speed as speeds
from hubfast.tuning.history import History
from hubfast.tuning.samples import SampleDataset
from hubfast.utils.moved import moved

__getattr__ = moved(
    "hubfast.tuning.measure",
    {
        "Cost": "hubfast.tuning.measure.MethodCost",
        "PeakMemory": "hubfast.profiling.memory.PeakMemory",
        "inference_cost": "hubfast.profiling.speed.inference_cost",
        "inference_speed": "hubfast.profiling.speed.inference_speed",
    },
)


@dataclass(frozen=True)
class MethodCost:
    """What one method costs; None where it cannot be known."""

    train_parameters: int  # held while training, in all stages; cached teachers are not
    parameters: int  # of the model that is used in the end
    multiply_adds: int  # of one image through that model
    iterations_per_second: float  # of training
    samples_per_second: float  # of inference, in batches
    peak_memory: int | None  # bytes: of the GPU, else that training added to the process


def method_cost(
    module: nn.Module,
    samples: SampleDataset,
    history: History,
    memory: int | None,
    trained: int,
    batch_size: int,
) -> MethodCost:
    """What a tuned module cost and costs, measured on a batch of its samples.

    Args:
        module: The tuned module, on its device.
        samples: What it was trained on.
        history: What happened in training.
        memory: Bytes at the peak of training, if they are known.
        trained: Parameters held while training, in all stages.
        batch_size: Samples in one pass.
    """
    device = next(module.parameters()).device
    batch = samples.batch(range(min(batch_size, len(samples)))).to(device)
    deployed = getattr(module, "deployed", module)
    return MethodCost(
        train_parameters=trained,
        parameters=counts.parameters(deployed),
        multiply_adds=speeds.inference_cost(deployed, batch[:1]),
        iterations_per_second=history.iterations_per_second,
        samples_per_second=speeds.inference_speed(deployed, batch),
        peak_memory=memory,
    )


def speed(per_second: float, thing: str) -> str:
    """A speed in words: "2.5 steps/s", or below one per second "8.1 s per step".

    Args:
        per_second: How many there are in a second.
        thing: What is counted, in the singular.
    """
    if 0 < per_second < 1:
        return f"{1 / per_second:.{1 if per_second > 0.01 else 0}f} s per {thing}"
    return f"{per_second:.{1 if per_second < 100 else 0}f} {thing}s/s"
