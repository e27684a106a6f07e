"""Progress of a run in R's process, with functions in place of R's."""

import re

import pytest

import bgformer as bgf
from bgformer.r import session
from bgformer.r.answers import answering


@pytest.fixture
def ask(cells, monkeypatch):
    """Cluster the cells as R does, and let this function show the lines."""
    monkeypatch.setattr(session, "_show_in_r", None)  # what is set here is put back

    @answering
    def cluster(verbose):
        bgf.tl.cluster(cells, max_steps=2, verbose=verbose)
        return {}

    def asked(show, *, verbose=True):
        session.show_lines_with(show)
        return cluster(verbose)

    return asked


def test_r_shows_every_line_and_python_prints_none(ask, capfd):
    lines = []

    def show(line):
        lines.append(line)
        return True

    assert ask(show)["error"] is None
    assert re.fullmatch(r"bgformer: 150 cells x \d+ genes, \d+ anchors, \w+", lines[0])
    assert re.fullmatch(r"bgformer: \d+ clusters?", lines[-1])
    assert len(lines) == 4
    assert re.fullmatch(r"bgformer: step 1/2, \d+ s left", lines[1])
    assert lines[2] == "bgformer: step 2/2, 0 s left"
    del lines[:]
    assert ask(show, verbose=False)["error"] is None
    assert lines == []
    assert capfd.readouterr() == ("", "")


def test_r_stops_a_run_at_a_line(ask, capfd):
    lines = []

    def show(line):
        lines.append(line)
        return "step 1" not in line

    assert ask(show)["interrupted"]
    assert len(lines) == 2
    assert capfd.readouterr() == ("", "")


def test_an_error_in_r_is_part_of_the_answer(ask):
    def show(line):
        raise RuntimeError(f"R could not show: {line}")

    answer = ask(show)
    assert answer["code"] == "unexpected"
    assert "R could not show: bgformer: 150 cells" in answer["error"]


def test_without_r_in_this_process_lines_are_printed(ask, capsys):
    assert ask(None)["error"] is None
    assert capsys.readouterr().err.startswith("bgformer: 150 cells x ")
