"""What the help of the command says of its options."""

import inspect

import pytest

import bgformer as bgf
from bgformer.cli import main
from bgformer.graph.defaults import DEFAULT_RESOLUTION


def help_of(capsys, monkeypatch, command):
    """Return the help on each option of a command, by the option's name."""
    monkeypatch.setenv("COLUMNS", "1000")  # one line for each option
    with pytest.raises(SystemExit):
        main([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    options = (line.split() for line in lines if line.startswith("  -"))
    return {next(word for word in words if word[:2] == "--"): " ".join(words) for words in options}


@pytest.mark.parametrize(
    ("command", "function", "at_least"),
    [
        ("cluster", bgf.tl.cluster, {"n_clusters", "max_steps", "seed", "device", "key_added"}),
        ("predict", bgf.BGFormer.load, {"device"}),
        ("recluster", bgf.tl.recluster, {"n_clusters", "key_added"}),
        ("markers", bgf.tl.markers, {"cluster_name"}),
    ],
)
def test_the_help_shows_the_defaults_of_python(capsys, monkeypatch, command, function, at_least):
    shown = help_of(capsys, monkeypatch, command)
    checked = set()
    for name, parameter in inspect.signature(function).parameters.items():
        option = f"--{name.replace('_', '-')}"
        if option in shown and parameter.default is not None:
            assert f"(default: {parameter.default})" in shown[option]
            checked.add(name)
    assert checked >= at_least


def test_the_help_shows_the_resolution_that_none_means(capsys, monkeypatch):
    shown = help_of(capsys, monkeypatch, "cluster")
    assert f"(default: {DEFAULT_RESOLUTION}, without splits" in shown["--resolution"]
