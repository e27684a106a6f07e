import copy

import numpy as np
import pytest

import bgformer as bgf
from bgformer.graph.stability import RESOLUTIONS
from bgformer.r import bridge


@pytest.fixture
def held(model):
    """What R holds of the model, as R sends it back."""
    return bridge.results(model.fitted)


def test_results_are_plain_and_complete(model):
    answer = bridge.results(model.fitted, batch_key="donor")
    n, m = model.weights_.shape
    np.testing.assert_array_equal(answer["labels"], model.partition_.labels)
    assert answer["levels"] == [str(i) for i in range(model.partition_.labels.max() + 1)]
    assert answer["embedding"].shape == (n, 32)
    assert answer["weights"]["shape"] == [n, m]
    assert answer["params"]["batch_key"] == "donor"
    assert isinstance(answer["model"], bytearray)
    # no cell travels twice: there is no room for the latent
    network = sum(4 * value.numel() for value in model.network_.state_dict().values())
    held_out = sum(values.nbytes for values in model.profiles_)
    assert len(answer["model"]) < network + held_out + model.latent_.nbytes


def test_a_model_that_went_through_r_is_the_same_on_disk(model, held, pbmc700, tmp_path):
    answer = bridge.save(
        held, held["embedding"], held["weights"], str(tmp_path / "reference"), False
    )
    assert answer["error"] is None
    loaded = bgf.BGFormer.load(tmp_path / "reference")
    np.testing.assert_array_equal(loaded.predict(pbmc700), model.predict(pbmc700))
    np.testing.assert_array_equal(loaded.partition_.labels, model.partition_.labels)
    np.testing.assert_array_equal(loaded.confidence(pbmc700), model.confidence(pbmc700))
    np.testing.assert_array_equal(loaded.latent_, model.latent_)
    assert (loaded.weights_ != model.weights_).nnz == 0
    assert loaded.settings() == model.settings()
    np.testing.assert_array_equal(loaded.history_["loss"], model.history_["loss"])
    again = bridge.load(str(tmp_path / "reference"))
    assert {name for name in again if again[name] is None} == {"error"}
    np.testing.assert_array_equal(again["labels"], held["labels"])


def test_clusters_of_part_of_the_cells_keep_their_numbers(held, model, tmp_path):
    # Saved with the smallest cluster's cells and few others, as of an object cut in R.
    labels = model.partition_.labels
    cells = np.sort(np.r_[np.flatnonzero(labels == labels.max()), np.flatnonzero(labels == 0)[:2]])
    weights = model.weights_[cells].tocsc()
    parts = {name: getattr(weights, name) for name in ("data", "indices", "indptr", "shape")}
    answer = bridge.save(held, held["embedding"][cells], parts, str(tmp_path / "part"), False)
    assert answer["error"] is None
    loaded = bgf.BGFormer.load(tmp_path / "part")
    np.testing.assert_array_equal(loaded.partition_.labels, labels[cells])


def test_new_clusters_go_with_the_model(held, model, pbmc700, tmp_path):
    before = held | {"unassigned": np.zeros(pbmc700.n_obs)}
    answer = bridge.recluster(held["weights"], None, 3, model.seed, held["model"], before)
    assert answer["levels"] == ["0", "1", "2"]
    np.testing.assert_array_equal(np.unique(answer["labels"]), [0, 1, 2])
    bridge.save(held | answer, held["embedding"], held["weights"], str(tmp_path / "three"), False)
    expected = copy.copy(model)
    expected.recluster(n_clusters=3)
    loaded = bgf.BGFormer.load(tmp_path / "three")
    np.testing.assert_array_equal(loaded.predict(pbmc700), expected.predict(pbmc700))
    np.testing.assert_array_equal(loaded.confidence(pbmc700), expected.confidence(pbmc700))


def test_a_folder_that_is_no_model_is_not_replaced(held, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    answer = bridge.save(held, held["embedding"], held["weights"], str(tmp_path / "notes"), False)
    assert "exists and is not a saved model; choose another name" in answer["error"]
    assert [path.name for path in tmp_path.rglob("*")] == ["notes", "a.txt"]


@pytest.mark.parametrize(
    "damage", [lambda model: model[:1000], lambda model: model[:-9], lambda model: b"nothing"]
)
def test_damaged_bytes_are_said_to_be_damaged(held, damage, tmp_path):
    held |= {"model": damage(bytes(held["model"]))}
    answer = bridge.save(
        held, held["embedding"], held["weights"], str(tmp_path / "reference"), False
    )
    assert "the model in 'this object' is damaged" in answer["error"]
    assert list(tmp_path.iterdir()) == []


def test_resolutions_are_those_of_the_tool(clustered):
    expected = bgf.tl.resolutions(clustered, [0.5, 2])
    weights = clustered.obsm["bgformer_anchors"].tocsc()
    parts = {name: getattr(weights, name) for name in ("data", "indices", "indptr", "shape")}
    answer = bridge.resolutions(parts, [0.5, 2.0], 0)
    for name in expected:
        np.testing.assert_array_equal(answer[name], expected[name])
    assert bridge.resolutions(parts, 0.5, 0)["resolution"] == [0.5]  # one number from R
    assert tuple(bridge.resolutions(parts, None, 0)["resolution"]) == RESOLUTIONS


def test_a_model_that_is_not_of_these_anchors_is_refused(held, tmp_path):
    fewer = held["weights"] | {"shape": [1, 7], "indptr": np.zeros(8), "data": [], "indices": []}
    other = {name: held[name] for name in held if name != "anchor_clusters"}
    answers = [
        bridge.recluster(fewer, 1.0, None, 0, held["model"], held),
        bridge.save(
            other | {"anchor_clusters": np.zeros(7)}, held["embedding"], fewer, str(tmp_path), True
        ),
    ]
    for answer in answers:
        assert answer["code"] == "damaged-model"
        assert "and what is stored with it 7" in answer["error"]


def test_errors_have_a_code_and_the_names_that_r_uses(held, tmp_path):
    before = held | {"unassigned": np.zeros(len(held["labels"]))}
    answer = bridge.recluster(held["weights"], None, 1_000_000, 0, held["model"], before)
    assert answer["code"] == "too-many-clusters"
    assert answer["error"].startswith("n.clusters is 1000000, but the ")
    answer = bridge.load(str(tmp_path))
    assert answer["code"] == "file-not-found"
