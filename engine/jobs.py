"""Where a fine-tune runs. A Jobs runs one JobSpec to its end and says what it did; here: in a child process on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, Protocol

from engine.disk import NoSpace, refusal
from engine.ledger.codec import decode
from engine.nouns import JobFailure, JobSpec, Training

DEATHS = 3
"""A job that died so often without a word would go on dying: its cycle ends as rejected."""

SAID = "said.txt"  # in the job's folder: all that its last process wrote to standard output and standard error
DIED = "deaths.txt"  # there, too: a line for every death, so that they are counted across starts of the engine
ASKED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)  # somebody wanted that end; it says nothing about the job


class JobLost(Exception):
    """The job's process died without a word (killed, out of memory, node gone): worth another try."""


class Jobs(Protocol):
    """Runs fine-tunes. Running the same spec again finds what the first run left in its folder."""

    def warm(self) -> None:
        """Prepare for a job to come, without waiting."""
        ...

    def fit(self, spec: JobSpec) -> Training | JobFailure:
        """Run one job to its end. Raises JobLost when it died without a word."""
        ...

    def close(self) -> None:
        """Let go of what `warm` prepared."""
        ...


class LocalJobs:
    """A child process on this machine, forked from a server that has torch and Lightning imported already.

    So a job costs 0.2 s instead of 6 s, runs in its main thread, gives all its memory back, and takes nobody with it when it is
    killed. `fork` instead of `forkserver` is for a parent that has torch imported itself.

    threads: of torch on the CPU. The steps of a table model are too small to share out: a second thread makes them slower, and
        much slower when somebody else (Triton, say) wants the core. None leaves torch its own choice.
    """

    def __init__(self, start_method: Literal["forkserver", "fork"] = "forkserver", threads: int | None = 1):
        self.threads = threads
        self.context: Any = multiprocessing.get_context(start_method)
        if start_method == "forkserver":
            # Where s3fs is installed Lightning imports it to write a checkpoint: 0.2 s. What is absent is passed over.
            self.context.set_forkserver_preload(["engine.train", "s3fs"])

    def warm(self) -> None:
        """Start the fork server, which imports torch while the parent does something else."""
        if self.context.get_start_method() == "forkserver":
            from multiprocessing.forkserver import ensure_running

            with _apart():
                ensure_running()

    def fit(self, spec: JobSpec) -> Training | JobFailure:
        """Run the job in a child, which ends when this process does, however that ends."""
        self.warm()
        receiver, sender = self.context.Pipe(duplex=False)
        child = self.context.Process(target=_run, args=(spec, self.threads, sender), name=f"job-{spec.cycle_id}")
        try:
            child.start()
            sender.close()
            failure = receiver.recv()
        except EOFError:
            child.join()
            return died(Path(spec.folder), child.exitcode)
        except BaseException:
            if child.is_alive():
                child.kill()
            raise
        finally:
            if child.pid:
                child.join()
            receiver.close()
        if isinstance(failure, NoSpace):
            raise JobLost(str(failure)) from failure
        if failure is not None:
            return JobFailure(failure)
        training: Training = decode(Training, (Path(spec.folder) / "result.json").read_text())
        return training

    def close(self) -> None:
        """The fork server ends with this process."""


def died(folder: Path, code: int) -> JobFailure:
    """Write down that the job of this folder died without a word. Raises JobLost until it did so `DEATHS` times.

    `code` is its exit code, or the number of the signal that ended it with a minus before it.
    """
    how = _ending(code)
    if -code not in ASKED:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / DIED).open("a") as file:
            file.write(f"{how}\n")
        deaths = (folder / DIED).read_text().splitlines()
        if len(deaths) >= DEATHS:
            said = (folder / SAID).read_text(errors="replace").split("\n")[-6:] if (folder / SAID).exists() else []
            last = " / ".join(line.strip() for line in said if line.strip())
            words = f"; the last that it said: {last[-500:]}" if last else ""
            return JobFailure(f"the training job ended {len(deaths)} times without a word: {deaths[-1]}{words}")
    raise JobLost(f"the training job's process ended without a word: {how}")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"killed by signal {-code} ({signal.strsignal(-code)}{'; out of memory?' if -code == signal.SIGKILL else ''})"


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """What starts inside has neither our output, whose readers would wait for its end, nor the Ctrl-C that is meant for us."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    kept = {number: os.dup(number) for number in (1, 2) if _is_open(number)}
    try:
        _write_to(Path(os.devnull))
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _write_to(path: Path) -> None:
    """Let standard output and standard error of this process go to a file, in place of what is in it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)


def _run(spec: JobSpec, threads: int | None, sender: Connection) -> None:
    """In the child: fit, and say nothing or why not. Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    folder = Path(spec.folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_to(folder / SAID)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    from engine import train
    from engine.training.fitting import TrainingDiverged

    if threads:
        torch.set_num_threads(threads)
    try:
        train.fit(spec)
    except TrainingDiverged as error:
        sender.send(str(error))
    except Exception as error:
        import traceback

        if isinstance(refused := refusal(error, spec.folder), NoSpace):  # no fault of the challenger's
            sender.send(refused)
            return
        story = folder / "error.txt"
        story.write_text(traceback.format_exc())
        sender.send(f"the training job failed: {type(error).__name__}: {error} (whole story in {story})")
    else:
        sender.send(None)
    finally:
        sender.close()


def _end_with_parent() -> None:
    """A fine-tune that nobody waits for must not hold a GPU. The kernel would only tell of the fork server's end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
