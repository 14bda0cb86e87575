"""Weights of the next model, brought to this machine while another one runs."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from hubfast.hub.model import Source
from hubfast.hub.query import wants_training
from hubfast.hub.reach import unreachable_host
from hubfast.hub.timm_models import FILES
from hubfast.utils.extras import slow_import


class Fetcher:
    """Fetches files of weights, one model at a time, beside what else goes on.

    Only files are fetched: to build a model draws random numbers and may change what the whole
    process shares, which would reach the model that runs. What goes wrong is left to the loading
    of the model, which says it.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "fetching")
        self._asked: set[str] = set()

    def ask(self, source: Source) -> None:
        """Begins to fetch what loading this model will need, unless it was asked for before."""
        repository = None
        with suppress(Exception):  # such as a name that timm does not know: loading will say it
            repository = _repository(source)
        if repository is not None and repository not in self._asked:
            self._asked.add(repository)
            self._pool.submit(_fetch, repository)

    def close(self) -> None:
        """Lets a file that is on its way arrive, and begins no other."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _repository(source: Source) -> str | None:
    """The Hugging Face repository of a model's weights, where it is known to have one."""
    given = source.given if isinstance(source.given, str) else ""
    name = given.removeprefix(f"{source.kind}:")
    if source.kind == "hf":
        return name if name.count("/") == 1 and not name.startswith((".", "/", "~")) else None
    if source.kind != "timm" or "@" in name or not wants_training(name)[1]:
        return None
    config = slow_import("timm").models.get_pretrained_cfg(name)
    return getattr(config, "hf_hub_id", None)


def _fetch(repository: str) -> None:
    import huggingface_hub  # slow to import

    if unreachable_host(repository, ()) is not None:
        return
    for file in FILES:
        with suppress(Exception):  # loading will say it
            huggingface_hub.hf_hub_download(repository, file)
            return
