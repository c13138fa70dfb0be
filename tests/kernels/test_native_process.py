"""The extension as a citizen of its process: threads, forks, memory, pickling, shutting down."""

import gc
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from kernel_programs import Sequence, Shape, decoder, limits, run_steps, step_of

from fairway.kernels.extension import native_isas
from fairway.kernels.native_backend import NativeBackend

pytestmark = pytest.mark.skipif(not native_isas(), reason="no native variant on this machine")
TOKENS = np.random.default_rng(2).integers(0, 101, 60).tolist()


def executable(threads=2):
    backend = NativeBackend(threads=threads)
    made = decoder(backend, Shape())
    return backend.compile(made.program, made.cache(), limits())


def answer(compiled):
    return run_steps(compiled, Sequence(TOKENS, [0, 1, 2, 3]), [59, 1], 4)


def test_idle_threads_use_no_processor() -> None:
    compiled = executable(threads=4)
    answer(compiled)
    time.sleep(0.05)
    before = sum(psutil.Process().cpu_times()[:2])
    time.sleep(0.5)
    assert sum(psutil.Process().cpu_times()[:2]) - before < 0.05


def test_more_threads_than_cores_wait_their_turn_and_answer_the_same() -> None:
    """Threads that lost their core hold items for milliseconds; the others sleep and are woken."""
    expected = answer(executable(threads=1))
    crowd = executable(threads=4 * (os.cpu_count() or 1))
    assert all(np.array_equal(answer(crowd), expected) for _ in range(30))


def test_two_processes_on_one_core_both_come_to_their_end() -> None:
    body = """
        import os
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        compiled = executable(threads=2)
        print(sum(float(answer(compiled).sum()) for _ in range(20)))
    """
    done: list = [None, None]
    both = [threading.Thread(target=lambda i=i: done.__setitem__(i, script(body))) for i in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert [each.returncode for each in done] == [0, 0], done[0].stderr
    assert done[0].stdout == done[1].stdout


def test_threads_end_with_their_backend() -> None:
    gc.collect()
    before = psutil.Process().num_threads()
    compiled = executable(threads=4)
    assert psutil.Process().num_threads() == before + 3
    answer(compiled)
    del compiled
    gc.collect()
    assert psutil.Process().num_threads() == before


def test_logits_outlive_their_executable() -> None:
    compiled = executable()
    logits = compiled.run(step_of([(Sequence(TOKENS, [0, 1, 2, 3]), 60)], 4))
    expected = logits.copy()
    del compiled
    gc.collect()
    assert np.array_equal(logits, expected)


def test_memory_returns() -> None:
    def use_a_model() -> None:
        backend = NativeBackend(threads=2)
        made = decoder(backend, Shape(width=512, ffn=2048, weights="f32"))
        answer(backend.compile(made.program, made.cache(), limits()))

    process = psutil.Process()
    use_a_model()
    gc.collect()
    before = process.memory_info().rss
    for _ in range(30):
        use_a_model()
    gc.collect()
    assert process.memory_info().rss - before < 64e6


def test_many_programs_share_one_team_across_threads() -> None:
    backend = NativeBackend(threads=2)
    made = decoder(backend, Shape())
    programs = [backend.compile(made.program, made.cache(), limits()) for _ in range(4)]
    expected = answer(programs[0])
    found = [None] * 4
    workers = [
        threading.Thread(target=lambda i=i: found.__setitem__(i, [answer(programs[i]) for _ in range(20)]))
        for i in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(logits, expected) for results in found for logits in results)


def test_a_second_thread_is_refused_not_mixed_in() -> None:
    compiled = executable()
    refusals: list[RuntimeError] = []

    def hammer():
        for _ in range(100):
            try:
                answer(compiled)
            except RuntimeError as error:
                refusals.append(error)

    workers = [threading.Thread(target=hammer) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all("another thread" in str(error) for error in refusals)
    assert np.isfinite(answer(compiled)).all()


@pytest.mark.parametrize("make", [lambda c: c, lambda c: c._native, lambda c: NativeBackend()._team])
def test_pickling_is_refused(make) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(make(executable()))


def script(body: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    head = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_native_process import *
        from fairway.kernels import _native
    """
    code = textwrap.dedent(head) + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout)


def test_nothing_leaks_at_exit() -> None:
    done = script("""
        _native.set_leak_warnings(True)
        compiled = executable()
        logits = compiled.run(step_of([(Sequence(TOKENS, [0, 1, 2, 3]), 60)], 4))
        try:
            compiled.run(step_of([(Sequence(TOKENS, [-1]), 3)], 1))
        except ValueError:
            pass
        print("end")
    """)
    assert (done.stdout, done.stderr, done.returncode) == ("end\n", "", 0)


def test_exit_with_an_engine_running_in_a_daemon_thread() -> None:
    done = script("""
        def forever():
            compiled = executable()
            while True:
                answer(compiled)
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.3)
        print("end")
    """)
    assert (done.stdout, done.returncode) == ("end\n", 0), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_runs_too() -> None:
    done = script("""
        import warnings
        warnings.simplefilter("ignore")
        compiled = executable()
        expected = answer(compiled)
        child = os.fork()
        if child == 0:
            same = np.array_equal(answer(compiled), expected)
            del compiled
            gc.collect()
            os._exit(7 if same else 8)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), np.array_equal(answer(compiled), expected))
    """)
    assert (done.stdout, done.returncode) == ("7 True\n", 0), done.stderr
