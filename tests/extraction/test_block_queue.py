"""The queue of tasks: every block is done once, whoever dies and in whatever order they answer."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.extraction.cluster.jobs import Task
from hubfast.extraction.cluster.patience import GRACE, LOADING, PATIENCE
from hubfast.extraction.cluster.queue import STRIKES, BlockQueue

SIZES = (128, 128, 256, 512, 1024)


def every(models: int) -> list[Task]:
    return [Task(model, block) for model in range(models) for block in range(len(SIZES))]


def filled(models: int, workers: int, **options) -> BlockQueue:
    """A queue as an engine fills it: the first block of all models, then the others."""
    queue = BlockQueue(SIZES, **options)
    for task in every(models):
        queue.add([task], int(task.block > 0))
    for worker in range(workers):
        queue.join(worker)
    return queue


@settings(deadline=None, max_examples=150)
@given(st.randoms(use_true_random=False), st.integers(1, 6), st.integers(1, 5), st.booleans())
def test_all_is_done_whatever_happens(chance: random.Random, models, workers, stays):
    """Workers answer in any order, die and come; models are dropped; blocks are asked for twice."""
    queue = filled(models, workers, stays=stays, room=4)
    taken, done, having = Counter(), set(), {worker: [] for worker in range(workers)}
    dropped, now, names, deaths = set(), 0.0, workers, Counter()
    for _ in range(5000):
        now += chance.random()
        for worker, tasks in having.items():
            task = queue.next(worker, now)
            if task is not None:
                tasks.append(task)
                assert task.model not in dropped
                assert queue.in_flight <= len(having) + 1 or len(tasks) == 1
        flying = [(worker, task) for worker, tasks in having.items() for task in tasks]
        assert queue.in_flight == len(flying)
        if not flying:
            break
        event = chance.random()
        worker = chance.choice([worker for worker, _ in flying])
        first = having[worker][0]
        if event < 0.1 and deaths[first.model] < STRIKES - 1:
            deaths[first.model] += 1
            assert queue.died(worker) == first
            del having[worker]
            queue.join(names)
            having[names], names = [], names + 1
            continue
        if event < 0.12:
            dropped.add(first.model)
            queue.take_back(first.model)
        if event < 0.2 and first.model not in dropped:
            again = [Task(first.model, block) for block in range(taken[first.model], len(SIZES))]
            queue.add(again, 1)
            done -= {*again} - {task for _, task in flying}
        task = having[worker].pop(0)
        if queue.finished(worker, task, now, seconds=chance.random(), load=chance.random()):
            assert task not in done or task.model in dropped
            done.add(task)
        if task.model not in dropped:
            while Task(task.model, taken[task.model]) in done:
                taken[task.model] += 1
            queue.taken(task.model, taken[task.model])
        assert not queue.lost
    assert {task for task in every(models) if task.model not in dropped} <= done


def run(queue: BlockQueue, durations, workers: int, dead=()):
    """Lets workers take their time; gives who did what, in order."""
    now, log, until = 0.0, [], {}
    while True:
        for worker in range(workers):
            if worker not in until and worker not in dead:
                task = queue.next(worker, now)
                if task is not None:
                    until[worker] = (now + durations(worker, task), task)
        if not until:
            return log
        worker = min(until, key=lambda w: until[w][0])
        now, task = until.pop(worker)
        seconds = durations(worker, task)
        if queue.finished(worker, task, now, seconds=seconds, load=0.5):
            log.append((worker, task, now))


def test_the_first_block_goes_through_all_models_before_the_others():
    log = run(filled(6, 2), lambda worker, task: SIZES[task.block] / 128, 2)
    assert {task.block for _, task, _ in log[:6]} == {0}


def test_a_worker_goes_on_with_its_model_and_the_longest_is_first():
    def durations(worker, task):
        return SIZES[task.block] * (1 + task.model) / 1000

    log = run(filled(4, 1), durations, 1)
    models = [task.model for _, task, _ in log[4:]]
    assert models == sorted(models, reverse=True)
    assert [task.block for _, task, _ in log[4:8]] == [1, 2, 3, 4]


def test_a_model_that_is_costly_to_load_stays():
    log = run(filled(4, 1, stays=True), lambda worker, task: 0.001 * SIZES[task.block] / 128, 1)
    models = [task.model for _, task, _ in log]
    assert sum(a != b for a, b in pairwise(models)) == 3


def test_idle_workers_help_with_a_long_model():
    queue = filled(1, 3)
    log = run(queue, lambda worker, task: SIZES[task.block] / 16, 3)
    assert {worker for worker, _, _ in log} == {0, 1, 2}


def test_one_worker_has_one_task_more_and_several_have_one_in_all():
    queue = filled(2, 1)
    assert queue.next(0, 0.0) == Task(0, 0)
    assert queue.next(0, 0.0) is None  # the other model's first block comes before
    queue.finished(0, Task(0, 0), 1.0, seconds=1.0)
    assert queue.next(0, 1.0) == Task(1, 0)
    queue.finished(0, Task(1, 0), 2.0, seconds=1.0)
    assert [queue.next(0, 2.0) for _ in range(3)] == [Task(1, 1), Task(1, 2), None]


def test_what_a_dead_worker_had_is_next_and_three_deaths_are_too_many():
    queue = filled(2, 3)
    for worker in range(2):
        task = queue.next(worker, 0.0)
        assert task == Task(0, 0) if worker == 0 else task == Task(1, 0)
    assert queue.died(0) == Task(0, 0)
    assert queue.next(2, 1.0) == Task(0, 0)
    assert queue.died(2) == Task(0, 0)
    assert queue.lost == []
    queue.join(3)
    assert queue.next(3, 1.0) == Task(0, 0)
    queue.died(3)
    assert queue.lost == [0]
    queue.join(4)
    assert queue.next(4, 1.0).model == 1
    queue.add([Task(0, 0)])
    assert not queue.has(Task(0, 0))


def test_a_worker_that_is_not_heard_of_is_overdue():
    queue = filled(1, 1)
    queue.next(0, 0.0)
    assert queue.overdue(LOADING) == []
    assert queue.overdue(LOADING + 1) == [0]
    queue.finished(0, Task(0, 0), 10.0, seconds=1.28)  # 0.01 for each sample
    assert queue.next(0, 10.0) == Task(0, 1)
    limit = GRACE + PATIENCE * 1.28
    assert queue.overdue(10.0 + limit - 1) == []
    assert queue.overdue(10.0 + limit + 1) == [0]


def test_what_is_late_is_done_twice_and_counts_once():
    queue = BlockQueue(SIZES[:2])
    queue.add([Task(0, 0), Task(0, 1)])
    queue.join("slow")
    queue.join("quick")
    assert queue.next("slow", 0.0) == Task(0, 0)
    assert queue.next("quick", 0.0) == Task(0, 1)
    queue.finished("quick", Task(0, 1), 1.0, seconds=1.0)
    assert queue.next("quick", 1.0) is None
    assert queue.next("quick", 4.0) is None
    assert queue.next("quick", 4.1) == Task(0, 0)
    assert queue.finished("quick", Task(0, 0), 5.0, seconds=1.0)
    assert not queue.finished("slow", Task(0, 0), 60.0, seconds=60.0)
    assert queue.next("slow", 60.0) is None


@pytest.mark.parametrize("room", [1, 3])
def test_no_more_is_finished_than_there_is_room_for(room):
    queue = filled(3, 2, room=room)
    log = run(queue, lambda worker, task: 1.0, 2)
    waits = len(log)
    assert waits < len(every(3))
    needed = {task for _, task, _ in log if task.block == 0}
    assert len(needed) == 3  # what is to be taken next is always given out
    for stop in range(1, 6):
        for model in range(3):
            queue.taken(model, stop)
        log += run(queue, lambda worker, task: 1.0, 2)
    assert {task for _, task, _ in log} == {*every(3)}


def test_the_simulation_comes_near_the_bound():
    from simulated_workers import Timing, simulated

    chance = random.Random(0)
    models = [Timing(chance.lognormvariate(-4, 1), chance.uniform(0.2, 2)) for _ in range(200)]
    assert simulated(models, 8, 10_000).share > 0.9
    alone = simulated(models, 8, 10_000, slow=50.0)
    assert alone.seconds < 1.5 * simulated(models, 7, 10_000).seconds


def test_a_model_that_was_never_measured_is_late_by_the_longest_of_the_others():
    queue = BlockQueue(SIZES[:1])
    queue.add([Task(0, 0), Task(1, 0)])
    queue.join("slow")
    queue.join("quick")
    assert queue.next("slow", 0.0) == Task(0, 0)
    assert queue.next("quick", 0.0) == Task(1, 0)
    queue.finished("quick", Task(1, 0), 3.0, seconds=1.0, load=2.0)
    assert queue.next("quick", 19.0) is None  # 10 + 3 x (1 + 2)
    assert queue.next("quick", 19.1) == Task(0, 0)


def test_what_waits_behind_a_late_task_is_done_elsewhere_too():
    queue = BlockQueue(SIZES[:2])
    queue.add([Task(0, 0), Task(0, 1), Task(1, 0)])
    queue.join("slow")
    queue.join("quick")
    assert queue.next("slow", 0.0) == Task(0, 0)
    assert queue.next("quick", 0.0) == Task(1, 0)
    assert queue.next("slow", 0.0) == Task(0, 1)
    queue.finished("quick", Task(1, 0), 1.0, seconds=1.0)
    assert queue.next("quick", 100.0) == Task(0, 0)
    queue.finished("quick", Task(0, 0), 101.0, seconds=1.0)
    assert queue.next("quick", 101.0) == Task(0, 1)
    assert queue.finished("quick", Task(0, 1), 102.0, seconds=1.0)
    assert not queue.finished("slow", Task(0, 0), 300.0, seconds=300.0)
    assert not queue.finished("slow", Task(0, 1), 301.0, seconds=1.0)
