"""What a command shows, and what goes to its log file."""

import os
import subprocess
import sys

CHATTY = """
import logging, sys, warnings
from tqdm import tqdm
from autocontrastive_gen.foundation import console
from autocontrastive_gen.foundation.commands import run

early = logging.StreamHandler()  # of a library that was imported before the command began
logging.getLogger("early").addHandler(early)
logging.getLogger("early").propagate = False

def main():
    with console.current().quiet("cell"):
        print("printed by a library")
        logging.getLogger("early").warning("early chatter")
        logging.getLogger("library").warning("a library's warning")
        logging.getLogger("library").error("a library's error")
        warnings.warn("deprecated in a library")
        list(tqdm(range(3), "a library's bar", disable=False))
        logging.getLogger("autocontrastive_gen.some").info("our words")
        logging.getLogger("autocontrastive_gen.some").debug("our details")
        console.current().say("one line")
    logging.getLogger("early").warning("late chatter")
    print("printed afterwards")

run(main, "trial")
"""
CHATTER = (
    "printed by a library",
    "early chatter",
    "a library's warning",
    "deprecated in a library",
    "a library's bar",
    "our details",
)
SHOWN = ("our words", "a library's error", "one line", "late chatter", "printed afterwards")


def command(folder, code=CHATTY, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_chatter_of_libraries_is_in_the_log_file_alone(tmp_path):
    shown = command(tmp_path)
    kept = (tmp_path / ".scratch/logs/trial-cell.log").read_text()
    for text in CHATTER:
        assert text in kept and text not in shown, text
    for text in SHOWN:
        assert text in shown, text
    assert "trial: our words" in shown and "one line" in kept


def test_chatter_is_shown_when_asked_for(tmp_path):
    shown = command(tmp_path, AUTOCONTRASTIVE_VERBOSE="1")
    for text in (*CHATTER[:-1], *SHOWN):
        assert text in shown, text


def test_each_process_has_a_log_of_its_own(tmp_path):
    command(tmp_path, RANK="1")
    assert "early chatter" in (tmp_path / ".scratch/logs/trial-cell-1.log").read_text()


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / ".scratch").write_text("a file where the folder should be")
    shown = command(tmp_path)
    assert "one line" in shown and "printed by a library" not in shown


def test_a_log_that_has_begun_keeps_its_name(tmp_path):
    command(tmp_path, CHATTY.replace("def main():", "def main():\n    logging.warning('before the cell')"))
    kept = (tmp_path / ".scratch/logs/trial.log").read_text()
    assert "before the cell" in kept and "printed by a library" in kept
    assert not (tmp_path / ".scratch/logs/trial-cell.log").exists()


def test_a_command_that_says_nothing_leaves_no_log(tmp_path):
    command(tmp_path, "from autocontrastive_gen.foundation.commands import run\nrun(lambda: None, 'trial')")
    assert not (tmp_path / ".scratch").exists()
