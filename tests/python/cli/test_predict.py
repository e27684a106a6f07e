"""``bgformer predict``: from a saved model, or from a file with clustered cells."""

import anndata
import numpy as np
import pandas as pd
import pytest

import bgformer as bgf
from bgformer.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2")
READ = {".h5ad": anndata.read_h5ad, ".zarr": anndata.read_zarr}


@pytest.fixture(params=[".h5ad", ".zarr"])
def paths(request, clustered, pbmc700, tmp_path):
    """Files with the reference and with new cells, and the output."""
    if request.param == ".zarr":
        pytest.importorskip("zarr")
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories({"0": "large"})
    clustered.obs["cell_type"] = clustered.obs["cell_type"].astype("category")
    n_types = clustered.obs["cell_type"].nunique()
    clustered.uns["cell_type_colors"] = [f"#0000{at:02d}" for at in range(n_types)]
    new = pbmc700[::3].copy()
    del new.obs["cell_type"]
    paths = [tmp_path / f"{name}{request.param}" for name in ("reference", "new", "out")]
    for adata, path in zip((clustered, new), paths, strict=False):
        adata.write_zarr(path) if request.param == ".zarr" else adata.write_h5ad(path)
    return paths


def command(*arguments):
    return main(["predict", *map(str, arguments)])


def test_clustered_cells_are_a_reference_as_in_python(paths, tmp_path):
    reference, new, out = paths
    table = tmp_path / "labels.csv"
    words = ("--labels", "cell_type", "--csv", table, "--quiet")
    assert command(reference, new, "-o", out, *words) == 0
    read = READ[out.suffix]
    found, expected = read(out), read(new)
    bgf.tl.predict(expected, read(reference), labels="cell_type")
    pd.testing.assert_frame_equal(found.obs, expected.obs)
    assert "large" in set(found.obs["bgformer"])
    for name in ("bgformer_colors", "cell_type_colors"):
        assert list(found.uns[name]) == list(expected.uns[name])
    for name in ("model", "names", "labels"):
        np.testing.assert_array_equal(found.uns["bgformer"][name], expected.uns["bgformer"][name])
    rows = pd.read_csv(table, dtype=str)
    assert list(rows) == ["cell", *expected.obs]
    assert list(rows["cell_type"]) == list(expected.obs["cell_type"])
    assert command(reference, out, "-o", out, "--force", *words) == 0  # over its own
    pd.testing.assert_frame_equal(read(out).obs, expected.obs)


def test_names_are_kept_in_a_saved_model(paths, tmp_path):
    reference, new, out = paths
    read = READ[out.suffix]
    bgf.tl.model(read(reference)).save(tmp_path / "model")
    assert command(tmp_path / "model", new, "-o", out, "--quiet") == 0
    assert "large" in set(read(out).obs["bgformer"])


def test_what_cannot_be_predicted_is_one_line(paths, model, tmp_path, capsys):
    reference, new, out = paths
    model.save(tmp_path / "model")
    has_types = tmp_path / f"types{new.suffix}"
    cells = READ[new.suffix](new)
    cells.obs["cell_type"] = "mine"
    cells.write_zarr(has_types) if new.suffix == ".zarr" else cells.write_h5ad(has_types)
    types = ("--labels", "cell_type")
    for words, message in [
        ((tmp_path / "model", new, *types), "labels needs cells that have them; "),
        ((reference, new, "--labels", "age"), "labels is 'age', which is not a column of the ref"),
        ((new, new), "the reference has no results named 'bgformer'; run bgformer cluster first."),
        ((reference, has_types, *types), "the input's obs has a column 'cell_type' that is not"),
        ((tmp_path / f"none{new.suffix}", new), "none"),
    ]:
        assert command(*words, "-o", out) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
        assert not out.exists()
    words = ("--labels", "cell", "--csv", tmp_path / "t.csv")
    assert command(reference, new, *words) == 2
    assert "labels is 'cell', the column of the table" in capsys.readouterr().err
