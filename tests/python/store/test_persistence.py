"""A saved model: complete or not there, and a clear word when it cannot be read."""

import json
import os
import stat

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import bgformer as bgf
from bgformer.store import persistence
from bgformer.store.state import to_state


@pytest.fixture
def saved(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def rewrite(saved, **changes):
    path = saved / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_model_is_tensors_and_json_alone(saved):
    assert sorted(p.name for p in saved.iterdir()) == ["model.json", "model.safetensors"]
    description = json.loads((saved / "model.json").read_text())
    assert description["format"] == persistence.FORMAT
    assert description["version"] == bgf.__version__
    assert all(
        isinstance(t, torch.Tensor) for t in load_file(saved / "model.safetensors").values()
    )


@pytest.mark.parametrize("missing", ["model.json", "model.safetensors"])
def test_a_missing_file_is_named(saved, missing):
    (saved / missing).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"no saved model in '.*model' .{missing} is missing"
    ):
        bgf.BGFormer.load(saved)


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no saved model in '.*nowhere'"):
        bgf.BGFormer.load(tmp_path / "nowhere")


@pytest.mark.parametrize("given", [None, [], 3, b"model", "", "a\0b"])
def test_what_is_no_path_is_said_to_be_none(model, given):
    for use in (bgf.BGFormer.load, model.save):
        with pytest.raises(ValueError, match=r"^directory is .*; give the path of a model"):
            use(given)


def cut_tensors(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def flip_header(saved):
    path = saved / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[:8] = b"\xff" * 8
    path.write_bytes(raw)


def empty_tensors(saved):
    (saved / "model.safetensors").write_bytes(b"")


def pickled(saved):
    torch.save({"latent": torch.zeros(3)}, saved / "model.safetensors")


def cut_json(saved):
    path = saved / "model.json"
    path.write_text(path.read_text()[:200])


def binary_json(saved):
    (saved / "model.json").write_bytes(b"\xff\xfe\x00\x80")


def not_an_object(saved):
    (saved / "model.json").write_text("[1, 2]")


def no_format(saved):
    path = saved / "model.json"
    description = json.loads(path.read_text())
    del description["format"]
    path.write_text(json.dumps(description))


def format_of_another_kind(saved):
    rewrite(saved, format="one")


def no_settings(saved):
    rewrite(saved, settings=None)


def impossible_setting(saved):
    settings = json.loads((saved / "model.json").read_text())["settings"]
    rewrite(saved, settings=settings | {"n_latent": -3})


def without_a_tensor(saved):
    tensors = load_file(saved / "model.safetensors")
    del tensors["anchors"]
    save_file(tensors, saved / "model.safetensors")


def tensor_of_another_shape(saved):
    tensors = load_file(saved / "model.safetensors")
    tensors["network.encoder_in"] = tensors["network.encoder_in"][:-1].contiguous()
    save_file(tensors, saved / "model.safetensors")


def weights_that_do_not_fit(saved):
    tensors = load_file(saved / "model.safetensors")
    tensors["weights.indptr"] = tensors["weights.indptr"][:-3].contiguous()
    save_file(tensors, saved / "model.safetensors")


def without_a_checksum(saved):
    description = json.loads((saved / "model.json").read_text())
    del description["checksum"]
    (saved / "model.json").write_text(json.dumps(description))


def one_bit(saved):
    path = saved / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1000] ^= 1
    path.write_bytes(raw)


def other_median_counts(saved):
    rewrite(saved, median_counts=1000.0)


def genes_in_another_order(saved):
    genes = json.loads((saved / "model.json").read_text())["genes"]
    rewrite(saved, genes=genes[::-1])


@pytest.mark.parametrize(
    "damage",
    [
        without_a_checksum,
        one_bit,
        other_median_counts,
        genes_in_another_order,
        cut_tensors,
        flip_header,
        empty_tensors,
        pickled,
        cut_json,
        binary_json,
        not_an_object,
        no_format,
        format_of_another_kind,
        no_settings,
        impossible_setting,
        without_a_tensor,
        tensor_of_another_shape,
        weights_that_do_not_fit,
    ],
)
def test_a_damaged_file_is_said_to_be_damaged(saved, damage):
    damage(saved)
    with pytest.raises(
        ValueError, match=r"the model in '.*' is damaged .*save it again"
    ) as caught:
        bgf.BGFormer.load(saved)
    assert "\n" not in str(caught.value)


@pytest.fixture
def state(model):
    """The tensors and the description of a model, to be changed."""
    tensors, description = to_state(model.fitted)
    return {name: values.clone() for name, values in tensors.items()}, description


def cut_genes(tensors, description):
    del description["genes"][0]


def twice_a_gene(tensors, description):
    description["genes"][0] = description["genes"][1]


def no_names(tensors, description):
    description["genes"] = 3


def not_finite(tensors, description):
    tensors["network.axes"][0, 0] = np.nan


def shifted_clusters(tensors, description):
    tensors["anchor_clusters"] += 1


def fractional_clusters(tensors, description):
    tensors["anchor_clusters"] = tensors["anchor_clusters"].float()


def missing_anchor(tensors, description):
    tensors["anchor_clusters"] = tensors["anchor_clusters"][:-1]


def narrow_latent(tensors, description):
    tensors["latent"] = tensors["latent"][:, :-1]


def weights_on_no_anchor(tensors, description):
    tensors["weights.indices"][0] = len(tensors["anchors"])


def weights_of_no_cell(tensors, description):
    tensors["weights.indptr"][3] = tensors["weights.indptr"][-1] + 1


def support_above_one(tensors, description):
    tensors["anchor_support"][0] = 2


def held_out_at_no_anchor(tensors, description):
    tensors["profiles.nearest"][0] = -1


def held_out_of_fewer_genes(tensors, description):
    tensors["profiles.total"] = tensors["profiles.total"][:, 1:]


def short_history(tensors, description):
    tensors["history.loss"] = tensors["history.loss"][1:]


def median_counts(value):
    def change(tensors, description):
        description["median_counts"] = value

    return change


def negative_resolution(tensors, description):
    description["resolution"] = -1.0


IMPOSSIBLE = [
    (cut_genes, "'genes' has"),
    (twice_a_gene, "'genes' has a name twice"),
    (no_names, "'genes' are not a list"),
    (not_finite, "'network.axes' holds values that are not finite"),
    (shifted_clusters, "'anchor_clusters' are not numbered from 0"),
    (fractional_clusters, "'anchor_clusters' are not"),
    (missing_anchor, "'anchor_clusters' are not"),
    (narrow_latent, "'latent' has the shape"),
    (weights_on_no_anchor, "'weights.indices' holds"),
    (weights_of_no_cell, "'weights.indptr' does not"),
    (support_above_one, "'anchor_support' is not from 0 to 1"),
    (held_out_at_no_anchor, "'profiles.nearest' holds"),
    (held_out_of_fewer_genes, "'profiles.total' has the shape"),
    (short_history, "'history.loss' has the shape"),
    (median_counts(0), "'median_counts' is 0"),
    (median_counts(-5), "'median_counts' is -5"),
    (median_counts(float("nan")), "'median_counts' is nan"),
    (median_counts("many"), "'median_counts' is 'many'"),
    (negative_resolution, "'resolution' is -1.0"),
]


@pytest.mark.parametrize(("change", "reason"), IMPOSSIBLE)
def test_a_model_that_cannot_be_is_refused_whatever_its_checksum(state, tmp_path, change, reason):
    change(*state)
    tensors, description = state
    persistence.write(tmp_path / "model", tensors, description, overwrite=False)
    with pytest.raises(ValueError, match=f"the model in '.*model' is damaged .{reason}"):
        bgf.BGFormer.load(tmp_path / "model")


def test_bytes_that_have_changed_are_damaged(state):
    packed = persistence.packed(*state)
    tensors, description = persistence.unpacked(packed, "here")
    assert description["genes"] == state[1]["genes"]
    assert all(torch.equal(tensors[name], values) for name, values in state[0].items())
    for at in (len(packed) - 1000, packed.index(b"median_counts") + 20):
        changed = bytearray(packed)
        changed[at] ^= 1
        with pytest.raises(ValueError, match=r"the model in 'here' is damaged"):
            persistence.unpacked(bytes(changed), "here")


def test_a_file_that_cannot_be_read_is_not_called_missing(saved, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("bgformer.store.persistence.load_file", refuse)
    message = r"^the model in '.*model' cannot be read: Permission denied\.$"
    with pytest.raises(PermissionError, match=message):
        bgf.BGFormer.load(saved)


def test_an_older_format_is_refused_in_words(saved):
    rewrite(saved, format=1)
    with pytest.raises(ValueError, match=r"saved by an older bgformer .*fit it again"):
        bgf.BGFormer.load(saved)


def test_a_newer_format_is_not_called_damaged(saved):
    rewrite(saved, format=persistence.FORMAT + 1, settings="something new")
    with pytest.raises(
        ValueError, match=r"saved by a newer bgformer .*update bgformer to load it"
    ):
        bgf.BGFormer.load(saved)


def test_a_gpu_asked_for_where_there_is_none_is_not_called_damage(saved):
    with pytest.raises(ValueError, match="device 'cuda:99' was asked for"):
        bgf.BGFormer.load(saved, device="cuda:99")


def test_what_is_not_a_model_is_not_overwritten(model, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "today.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for name in ("notes", "file"):
        with pytest.raises(FileExistsError, match=f"{name}' exists and is not a saved model"):
            model.save(tmp_path / name)
    assert (tmp_path / "notes" / "today.txt").read_text() == "keep"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "notes"]


@pytest.mark.parametrize("name", ["notes.txt", "model.safetensors/part", ".git/config"])
def test_a_folder_with_more_than_a_model_is_never_replaced(model, saved, name):
    (saved / "model.safetensors").unlink()
    (saved / name).parent.mkdir(exist_ok=True)
    (saved / name).write_text("keep")
    with pytest.raises(FileExistsError, match=r"also holds '.*', which is not part of a model"):
        model.save(saved, overwrite=True)
    assert (saved / name).read_text() == "keep"


@pytest.mark.parametrize("content", ["{}", "[]", '{"format": "gltf", "version": 2}', "nothing"])
def test_a_file_of_that_name_is_not_a_model(model, tmp_path, content):
    project = tmp_path / "proj"
    project.mkdir()
    (project / "model.json").write_text(content)
    with pytest.raises(FileExistsError, match="proj' exists and is not a saved model"):
        model.save(project, overwrite=True)
    assert (project / "model.json").read_text() == content


def test_a_link_to_a_model_stays_a_link(model, saved):
    link = saved.with_name("link")
    link.symlink_to(saved)
    (saved / "model.safetensors").chmod(0o600)
    (saved / "model.safetensors").write_bytes(b"old")
    model.save(link, overwrite=True)
    assert link.is_symlink()
    np.testing.assert_array_equal(bgf.BGFormer.load(saved).latent_, model.latent_)
    assert stat.S_IMODE((saved / "model.safetensors").stat().st_mode) == 0o600
    assert sorted(path.name for path in saved.parent.iterdir()) == ["link", "model"]


def test_a_model_of_an_older_format_can_be_replaced(model, saved):
    rewrite(saved, format=1)
    model.save(saved, overwrite=True)
    np.testing.assert_array_equal(bgf.BGFormer.load(saved).latent_, model.latent_)


def test_a_model_replaces_a_model(model, saved, cells):
    other = bgf.BGFormer(max_steps=3, verbose=False).fit(cells)
    with pytest.raises(FileExistsError, match=r"holds a saved model; .* with overwrite=True"):
        other.save(saved)
    np.testing.assert_array_equal(bgf.BGFormer.load(saved).latent_, model.latent_)
    other.save(saved, overwrite=True)
    np.testing.assert_array_equal(bgf.BGFormer.load(saved).latent_, other.latent_)
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("step", ["save_file", "_as_text", "os.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_nothing_and_loses_nothing(
    model, saved, monkeypatch, step, error
):
    def fail(*args, **kwargs):
        raise error

    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    monkeypatch.setattr(f"bgformer.store.persistence.{step}", fail)
    for target in (saved, saved.with_name("new")):
        with pytest.raises(type(error)):
            model.save(target, overwrite=True)
    monkeypatch.undo()
    assert [p.name for p in saved.parent.iterdir()] == ["model"]
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before


def test_a_model_that_cannot_take_its_place_gives_the_old_one_back(model, saved, monkeypatch):
    real, calls = os.replace, []

    def second_fails(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError("disk full")
        real(source, target)

    monkeypatch.setattr("bgformer.store.replacing.os.replace", second_fails)
    with pytest.raises(OSError, match="disk full"):
        model.save(saved, overwrite=True)
    monkeypatch.undo()
    assert [p.name for p in saved.parent.iterdir()] == ["model"]
    np.testing.assert_array_equal(bgf.BGFormer.load(saved).latent_, model.latent_)


def test_a_model_is_as_readable_as_any_other_file(model, tmp_path):
    before = os.umask(0o022)
    try:
        model.save(tmp_path / "model")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o755
    for path in (tmp_path / "model").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
