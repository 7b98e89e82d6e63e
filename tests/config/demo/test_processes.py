import os
import signal
from pathlib import Path

import psutil
import pytest

from config.demo import processes as module
from config.demo.processes import ChildFailed, Processes
from config.demo.signals import EndSignals

SERVES = "import time; print('ready', flush=True); time.sleep(60)"
DEFIES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVES
HAS_A_CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])\n"


@pytest.fixture
def processes(tmp_path: Path, signals: EndSignals) -> Processes:
    return Processes(tmp_path, logs=tmp_path, environment=os.environ, signals=signals)


def test_a_task_is_run_to_its_end_and_returns_what_it_said(processes: Processes) -> None:
    with processes:
        assert processes.run("task", "-c", "print('done')") == "done\n"
        processes.watch()


def test_a_task_that_fails_is_told_with_the_end_of_its_log(processes: Processes) -> None:
    with processes, pytest.raises(ChildFailed, match="task ended with exit code 3") as failure:
        processes.run("task", "-c", "for n in range(99): print(n)\nexit(3)")
    assert failure.value.last_lines[-1] == "98"
    assert len(failure.value.last_lines) == module.LAST_LINES


def test_a_server_that_ends_is_told_even_if_it_ends_well(processes: Processes) -> None:
    with processes:
        processes.serve("server", "-c", "print('ready')", ready="ready")
        processes.children[0].process.wait()
        with pytest.raises(ChildFailed, match="server ended with exit code 0"):
            processes.wait_until_ready()


def test_a_server_that_does_not_get_ready_is_told(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with processes:
        processes.serve("server", "-c", SERVES, ready="never said")
        with pytest.raises(ChildFailed, match="server took more than"):
            processes.wait_until_ready()


@pytest.mark.parametrize("program", [SERVES, DEFIES], ids=["obeys", "defies"])
def test_whatever_runs_is_ended_with_its_own_children(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.5)
    with processes:
        processes.serve("server", "-c", HAS_A_CHILD + program, DEFIES, ready="ready\nready")
        processes.wait_until_ready()
        server = psutil.Process(processes.children[0].process.pid)
        [child] = server.children()
    assert not server.is_running()
    gone, alive = psutil.wait_procs([child], timeout=10)
    assert (gone, alive) == ([child], [])


def test_a_signal_ends_the_wait_for_a_task(processes: Processes) -> None:
    tell = f"import os, time; os.kill({os.getpid()}, {signal.SIGTERM.value}); time.sleep(60)"
    with processes, pytest.raises(KeyboardInterrupt):
        processes.run("task", "-c", tell)
    assert not processes.children[0].is_running()
