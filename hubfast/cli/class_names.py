"""Names of classes as the command line has them."""

from pathlib import Path


def named_classes(given: str) -> list[str]:
    """The names that `--class-names` gives: the lines of a file, or what commas separate.

    Raises:
        OSError, UnicodeDecodeError: The file cannot be read.
    """
    path = Path(given)
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]
    return [name.strip() for name in given.split(",")]
