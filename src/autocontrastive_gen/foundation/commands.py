"""What all commands of the project have in common: log, exit code, and the message when one fails."""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autocontrastive_gen.foundation import console
from autocontrastive_gen.foundation.errors import UserError, chain, is_out_of_memory, masked

log = logging.getLogger(__name__)

FAULT = 2
"""Exit code of bad input."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says of a full disk."""


def run(main: Callable[[], None], name: str) -> None:
    """Run a command. What a user can correct ends in one message and exit code 2, a bug in its traceback and 1.

    A user can correct a ``UserError`` and whatever the machine refuses (a full disk, too little memory, a missing
    file). The traceback of any failure is kept in the command's log file (``foundation.console``), which the message
    names; passwords of addresses are masked in both. Ctrl-C ends with 130, SIGTERM with 143, and a reader of the output
    that has left with 141, all after the clean-up of open blocks.
    """
    console.start(name)
    _spare_collections()
    if sys.flags.optimize > 1:
        sys.exit(_say(name, "python -OO (PYTHONOPTIMIZE=2) drops what transformers needs; leave it out", FAULT))
    for variable in ("DVC_NO_ANALYTICS", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY"):
        os.environ.setdefault(variable, "1")
    # MKL's sums, else of another order with another number of threads, since the alignment of arrays decides
    os.environ.setdefault("MKL_CBWR", "AUTO")
    signal.signal(signal.SIGTERM, _terminate)
    # SIGTERM ends the workers of a forked pool: one that ran our handler instead could wait for its queue for ever
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    try:
        with _interruptible():
            main()
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush goes nowhere
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        sys.exit(_say(name, "stopped; what was finished is kept, run the same command again to continue", 130))
    except UserError as error:
        sys.exit(_say(name, f"{error}{_remedy(error)}{_keep_traceback(name)}", FAULT))
    except Exception as error:
        refusal = _refusal(error)
        if refusal is None:
            bug = "this is a bug in the program and not a mistake in your input; please report it"
            _say(name, f"{bug}{_keep_traceback(name)}", 1)
            sys.excepthook = lambda *raised: print(
                masked("".join(traceback.format_exception(*raised))), file=sys.stderr
            )
            raise
        said = str(refusal) or type(refusal).__name__
        sys.exit(_say(name, f"{said}{_remedy(error)}{_keep_traceback(name)}", FAULT))
    finally:
        console.leave()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Whatever fails once Ctrl-C has been pressed counts as stopped by it.

    A module that was being imported may be left half made by a library that goes on; then the next one to use it fails.
    """
    pressed = []

    def interrupt(signum, frame):
        pressed.append(signum)
        raise KeyboardInterrupt

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is ignored, as after nohup
    if ours:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception as error:
        if pressed:
            raise KeyboardInterrupt from error
        raise
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _spare_collections() -> None:
    """Look for garbage less often, and not once more at the end.

    The imports of torch and transformers make a million objects that all live to the end; looking through them takes a
    quarter of a short command's time.
    """
    gc.set_threshold(50_000)
    atexit.register(_spare_the_last)


def _spare_the_last() -> None:
    """Keep objects from the last search, unless a library complains of those left at the end: triton from 3.9 on."""
    compiled = [vars(module) for name, module in sys.modules.items() if name.startswith("triton._C.")]
    if not any(type(value).__module__ == "nanobind" for names in compiled for value in names.values()):
        gc.freeze()


def parser(name: str, purpose: str) -> argparse.ArgumentParser:
    """The parser of ``python -m stages.<name>``; ``purpose`` is the module's docstring, shown by ``--help``."""
    return argparse.ArgumentParser(
        prog=f"python -m stages.{name}", description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter
    )


@contextmanager
def alone(lock: Path, task: str) -> Iterator[None]:
    """Run the block while no other process is in a block with the same lock file; wait for one that is, and say so.

    Args:
        task: what such a block does, for the message.
    """
    import fcntl

    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another process %s: waiting until it ends", task)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _refusal(error: Exception) -> BaseException | None:
    """What the machine refused: the exception itself, or the full disk that a library has wrapped in it."""
    if isinstance(error, OSError) and error.errno is not None or is_out_of_memory(error):
        return error  # an OSError without a number is a library's own
    return next(filter(_is_full, chain(error)), None)


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in FULL


def _remedy(error: BaseException) -> str:
    """What to do about what the machine refuses, which the system's own message does not say."""
    if any(map(_is_full, chain(error))):
        return "; the disk or your share of it is full: make room, then run the same command again to continue"
    if is_out_of_memory(error):
        return (
            "; there is too little memory (of the GPU, if one is used): lower in params.yaml batch_size of train, "
            "generate or benchmark, train.microbatch_size, or num_beams of a decoder; then run the same command again "
            "to continue"
        )
    absent = (each.filename for each in chain(error) if isinstance(each, FileNotFoundError))
    if any(str(path).startswith("runs/") for path in absent):
        return "; an earlier stage of the pipeline writes it: run `dvc repro`, or `dvc pull` if the run was shared"
    return ""


def _terminate(signum, frame):
    sys.exit(128 + signum)


def _say(name: str, message: str, code: int) -> int:
    print(f"{name}: {masked(message)}", file=sys.stderr, flush=True)
    return code


def _keep_traceback(name: str) -> str:
    own = console.current() or console.Console(name)
    own.log.write(traceback.format_exc())
    return f"\n{name}: full traceback in {own.log.path}" if own.log.whole else ""  # the disk may be what failed
