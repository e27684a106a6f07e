"""Counts on disk: the same clusters as in memory, checked alike, and never read as a whole."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import bgformer as bgf
from bgformer.data import checks, source

pytestmark = pytest.mark.filterwarnings("ignore:one cluster, because")  # few anchors, few steps
WRITES_ZARR_V2 = pytest.mark.filterwarnings("ignore:Writing zarr v2")


@pytest.fixture
def in_blocks(monkeypatch):
    """Blocks so small that 150 cells are several."""
    monkeypatch.setattr("bgformer.runtime.block_sizes.COUNTS", 32)


@pytest.fixture
def from_a_sample(in_blocks, monkeypatch):
    """A training that sees 64 cells, from which the anchors are set too."""
    monkeypatch.setattr("bgformer.data.sample.LEAST", 64)
    monkeypatch.setattr("bgformer.fit.schedule.Schedule.batch_size", 8)
    monkeypatch.setattr("bgformer.runtime.block_sizes.PLACED", 64)
    monkeypatch.setattr("bgformer.runtime.block_sizes.WEIGHTS", 64)
    monkeypatch.setattr("bgformer.runtime.block_sizes.LINKS", 100)


@pytest.fixture
def donors(cells):
    """Cells of two donors, the counts in X and a layer, names that are not ASCII."""
    cells.obs["donor"] = pd.Categorical(np.where(np.arange(cells.n_obs) % 3, "a", "b"))
    cells.layers["raw"] = cells.X.copy()
    cells.obs_names = [f"Zelle-{i}-ä" for i in range(cells.n_obs)]
    return cells


def written(adata, path, kind):
    """Write cells with the counts in X as CSR, CSC or dense, and return the path."""
    make = {"CSR": sparse.csr_matrix, "CSC": sparse.csc_matrix, "dense": lambda x: x.toarray()}
    adata.X = make[kind](sparse.csr_matrix(adata.X))
    if path.suffix == ".zarr":
        pytest.importorskip("zarr")
        adata.write_zarr(path)
    else:
        adata.write_h5ad(path)
    return path


def check_same(one, other):
    """Check that two fits found the same, to the last bit."""
    for part in ("labels", "confidence", "anchor_clusters", "anchor_support"):
        np.testing.assert_array_equal(
            getattr(one.partition_, part), getattr(other.partition_, part)
        )
    np.testing.assert_array_equal(one.latent_, other.latent_)
    assert (one.weights_ != other.weights_).nnz == 0
    np.testing.assert_array_equal(one.genes_, other.genes_)
    pd.testing.assert_frame_equal(one.evidence_, other.evidence_)


@WRITES_ZARR_V2
@pytest.mark.parametrize(
    ("suffix", "kind", "trained_on"),
    [
        (".h5ad", "CSR", "all"),
        (".h5ad", "CSR", "sample"),
        (".h5ad", "CSC", "all"),
        (".h5ad", "dense", "sample"),
        (".zarr", "CSR", "sample"),
        (".zarr", "dense", "all"),
    ],
)
def test_a_file_gives_what_memory_gives(donors, tmp_path, request, suffix, kind, trained_on):
    request.getfixturevalue("in_blocks" if trained_on == "all" else "from_a_sample")
    settings = {"max_steps": 6, "n_top_genes": 300, "n_anchors": 20, "verbose": False}
    path = written(donors, tmp_path / f"cells{suffix}", kind)
    for what in ({}, {"batch_key": "donor"}, {"layer": "raw"}):
        from_file = bgf.BGFormer(**settings).fit(path, **what)
        from_memory = bgf.BGFormer(**settings).fit(donors, **what)
        check_same(from_file, from_memory)
    np.testing.assert_array_equal(from_file.embed(path), from_file.latent_)
    np.testing.assert_array_equal(from_file.predict(path), from_file.partition_.labels)


@pytest.mark.parametrize("trained_on", ["all", "sample"])
def test_a_backed_anndata_takes_what_memory_takes(donors, tmp_path, request, trained_on):
    request.getfixturevalue("in_blocks" if trained_on == "all" else "from_a_sample")
    donors.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for adata in (backed, donors):
        bgf.tl.cluster(adata, batch_key="donor", max_steps=6, n_anchors=20, verbose=False)
    pd.testing.assert_frame_equal(backed.obs, donors.obs)
    np.testing.assert_array_equal(backed.obsm["X_bgformer"], donors.obsm["X_bgformer"])
    assert backed.isbacked
    backed.file.close()


def test_blocks_of_a_training_change_no_cluster(donors, in_blocks, tmp_path, monkeypatch):
    settings = {"max_steps": 6, "n_anchors": 20, "verbose": False}
    in_small_blocks = bgf.BGFormer(**settings).fit(written(donors, tmp_path / "c.h5ad", "CSR"))
    monkeypatch.undo()
    at_once = bgf.BGFormer(**settings).fit(donors)
    np.testing.assert_array_equal(in_small_blocks.genes_, at_once.genes_)
    np.testing.assert_allclose(in_small_blocks.latent_, at_once.latent_, rtol=1e-3, atol=1e-4)


def test_a_sample_is_said_and_every_cell_gets_a_cluster(donors, from_a_sample, capsys):
    fitted = bgf.BGFormer(max_steps=6, n_anchors=20).fit(donors)
    assert "trained on 64 of the cells" in capsys.readouterr().err
    assert len(fitted.partition_.labels) == len(fitted.latent_) == donors.n_obs
    refined = bgf.BGFormer(
        max_steps=6, n_anchors=20, n_clusters=3, verbose=False, objective=DEC
    ).fit(donors)
    assert len(refined.latent_) == donors.n_obs


DEC = bgf.model.Objective(dec=1.0)


@pytest.mark.parametrize("kind", ["CSR", "dense"])
def test_no_more_than_a_block_is_read_at_once(donors, in_blocks, tmp_path, monkeypatch, kind):
    path = written(donors, tmp_path / "cells.h5ad", kind)
    monkeypatch.setattr(source, "_DENSE_VALUES", 10 * donors.n_vars)
    read, as_csr = [], source.as_csr

    def observed(matrix, where):
        read.append(matrix.shape[0])
        return as_csr(matrix, where)

    def never(*_):
        raise AssertionError("the matrix was read as a whole")

    monkeypatch.setattr(source, "as_csr", observed)
    monkeypatch.setattr(source, "read_counts", never)
    monkeypatch.setattr(anndata, "read_h5ad", never)
    bgf.BGFormer(max_steps=3, n_top_genes=300, verbose=False).fit(path)
    assert sum(read) == donors.n_obs  # once, as training sees all cells
    read.clear()
    monkeypatch.setattr("bgformer.data.sample.LEAST", 64)
    monkeypatch.setattr("bgformer.fit.schedule.Schedule.batch_size", 8)
    fitted = bgf.BGFormer(max_steps=3, n_top_genes=300, verbose=False).fit(path)
    assert max(read) == (32 if kind == "CSR" else 10)
    assert sum(read) == 2 * donors.n_obs  # the training cells, and all to be placed
    read.clear()
    fitted.predict(path)
    assert sum(read) == donors.n_obs


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (-1, r"negative values \(-1"),
        (np.nan, r"values that are NaN or infinite \(nan"),
        (1.5, r"values that are not whole numbers \(1.5"),
    ],
)
@pytest.mark.parametrize("kind", ["CSR", "dense"])
def test_a_bad_value_in_a_late_block_is_named(donors, in_blocks, tmp_path, value, what, kind):
    counts = donors.X.astype(np.float32).tolil()
    counts[140, 7] = value
    donors.X = counts.tocsr()
    path = written(donors, tmp_path / "cells.h5ad", kind)
    message = (
        rf"X holds {what} in cell 'Zelle-140-ä', gene '{donors.var_names[7]}'\), so it is not raw "
        r"counts; layer 'raw' looks like counts: use layer='raw'\."
    )
    for cells in (path, donors):
        with pytest.raises(bgf.CountsError, match=message):
            bgf.BGFormer(max_steps=3, verbose=False).fit(cells)


def test_cells_without_counts_are_counted_over_all_blocks(donors, in_blocks, tmp_path):
    counts = donors.X.tolil()
    counts[40], counts[120] = 0, 0
    donors.X = counts.tocsr()
    donors.write_h5ad(tmp_path / "cells.h5ad")
    message = r"2 of 150 cells have no counts in X \(the first: 'Zelle-40-ä'\)"
    for cells in (tmp_path / "cells.h5ad", donors):
        with pytest.raises(bgf.CountsError, match=message):
            bgf.BGFormer(max_steps=3, verbose=False).fit(cells)


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_what_else_is_refused_is_refused_of_a_file(donors, tmp_path):
    fit = bgf.BGFormer(max_steps=3, verbose=False).fit
    path = tmp_path / "cells.h5ad"
    donors.write_h5ad(path)
    with pytest.raises(bgf.CountsError, match=r"layer 'x' is not in adata.layers .there: 'raw'"):
        fit(path, layer="x")
    with pytest.raises(ValueError, match=r"batch_key 'x' .*there: 'cell_type', 'donor'"):
        fit(path, batch_key="x")
    twice = donors.copy()
    twice.obs_names = [*donors.obs_names[:-1], donors.obs_names[0]]
    twice.write_h5ad(path)
    with pytest.raises(bgf.CountsError, match=r"1 cell names are duplicated .*: 'Zelle-0-ä'"):
        fit(path)
    without = anndata.AnnData(obs=donors.obs, var=donors.var, layers={"raw": donors.X})
    without.write_h5ad(path)
    for cells in (path, anndata.read_h5ad(path, backed="r")):
        with pytest.raises(bgf.CountsError, match=r"adata.X is empty; layer 'raw' looks like"):
            fit(cells)


def test_counts_stored_by_gene_are_read_with_a_warning_if_they_are_many(
    donors, tmp_path, monkeypatch
):
    path = written(donors, tmp_path / "cells.h5ad", "CSC")
    monkeypatch.setattr(source, "_FEW_VALUES", 100)
    with pytest.warns(UserWarning, match=r"stored by gene \(CSC\) .* adata.X.tocsr\(\)"):
        bgf.BGFormer(max_steps=3, verbose=False).fit(path)


def test_a_file_of_an_older_anndata_is_read(donors, tmp_path):
    donors.write_h5ad(tmp_path / "cells.h5ad")
    with h5py.File(tmp_path / "cells.h5ad", "r+") as file:
        for name in ("encoding-type", "encoding-version"):
            del file.attrs[name]
    settings = {"max_steps": 3, "verbose": False}
    check_same(
        bgf.BGFormer(**settings).fit(tmp_path / "cells.h5ad"), bgf.BGFormer(**settings).fit(donors)
    )


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all"])
def test_a_damaged_file(tmp_path, content):
    (tmp_path / "cells.h5ad").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"cells.h5ad' cannot be read as an .h5ad file: "
    ) as caught:
        bgf.BGFormer(verbose=False).fit(tmp_path / "cells.h5ad")
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_zarr_store(tmp_path):
    (tmp_path / "cells.zarr").mkdir()
    with pytest.raises(ValueError, match=r"cells.zarr' cannot be read as a .zarr store: "):
        bgf.BGFormer(verbose=False).fit(tmp_path / "cells.zarr")


def test_blocks_are_the_matrix(donors, in_blocks, tmp_path):
    donors.write_h5ad(tmp_path / "cells.h5ad")
    counts = checks.read_counts(donors)
    with source.opened(tmp_path / "cells.h5ad") as cells:
        on_disk = source.source_of(cells)
        for one in (source.InMemory(counts), on_disk):
            starts, blocks = zip(*one.blocks(), strict=True)
            assert starts == (0, 32, 64, 96, 128)
            assert all(block.dtype == np.float32 for block in blocks)
            assert (sparse.vstack(blocks) != counts).nnz == 0
        assert list(cells.obs_names[i] for i in range(3)) == list(donors.obs_names[:3])
