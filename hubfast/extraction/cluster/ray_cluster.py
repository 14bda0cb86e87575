"""A Ray cluster: that of an address, or one of this machine alone that ends with the ranking."""

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from hubfast.extraction.cluster.address import LOCAL, check_address
from hubfast.utils.extras import require
from hubfast.utils.threads import cores

THREADS = 4  # that a worker on CPUs has, where there are cores for several such workers
ANSWER = 10.0  # seconds in which a cluster must answer
STORE = 256 << 20  # bytes of a local cluster's object store, which holds samples that are arrays


@dataclass(frozen=True)
class Cluster:
    """Where workers run.

    Attributes:
        device: What each of them computes on: "cuda", of which it sees one, or "cpu".
        threads: Threads of torch that each of them has.
        own: Whether the cluster was started here, and ends with the ranking.
        fixed: Number of workers of a cluster that was started here; 0 for one that may grow.
    """

    device: str
    threads: int
    own: bool
    fixed: int = 0

    @property
    def places(self) -> int:
        """How many workers there is room for, as the cluster is now."""
        import ray

        if self.fixed:
            return self.fixed
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if self.device == "cuda":
            return sum(int(node.get("GPU", 0)) for node in nodes)
        return sum(int(node.get("CPU", 0)) // self.threads for node in nodes)

    def put(self, value: Any) -> list[Any]:
        """Sends a value once, whoever asks for it; gives a list of one reference to it.

        Raises:
            TypeError: It cannot be pickled.
        """
        import ray

        return [ray.put(value)]

    def get(self, reference: Any) -> Any:
        """What a reference is to.

        Raises:
            ray.exceptions.RayError: Whoever was to make it is no more.
        """
        import ray

        return ray.get(reference)

    def wait(self, references: Sequence[Any], seconds: float) -> Sequence[Any]:
        """One of these as soon as it is there; none after so many seconds."""
        import ray

        ready: list[Any] = ray.wait([*references], num_returns=1, timeout=seconds)[0]
        return ready

    def kill(self, worker: Any) -> None:
        """Ends the process of a worker, whatever it does."""
        import ray

        ray.kill(worker, no_restart=True)

    def start(self, worker: type) -> Any:
        """Starts a worker. Its process is not started again when it ends, nor is what it did."""
        import ray

        gpus = 1 if self.device == "cuda" else 0
        cpus = 1 if gpus else self.threads
        if self.own and not gpus:
            cpus = 1  # of as many as there are workers
        return ray.remote(num_gpus=gpus, num_cpus=cpus, max_restarts=0, max_task_retries=0)(
            worker
        ).remote()


@contextmanager
def cluster_of(address: str, device: str | None) -> Iterator[Cluster]:
    """Connects to a cluster, or starts one on this machine, and leaves no process at the end.

    Ray prints nothing meanwhile, and neither signals nor loggers stay changed. A connection that
    the program has already is used as it is, and left.

    Args:
        address: "auto" for the cluster that `RAY_ADDRESS` names, as it does in a job that was
            submitted to one, else for this machine; "local" or "local:N" for this machine, with N
            workers; anything else is the address of a cluster.
        device: "cpu" or "cuda"; None for GPUs where there are some.

    Raises:
        ValueError: An argument is wrong, or the cluster has no such device.
        ConnectionError: There is no cluster at the address.
        ModuleNotFoundError: Ray is not installed.
    """
    check_address(address)
    if device not in (None, "cpu", "cuda"):
        raise ValueError(
            f"device must be 'cpu' or 'cuda' with ray, which gives out GPUs, got {device!r}"
        )
    alone = address == "auto" and not os.environ.get("RAY_ADDRESS")
    local = LOCAL.fullmatch("local" if alone else address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read by Ray as it is imported
    ray = require("ray", "ray", "ray")
    with ExitStack() as stack:
        if ray.is_initialized():
            yield _existing(ray, device)
            return
        stack.enter_context(_quiet(ray))
        if local is None:
            _connect(ray, None if address == "auto" else address)
            stack.callback(ray.shutdown)
            yield _existing(ray, device)
        else:
            found = _of_this_machine(device, None if local[1] is None else int(local[1]))
            folder = tempfile.mkdtemp(prefix="hubfast-ray-")  # of sockets and logs
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.callback(ray.shutdown)
            _start(ray, found, folder)
            yield found


def _of_this_machine(device: str | None, count: int | None) -> Cluster:
    """All GPUs of this machine, or its cores in equal parts."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() and device != "cpu" else 0
    if device == "cuda" and not gpus:
        raise ValueError("device 'cuda' is not there: torch sees no GPU")
    if gpus:
        if count is not None and count > gpus:
            raise ValueError(f"ray must be for at most {gpus} workers, one a GPU, got {count}")
        return Cluster("cuda", max(cores() // gpus, 1), True, count or gpus)
    there = cores()
    count = count or (there // THREADS if there >= 2 * THREADS else there)
    # No more threads than torch has here: somebody may have said how many.
    threads = max(min(there // count, torch.get_num_threads()), 1)
    return Cluster("cpu", threads, True, count)


def _existing(ray: Any, device: str | None) -> Cluster:
    """All GPUs of a cluster, or its cores."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if device == "cuda" and not gpus:
        raise ValueError("device 'cuda' is not there: the Ray cluster has no GPU")
    if gpus and device != "cpu":
        shares = [node.get("CPU", 1) / node["GPU"] for node in nodes if node.get("GPU")]
        return Cluster("cuda", max(int(min(shares)), 1), False)
    sizes = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    if not sizes:
        raise ValueError("the Ray cluster has neither CPUs nor GPUs")
    return Cluster("cpu", min(THREADS, *sizes), False)


def _connect(ray: Any, address: str | None) -> None:
    where = os.environ.get("RAY_ADDRESS", "") if address is None else address
    host, _, port = where.rpartition(":")
    hint = ""
    try:
        if port.isdigit():  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), ANSWER).close()
            if os.environ.get("RAY_AUTH_MODE") != "token":  # Ray's error does not name it
                hint = " (something listens there; if it wants a token, set RAY_AUTH_MODE=token)"
        _init(ray, address=address)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConnectionError(f"no Ray cluster answers at {where}: {error}{hint}") from error


def _start(ray: Any, cluster: Cluster, folder: str) -> None:
    _init(
        ray,
        address="local",
        num_cpus=cluster.fixed,
        num_gpus=cluster.fixed if cluster.device == "cuda" else 0,
        include_dashboard=False,
        object_store_memory=STORE,
        _temp_dir=folder,
    )


def _init(ray: Any, **how: Any) -> None:
    """Connects, and restores what stops this process and how, which Ray changes."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if main else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **how)
        finally:
            if main:
                signal.signal(signal.SIGTERM, before)


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Keeps Ray from printing what its raylets say of workers that died: the ranking says it."""
    inside = ray._private.worker
    printing = getattr(inside, "print_to_stdstream", None)
    if printing is not None:
        inside.print_to_stdstream = lambda *args, **how: None
    try:
        yield
    finally:
        if printing is not None:
            inside.print_to_stdstream = printing
