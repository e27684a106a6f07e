"""What all plots share: they save, show, read results from files, and refuse bad input."""

import re

import numpy as np
import pytest
from matplotlib import pyplot as plt

import bgformer as bgf


def lyz(adata, **kwargs):
    return bgf.pl.markers(adata, "LYZ", **kwargs)


@pytest.mark.parametrize("name", ["umap.png", "umap.pdf"])
def test_a_figure_is_saved(drawn, tmp_path, name):
    assert bgf.pl.embedding(drawn, save=tmp_path / name) is not None
    assert (tmp_path / name).stat().st_size > 5000


def test_axes_of_a_subfigure_are_saved_with_the_whole_figure(clustered, tmp_path):
    part, _ = plt.figure().subfigures(1, 2)
    axis = part.subplots()
    assert bgf.pl.evidence(clustered, ax=axis, save=tmp_path / "evidence.png") is axis
    assert (tmp_path / "evidence.png").stat().st_size > 5000


@pytest.mark.parametrize(
    "plot",
    [
        bgf.pl.embedding,
        bgf.pl.training,
        bgf.pl.resolution,
        bgf.pl.tree,
        lambda adata, save: bgf.pl.markers(adata, "LYZ", save=save),
    ],
)
def test_a_folder_to_save_into_that_is_not_there(clustered, unchanged, tmp_path, plot):
    folder = tmp_path / "nowhere"
    message = re.escape(f"there is no folder '{folder}' to write into; make it first.")
    with unchanged(clustered), pytest.raises(FileNotFoundError, match=message):
        plot(clustered, save=folder / "figure.png")
    assert plt.get_fignums() == []


def test_show_shows_and_returns_nothing(drawn, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(1))
    assert bgf.pl.embedding(drawn, show=True) is None
    assert bgf.pl.training(drawn, show=True) is None
    assert bgf.pl.markers(drawn, "LYZ", show=True) is None
    assert len(shown) == 3
    assert bgf.pl.embedding(drawn, show=False) is not None
    assert bgf.pl.markers(drawn, "LYZ", show=False) is not None
    assert len(shown) == 3


@pytest.mark.parametrize(
    "plot", [bgf.pl.embedding, bgf.pl.training, bgf.pl.resolution, bgf.pl.tree, lyz]
)
def test_no_results_yet(cells, unchanged, plot):
    message = r"adata has no results named 'bgformer'; run bgformer.tl.cluster\(adata\) first."
    with unchanged(cells), pytest.raises(ValueError, match=message):
        plot(cells)


def test_plots_work_on_results_from_a_file(drawn, tmp_path):
    import anndata

    drawn.write_h5ad(tmp_path / "cells.h5ad")
    read = anndata.read_h5ad(tmp_path / "cells.h5ad")
    axis = bgf.pl.embedding(read, color="cell_type")
    assert len(axis.collections[0].get_offsets()) == read.n_obs
    assert len(bgf.pl.training(read)) >= 4


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"save": 5}, "save is 5; it must be the name of a file"),
        ({"save": "a\0b"}, "it must be the name of a file"),
        ({"save": "umap.xyz"}, "save 'umap.xyz' has a format that matplotlib cannot write"),
        ({"show": "yes"}, "show is 'yes'; it must be True or False"),
        ({"ax": 5}, "ax is 5; it must be Axes of matplotlib"),
    ],
)
@pytest.mark.parametrize(
    "draw", [bgf.pl.embedding, bgf.pl.evidence, bgf.pl.resolution, bgf.pl.tree]
)
def test_what_cannot_be_drawn_or_saved_is_said_before_anything_is_computed(
    clustered, monkeypatch, draw, asked, message
):
    if "ax" in asked and draw is bgf.pl.resolution:
        pytest.skip("draws two panels")
    monkeypatch.setattr("scanpy.pp.neighbors", None)
    monkeypatch.setattr("bgformer.tl.resolutions", None)
    with pytest.raises(ValueError, match=message):
        draw(clustered, **asked)


def test_a_folder_is_no_file(clustered, tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file in it"):
        bgf.pl.evidence(clustered, save=tmp_path)


@pytest.mark.parametrize("names", [5, np.array(5), [], [5], [["a"]], {}, len])
def test_what_is_drawn_has_a_name(clustered, names):
    with pytest.raises(ValueError, match=r"^color is .*; it must be a name or a list of names"):
        bgf.pl.embedding(clustered, color=names)
    with pytest.raises(ValueError, match=r"^markers (is|names) "):
        bgf.pl.markers(clustered, names)
