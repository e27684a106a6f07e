"""Which device is used, and what happens when its memory is full."""

import copy
import warnings

import numpy as np
import pytest
import torch

import bgformer as bgf
from bgformer.network.network import Network
from bgformer.runtime.devices import Portions, pick_device


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "meta", ""])
def test_an_unknown_device(device):
    with pytest.raises(ValueError, match=f"device '{device}' is unknown; use 'auto', 'cpu'"):
        pick_device(device)


@pytest.mark.parametrize("device", [1, None, ["cpu"]])
def test_a_device_that_is_no_name(device):
    with pytest.raises(ValueError, match=r"device is .*; use 'auto', 'cpu', 'cuda' or 'mps'"):
        pick_device(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_where_there_is_none(device, cells, unchanged):
    message = (
        f"device '{device}' was asked for, but torch .* finds none on this machine; use device"
    )
    with unchanged(cells), pytest.raises(ValueError, match=message):
        bgf.tl.cluster(cells, device=device, verbose=False)


def test_a_device_beyond_those_there(cells, unchanged):
    with unchanged(cells), pytest.raises(ValueError, match="device 'cuda:99' was asked for"):
        bgf.tl.cluster(cells, device="cuda:99", verbose=False)


@pytest.fixture
def small_memory(monkeypatch):
    """Let the network stop, as on a GPU whose memory is full, at more than 60 cells."""
    encode = Network.encode

    def limited(self, seen):
        if len(seen.shares) > 60:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(self, seen)

    monkeypatch.setattr(Network, "encode", limited)


def test_a_full_memory_means_fewer_cells_at_once(model, pbmc700, small_memory):
    model = copy.deepcopy(model)
    with pytest.warns(UserWarning, match="the GPU has too little memory") as told:
        latent = model.embed(pbmc700)
    assert "for 700 cells at once; continuing with 350" in str(told[0].message)
    np.testing.assert_allclose(latent, model.latent_, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the model knows by now
        np.testing.assert_array_equal(model.embed(pbmc700), latent)


def test_training_goes_on_in_a_full_memory(cells, small_memory):
    with pytest.warns(UserWarning, match="the GPU has too little memory") as told:
        bgf.tl.cluster(cells, max_steps=6, verbose=False)
    said = [str(warning.message) for warning in told]
    assert sum("for 150 cells" in one for one in said) == 2  # the pass over all cells, and steps
    assert sum("for 38 cells at once; continuing with 19" in one for one in said) == 1  # two views
    assert np.isfinite(cells.uns["bgformer"]["history"]["loss"]).all()
    assert np.isfinite(cells.obsm["X_bgformer"]).all()


def test_no_memory_for_a_single_cell_is_an_error():
    def work(rows):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.warns(UserWarning, match="too little"), pytest.raises(torch.OutOfMemoryError):
        list(Portions().each(work, range(4)))
