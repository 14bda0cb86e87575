"""How one says where workers run."""

import re

LOCAL = re.compile(r"local(?::([1-9]\d*))?")
ADDRESS = re.compile(rf"auto|{LOCAL.pattern}|(?!local:)[\w.-]+:\d+")
FORMS = "'auto', 'local', 'local:4' (four workers on this machine) or a cluster's 'host:port'"


def is_address(text: str) -> bool:
    """Whether a text says where workers run."""
    return ADDRESS.fullmatch(text) is not None


def check_address(address: str) -> None:
    """Refuses what is no address.

    Raises:
        ValueError: It is none.
    """
    if isinstance(address, str) and address.startswith("ray://"):
        raise ValueError(
            f"ray must be {FORMS}, got {address!r}: Ray's client would send all through one "
            "connection; submit the command as a job instead (ray job submit)"
        )
    if not isinstance(address, str) or not is_address(address):
        raise ValueError(f"ray must be {FORMS}, got {address!r}")
