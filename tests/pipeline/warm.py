"""A ``python`` and a ``dvc`` with the large libraries imported, where the start of a stage is not what is tested.

Most of a tiny stage's time is the import of torch and transformers. The commands that ``Warm`` makes, first in PATH,
hand ``python -m stages.<name>`` and ``dvc`` to a server, which forks: the new process imports the project's code alone,
from its own folder. Any other command, or one whose environment has other settings of the libraries, runs as always. A
stage is then no descendant of DVC: it does not know its position in the run, and Ctrl-C does not reach it.
"""

import atexit
import gc
import importlib
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

LIBRARIES = (
    "pandas", "scipy.stats", "matplotlib.figure", "typer", "transformers.models.gpt2.modeling_gpt2",
    "transformers.generation.utils", "sentence_transformers", "lm_eval.evaluator", "mlflow", "dvc.cli", "dvc.repo",
    "dvc.commands.repro", "dvc.commands.data_sync", "dvc.commands.experiments",
)  # fmt: skip
READ_AT_IMPORT = ("HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT", "OMP_NUM_THREADS")
"""Variables that libraries read when they are imported, and that tests set."""
SHIM = """#!{python} -ISE
import sys
sys.path.insert(0, {folder!r})
import warm
warm.ask({address!r}, {known!r}, [*{prefix!r}, *sys.argv[1:]])
"""


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key in READ_AT_IMPORT}


class Warm:
    """The server, until the end of the block, and its commands in ``folder``."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(exist_ok=True)
        address = folder / "socket"
        own = {"python": sys.executable, "folder": str(Path(__file__).parent)}
        own |= {"address": str(address), "known": settings(environment)}
        for name, prefix in (("python", []), ("dvc", ["-m", "dvc"])):
            (folder / name).write_text(SHIM.format(**own, prefix=prefix))
            (folder / name).chmod(0o755)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(address))
        listening.listen()
        self.server = subprocess.Popen(
            [sys.executable, __file__, str(listening.fileno())],
            pass_fds=[listening.fileno()],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        listening.close()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.server.kill()
        self.server.wait()


def ask(address: str, known: dict[str, str], arguments: list[str]) -> None:
    """Have the server run ``python *arguments`` and exit as it does; run it here if that is not the server's task.

    Args:
        known: the settings with which the server has imported its libraries.
    """
    ours = re.match(r"-m (stages\.|dvc\b)", " ".join(arguments[:2]))
    if not ours or settings(os.environ) != known:
        os.execv(sys.executable, [sys.executable, *arguments])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        request = json.dumps([arguments[1:], os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(connection, [len(request).to_bytes(8)], [0, 1, 2])
        connection.sendall(request)
        answer = connection.recv(4)
    if not answer:
        sys.exit(f"warm: the server has lost {' '.join(arguments)}")
    code = int.from_bytes(answer, signed=True)
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


def serve(listening: socket.socket) -> None:
    """Fork for every request. The server never returns; a stage's process does when its arguments are in place."""
    for name in LIBRARIES:
        importlib.import_module(name)
    sys.modules["lm_eval.evaluator"].add_env_info = lambda results: None  # asks pip and the system, and is not kept
    gc.freeze()  # a search for garbage would copy every page to the new process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes that answer
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            break
        connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listening.close()
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    request = b""
    while len(request) < int.from_bytes(size):
        request += connection.recv(1 << 16)
    if stage := os.fork():
        connection.sendall(os.waitstatus_to_exitcode(os.waitpid(stage, 0)[1]).to_bytes(4, signed=True))
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    arguments, folder, environment = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = arguments


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file
    serve(socket.socket(fileno=int(sys.argv[1])))
    code: object = 0
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        code = 1
        sys.excepthook(*sys.exc_info())
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))  # to take the libraries apart takes as long
