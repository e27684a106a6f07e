"""Checks of single values: what is taken, and one short sentence for what is not."""

import decimal
import fractions

import numpy as np
import pandas as pd
import pytest

from bgformer.arguments import flag, positive, text_or_none, weight, whole, whole_or_auto

ODD = [None, "x", b"x", [], [1], {}, {1}, len, 1j, np.array(3), pd.Series([1.0, 2.0]), pd.NA]
ODD += [True, np.True_, float("nan"), np.inf, decimal.Decimal("snan"), -(10**400), 10**5000]


@pytest.mark.parametrize("check", [whole, whole_or_auto, positive, weight])
@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_refused_in_one_short_line(check, value):
    with pytest.raises(ValueError, match=r"^n_things is .*; it must be a") as raised:
        check("n_things", value)
    assert len(str(raised.value)) < 160
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float16(3), fractions.Fraction(3)])
def test_numbers_of_any_kind_become_pythons(value):
    assert type(whole("n", value)) is int
    assert type(positive("n", value)) is type(weight("n", value)) is float
    assert whole("n", value) == positive("n", value) == weight("n", value) == 3


def test_a_number_that_is_too_large_is_said_to_be():
    with pytest.raises(ValueError, match="n is 1000000000000; it must be a whole number from 1 "):
        whole("n", 10**12, most=9)
    with pytest.raises(ValueError, match="it must be a whole number from 1 to 9007199254740992"):
        whole("n", 10**16)


@pytest.mark.parametrize("value", [1, 0, "yes", None, pd.NA, np.array([True, False])])
def test_a_flag_is_true_or_false(value):
    assert flag("copy", np.True_) is True
    with pytest.raises(ValueError, match=r"^copy is .*; it must be True or False"):
        flag("copy", value)


@pytest.mark.parametrize("value", [["a"], {"a": 1}, 5, b"a", np.array("a")])
def test_a_name_is_a_string(value):
    assert text_or_none("layer", None) is None
    with pytest.raises(ValueError, match=r"^layer is .*; it must be a string or None"):
        text_or_none("layer", value)
