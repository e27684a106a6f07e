"""The progress line in a terminal, in a pipe, and when told to be silent."""

import logging
import os
import pty
import re
import subprocess
import sys
import threading

import pytest

import bgformer as bgf
from bgformer.runtime.progress import LOG, Progress, lines_to

STEPS = """
import time
from bgformer.runtime.progress import Progress
with Progress(40) as line:
    for step in range(1, {last} + 1):
        time.sleep(0.02)
        line.update(step)
print("after", file=__import__("sys").stderr)
"""


def in_terminal(script, environment, columns=100):
    """Run Python with a terminal as its standard error and return what it wrote there."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    variables = {k: v for k, v in environment.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=variables,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        close_fds=True,
    )
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 4096):
            text += chunk
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return text.decode().replace("\r\n", "\n")


def test_a_terminal_sees_one_line_rewritten(environment):
    text = in_terminal(STEPS.format(last=40), environment)
    lines = text.split("\n")
    assert len([line for line in lines if "step" in line]) == 1
    assert lines[0].count("\r") >= 3
    shown = lines[0].split("\r")[-1].strip()
    assert shown == "bgformer: step 40/40, 0 s left"
    assert lines[1].startswith("after")


def test_a_terminal_line_is_ended_when_the_work_stops_early(environment):
    text = in_terminal(STEPS.format(last=30), environment)
    assert [line.strip() for line in text.split("\n")][-2] == "after"


def test_a_narrow_terminal_is_not_overrun(environment):
    text = in_terminal(STEPS.format(last=40), environment, columns=24)
    shown = text.split("\n")[0].split("\r")[1:]
    assert shown
    assert max(len(part) for part in shown) < 24


def test_a_pipe_sees_a_plain_line_per_tenth(run_python):
    done = run_python("-c", STEPS.format(last=40))
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"(bgformer: step \d+/40, \d s left\n){10}after\n", done.stderr)
    assert [int(re.search(r"(\d+)/", line)[1]) for line in lines[:-1]] == list(range(4, 41, 4))
    assert done.stdout == ""


@pytest.mark.parametrize("total", [1, 3, 10, 600])
def test_the_last_step_is_always_told(capsys, total):
    line = Progress(total)
    for step in range(1, total + 1):
        line.update(step)
    told = capsys.readouterr().err.splitlines()
    assert told[-1] == f"bgformer: step {total}/{total}, 0 s left"
    assert len(told) <= 10


def test_a_fit_tells_cells_steps_and_clusters(cells, capsys):
    bgf.tl.cluster(cells, max_steps=10)
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert told.out == ""
    assert re.match(r"bgformer: 150 cells x \d+ genes, \d+ anchors, \w+", lines[0])
    assert lines[-1] == f"bgformer: {cells.obs['bgformer'].nunique()} clusters"
    assert "bgformer: step 10/10, 0 s left" in lines


def test_silence_when_asked_for(cells, capfd):
    bgf.tl.cluster(cells, max_steps=10, verbose=False)
    bgf.tl.recluster(cells, n_clusters=3)
    assert capfd.readouterr() == ("", "")


def test_lines_go_through_the_logger_whose_level_is_the_users(cells, capsys, tmp_path):
    log = logging.getLogger("bgformer")
    written = logging.FileHandler(tmp_path / "log.txt")
    log.addHandler(written)
    try:
        bgf.tl.cluster(cells, max_steps=3)
        assert capsys.readouterr().err.startswith("bgformer: 150 cells x ")
        log.setLevel(logging.WARNING)
        bgf.tl.cluster(cells, max_steps=3)
    finally:
        log.removeHandler(written)
        written.close()
        log.setLevel(logging.INFO)
    assert capsys.readouterr().err == ""
    assert (tmp_path / "log.txt").read_text().startswith("150 cells x ")


def test_lines_go_to_a_function_on_its_own_thread(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert Progress(2).in_place
    shown = []
    with lines_to(shown.append):
        line = Progress(2)
        for step in (1, 2):
            line.update(step)
        thread = threading.Thread(target=LOG.info, args=("from elsewhere",))
        thread.start()
        thread.join()
    assert shown == ["bgformer: step 1/2, 0 s left", "bgformer: step 2/2, 0 s left"]
    assert capsys.readouterr().err == "bgformer: from elsewhere\n"
    LOG.info("afterwards")
    assert capsys.readouterr().err == "bgformer: afterwards\n"
