"""Labels of a reference that new cells get."""

import anndata
import numpy as np
import pandas as pd
import pytest

import bgformer as bgf


@pytest.fixture(scope="module")
def _halves(_pbmc700):
    """Every other cell with its clusters and cell types, and the others, whose types are known."""
    reference, new = _pbmc700[::2].copy(), _pbmc700[1::2].copy()
    bgf.tl.cluster(reference, max_steps=30, verbose=False)
    return reference, new


@pytest.fixture
def reference(_halves):
    return _halves[0].copy()


@pytest.fixture
def new(_halves):
    """The other cells, without their types."""
    adata = _halves[1].copy()
    del adata.obs["cell_type"]
    return adata


@pytest.fixture
def truth(_halves):
    return _halves[1].obs["cell_type"].astype(str)


def test_new_cells_get_the_types_of_the_reference(reference, new, truth):
    bgf.tl.predict(new, reference, labels="cell_type")
    found, confidence = new.obs["cell_type"].astype(str), new.obs["cell_type_confidence"]
    unassigned = found == "unassigned"
    assert (unassigned == (new.obs["bgformer"] == "unassigned")).all()
    assert unassigned.mean() < 0.15
    right = found == truth
    assert right[~unassigned].mean() > 0.75
    assert confidence.dtype == np.float32
    assert confidence.between(0, 1).all()
    assert confidence[right].mean() > confidence[~right & ~unassigned].mean() + 0.1
    without = bgf.tl.predict(new, reference, copy=True)
    assert list(without.obs["bgformer"]) == list(new.obs["bgformer"])
    bgf.tl.recluster(new, n_clusters=2)


def test_the_confidence_is_the_share_of_the_weight(reference, new):
    reference.obs["half"] = np.where(np.arange(reference.n_obs) % 2, "odd", "even")
    bgf.tl.predict(new, reference, labels="half")
    odd = (reference.obs["half"] == "odd").to_numpy()
    weights = reference.obsm["bgformer_anchors"]
    of_odd = np.asarray(weights[odd].sum(axis=0)).ravel()
    share = new.obsm["bgformer_anchors"] @ (of_odd / np.asarray(weights.sum(axis=0)).ravel())
    assigned = (new.obs["half"] != "unassigned").to_numpy()
    np.testing.assert_array_equal(new.obs["half"][assigned] == "odd", share[assigned] > 0.5)
    expected = np.maximum(share, 1 - share)
    np.testing.assert_allclose(new.obs["half_confidence"], expected, rtol=1e-5)


def test_categories_and_colours_are_those_of_the_reference(reference, new):
    order = sorted(set(reference.obs["cell_type"]), reverse=True)
    reference.obs["cell_type"] = pd.Categorical(reference.obs["cell_type"], ["absent", *order])
    reference.uns["cell_type_colors"] = [f"#00000{at}" for at in range(len(order) + 1)]
    bgf.tl.predict(new, reference, labels="cell_type")
    assert list(new.obs["cell_type"].cat.categories) == [*order, "unassigned"]
    expected = [*reference.uns["cell_type_colors"][1:], "#999999"]
    assert list(new.uns["cell_type_colors"]) == expected


def test_cells_near_others_without_a_label_get_none(reference, new):
    labels = reference.obs["cell_type"].astype(object)
    most = labels.mode()[0]
    labels[labels != most] = None
    reference.obs["known"] = labels
    with pytest.warns(UserWarning, match="of 350 cells get no label of 'known', because most"):
        bgf.tl.predict(new, reference, labels="known")
    found, confidence = new.obs["known"], new.obs["known_confidence"]
    assert set(found.dropna()) == {most, "unassigned"}
    assert (confidence[found.isna()] == 0).all()
    assert (confidence[found == most] >= 0.4).all()  # more than cells without a label have


@pytest.mark.filterwarnings("ignore:.*are unlike those|.*get no label of 'own'")
def test_unassigned_cells_of_a_reference_give_no_labels(reference, new):
    bgf.tl.predict(new, reference)
    new.obs["kind"] = np.where(new.obs["bgformer"] == "unassigned", "apart", "known")
    new.obs["own"] = np.where(new.obs["bgformer"] == "0", "unassigned", "known")
    query = reference[:100].copy()
    bgf.tl.predict(query, new, labels=["kind", "own"])
    assert set(query.obs["kind"]) <= {"known", "unassigned"}
    apart = query.obs["bgformer"] == "unassigned"
    assert ((query.obs["own"] == "unassigned") == apart).all()


def test_labels_of_an_earlier_prediction_can_be_overwritten_later(reference, new):
    for labels in ("cell_type", None, "cell_type"):
        bgf.tl.predict(new, reference, labels=labels)
        assert list(new.uns["bgformer"]["labels"]) == ["cell_type"]


def test_several_columns_and_parts_of_clusters(reference, new, tmp_path):
    with pytest.warns(UserWarning, match="not divided"):
        bgf.tl.subcluster(reference, "1", verbose=False)
    bgf.tl.subcluster(reference, "0", n_clusters=2, verbose=False)
    reference.obs["run"] = np.arange(reference.n_obs) % 2  # numbers become text
    reference.write_h5ad(tmp_path / "reference.h5ad")
    read = anndata.read_h5ad(tmp_path / "reference.h5ad")
    names = ["bgformer_sub", "run"]
    for _ in range(2):  # and over their own
        bgf.tl.predict(new, read, labels=names)
    parts = reference.obs["bgformer_sub"].cat.categories
    assert list(new.obs["bgformer_sub"].cat.categories) == [*parts, "unassigned"]
    colours = [*reference.uns["bgformer_sub_colors"], "#999999"]
    assert list(new.uns["bgformer_sub_colors"]) == colours
    of_0 = new.obs["bgformer"] == "0"
    assert set(new.obs["bgformer_sub"][of_0]) >= {"0.0", "0.1"}
    assert new.obs["bgformer_sub"][of_0].str.startswith("0.").mean() > 0.9
    assert set(new.obs["run"]) == {"0", "1", "unassigned"}
    new.write_h5ad(tmp_path / "new.h5ad")
    again = anndata.read_h5ad(tmp_path / "new.h5ad")
    bgf.tl.predict(again, read, labels=names)
    assert list(again.obs["bgformer_sub"]) == list(new.obs["bgformer_sub"])


def test_what_is_no_label_is_refused(reference, new, model, unchanged):
    reference.obs["none"] = pd.Categorical([None] * reference.n_obs, ["a"])
    reference.obs["name"] = reference.obs_names
    reference.uns["few"] = 1
    cases = [
        (
            reference,
            "age",
            "labels is 'age', which is not a column of the reference .there: 'cell",
        ),
        (reference, "bgformer_confidence", "where new cells get their clusters"),
        (reference, "bgformer", "where new cells get their clusters; copy that column"),
        (reference, "none", "but this column of the reference has no labels"),
        (reference, "name", "has 350 different labels, which .* anchors cannot tell apart"),
        (reference, 3, "labels is 3; it must be the name of a column"),
        (reference, ["cell_type", None], "it must be the name of a column of the reference, or a"),
        (model, "cell_type", "labels needs cells that have them as reference: an AnnData"),
    ]
    reference.obs["size"] = np.linspace(0, 1, reference.n_obs)
    cases.append((reference, "size", "holds numbers, not labels"))
    for one, labels, message in cases:
        with unchanged(new), pytest.raises(ValueError, match=message):
            bgf.tl.predict(new, one, labels=labels)
    for column in ("cell_type", "cell_type_confidence"):
        mine = new.copy()
        mine.obs[column] = "mine"
        message = f"adata.obs has a column '{column}' that is not from bgformer"
        with unchanged(mine), pytest.raises(ValueError, match=message):
            bgf.tl.predict(mine, reference, labels="cell_type")
