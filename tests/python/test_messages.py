"""Errors and warnings that every language words itself."""

import pickle

import bgformer as bgf
from bgformer.messages import InputError, InputWarning, Names, code_of, for_users, worded


def test_a_sentence_takes_the_names_of_a_language():
    error = InputError(
        "too-many", "{name[n_clusters]} is {given!r} of {name[adata.obs]}.", given="{seed} seed"
    )
    assert str(error) == "n_clusters is '{seed} seed' of adata.obs."
    names = Names({"n_clusters": "n.clusters", "seed": "seed.use", "adata.obs": "the metadata"})
    assert worded(error, names) == "n.clusters is '{seed} seed' of the metadata."
    assert worded(InputWarning("few", "{name[seed]}"), names) == "seed.use"
    assert worded(OSError("no seed"), names) == "no seed"


def test_a_sentence_is_one_line_whatever_is_given():
    assert str(InputError("odd", "{given} is odd.", given="a  b\n  c\r\n")) == "a  b c is odd."


def test_every_error_has_a_code():
    assert code_of(InputError("few", "few.")) == "few"
    assert code_of(FileExistsError("there")) == "file-exists"
    assert code_of(OSError("full")) == "os"


def test_an_error_survives_the_way_out_of_another_process():
    error = bgf.CountsError("few", "{name[layer]} has {n} cells.", n=3)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (bgf.CountsError, "layer has 3 cells.", "few")
    assert isinstance(again, ValueError)


def test_what_a_library_tells_programmers_is_not_for_users():
    class Both(DeprecationWarning, UserWarning):
        pass

    assert for_users(InputWarning)
    assert for_users(UserWarning)
    assert not any(map(for_users, (DeprecationWarning, FutureWarning, Both)))
