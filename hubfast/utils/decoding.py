"""Files of any content that are decoded: what is wrong with one is said with its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAY_ALL = (ValueError, OSError, MemoryError, OverflowError, NotImplementedError, RuntimeError)
OBJECTS = "it holds Python objects, or is no NumPy file"


@contextmanager
def decoding(path: str | Path, fault: str = "cannot be read") -> Iterator[None]:
    """Turns whatever a decoder raises inside into one error that names the file.

    Errors of the system, such as that of a file that may not be read, pass.

    Args:
        path: The file.
        fault: What is said between its name and the reason: `"cannot be read as Parquet"`.

    Raises:
        ValueError: Something was raised inside.
    """
    try:
        yield
    except Exception as error:  # decoders raise whatever their format makes them
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} {fault}: {_why(error)}") from error


def _why(error: Exception) -> str:
    said = " ".join(str(error).split())
    if "pickle" in said or "Python objects" in said:
        return OBJECTS
    if said and isinstance(error, SAY_ALL):
        return said
    return f"it is damaged, or of another kind ({type(error).__name__}: {said})"
