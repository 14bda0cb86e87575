"""How long a block may take until it is run a second time, and until its worker counts as lost."""

import math
from collections.abc import Collection

from hubfast.extraction.cluster.jobs import Job

LATE = 3.0  # times as long as expected, a block takes before an idle worker runs it, too
SHORT = 1.0  # seconds that it may take in any case before that
UNKNOWN = 10.0  # the same for a model of which it is not known what it takes
PATIENCE = 20.0  # times as long as expected, a block may take before its worker counts as lost
GRACE = 60.0  # seconds that it may take in any case
LOADING = 1800.0  # seconds in which a model must be there, be it fetched, with its first block


def due(job: Job, samples: int, jobs: Collection[Job]) -> float:
    """Seconds after which an idle worker runs a block, too.

    Args:
        job: The model.
        samples: Those of the block.
        jobs: All models, the slowest of which stands for one that was not measured.

    Returns:
        Infinity where no model was.
    """
    if job.pace is not None:
        return SHORT + LATE * (job.pace * samples + job.load)
    paces = [other.pace for other in jobs if other.pace is not None]
    if not paces:
        return math.inf
    return UNKNOWN + LATE * (max(paces) * samples + max(other.load for other in jobs))


def patience(job: Job, samples: int, *, loaded: bool) -> float:
    """Seconds after which the worker that runs a block counts as lost.

    Args:
        job: The model.
        samples: Those of the block.
        loaded: Whether the worker had the model already.
    """
    if job.pace is None or not loaded:
        return LOADING
    return GRACE + PATIENCE * job.pace * samples
