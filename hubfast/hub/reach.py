"""Whether published weights can be had, asked before a download that retries for a minute."""

import socket
import urllib.parse
import urllib.request
from collections.abc import Sequence


def unreachable_host(repository: str, files: Sequence[str]) -> str | None:
    """The host of a Hugging Face repository, if it cannot be reached and no file is cached."""
    import huggingface_hub  # slow to import

    if urllib.request.getproxies():
        return None
    for file in files:
        if isinstance(huggingface_hub.try_to_load_from_cache(repository, file), str):
            return None
    host = urllib.parse.urlsplit(huggingface_hub.constants.ENDPOINT).hostname or ""
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        return host
    return None
