"""What another program took of a sample is known, and nothing else is taken for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from statistics import median

import pytest

from nnprof.profiler import waits

_WORK_S = 0.02


class _Work:
    """A part that computes for so long, by the processor time that it gets.

    `busy_s` is the time that all threads of this process worked meanwhile.
    """

    busy_s = 0.0

    def sample(self, loops: int) -> float:
        start, end = time.perf_counter(), time.thread_time() + loops * _WORK_S
        busy_s = time.process_time()
        while time.thread_time() < end:
            pass
        self.busy_s += time.process_time() - busy_s
        return time.perf_counter() - start

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def one_processor() -> Iterator[int]:
    """This process on a single processor, for as long as the test."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(ours)})
    yield max(ours)
    os.sched_setaffinity(0, ours)


@pytest.mark.usefixtures("one_processor")
def test_a_neighbour_on_the_same_processor_is_taken_off() -> None:
    """Samples beside a busy loop are longer than the work; less their waits they are the work."""
    part = waits.Undisturbed(_Work(), "perf_counter")
    if not part.counted:
        pytest.skip("this kernel counts no waits")
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            time.sleep(0.2)
            samples = [part.timed(2) for _ in range(9)]
        finally:
            neighbour.kill()
    assert median(one.seconds for one in samples) > 1.3 * 2 * _WORK_S
    own_s = median(one.seconds - one.waited_s for one in samples)
    assert own_s == pytest.approx(2 * _WORK_S, rel=0.05)


@pytest.mark.usefixtures("one_processor")
def test_a_clock_of_ones_own_stands_still_while_a_neighbour_has_the_processor() -> None:
    """What it counts is the thread's own work, whoever else had the processor meanwhile."""
    if not waits.Undisturbed(_Work(), "perf_counter").counted:
        pytest.skip("this kernel counts no waits")
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            time.sleep(0.2)
            with waits.own_clock() as clock:
                start_s = clock()
                passed_s = _Work().sample(20)
                own_s = clock() - start_s
        finally:
            neighbour.kill()
    assert passed_s > 1.2 * 20 * _WORK_S
    # Not all the rest is the neighbour's: a hypervisor takes time that no wait tells of.
    assert 0.9 * 20 * _WORK_S < own_s < 20 * _WORK_S + 0.3 * (passed_s - 20 * _WORK_S)


def test_on_several_processors_a_clock_of_ones_own_is_any_clock() -> None:
    """There one thread may work while another waits, and nobody knows what was lost."""
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("there is one processor")
    with waits.own_clock() as clock:
        assert clock is time.perf_counter


@pytest.mark.usefixtures("one_processor")
def test_a_thread_of_ours_that_waits_for_another_of_ours_is_no_neighbour() -> None:
    """What this process's own threads take from each other is its own time."""
    work = _Work()
    part = waits.Undisturbed(work, "perf_counter")
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(100))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        samples = [part.timed(1) for _ in range(5)]
    finally:
        stop.set()
        thread.join()
    assert work.busy_s > 1.3 * 5 * _WORK_S
    assert sum(one.seconds - one.waited_s for one in samples) > 0.95 * work.busy_s


def test_other_clocks_are_left_alone() -> None:
    """A time that the device or a fake gave is not our processor's: no wait is taken off it."""
    part = waits.Undisturbed(_Work(), "cuda_event")
    assert not part.counted
    assert part.timed(1).waited_s == 0
