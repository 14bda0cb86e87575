"""How torch's threads wait, which is decided before torch is imported."""

import os
from collections.abc import MutableMapping

# Variables of GNU's OpenMP, and of Intel's and LLVM's.
SLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def let_idle_threads_sleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Lets threads without work sleep instead of spin, unless the environment says otherwise.

    Threads that spin beside another process take turns with it, and every step waits for the last
    of them: two threads on two busy cores ran a small network 2 to 5 times as fast asleep.
    """
    if not {*SLEEP, "GOMP_SPINCOUNT"} & {*environment}:
        environment.update(SLEEP)
