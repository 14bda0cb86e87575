"""BatchNorm in training: what it cannot do with a single value per channel, in words."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def single_values_named(n_images: int, size: tuple[int, int]) -> Iterator[None]:
    """While it is open, torch's error about one value per channel says what to do about it.

    Args:
        n_images: How many the batch of this process holds.
        size: Height and width of the images.

    Raises:
        ValueError: A BatchNorm in training mode got one value per channel.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "batch_size must be larger, at least 2 images for each process, or size larger: "
            f"batch norm has one value per channel to train on, as a batch of {n_images} of "
            f"{size[0]} x {size[1]} pixels shrinks to one pixel inside the model ({error})"
        ) from error
