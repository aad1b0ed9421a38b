"""Words of a CSV that no spreadsheet runs; the rest is tested with what uses it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.tables import guard_word, guard_words, read_word

WORDS = [
    *("=1+1", "+dox", "-ctrl", "@name", "\tx", "\rx", "'=1", "''-a", "'quoted'"),
    *("a;=1+1", "a\n=1+1", "\uff1d1", "plain", "a-b", "a = b", "", "-", "=", "-5x"),
]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_a_csv_begins_no_formula_and_is_read_as_it_was(word: str) -> None:
    guarded = guard_word(word)
    for cell in re.split(r"[;\t\r\n]", guarded):
        assert not cell.startswith(("=", "+", "-", "@", "\uff1d"))
    assert not guarded.startswith(("\t", "\r"))
    assert read_word(guarded) == word
    if word in {"plain", "a-b", "a = b", "", "'quoted'"}:
        assert guarded == word


@pytest.mark.parametrize("number", ["-5", "+3", "-1.5e-3", -5, -1.5, True, None])
def test_numbers_stay_numbers_in_a_csv(number: Any) -> None:
    assert guard_word(number) is number


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_words_of_a_table_are_guarded_whatever_their_dtype(dtype: Any) -> None:
    words = pd.Series(["=1+1", "b"], dtype=dtype)
    table = pd.DataFrame({"word": words, "n": [-1, 2], "=x": [-0.5, np.nan]})
    text = guard_words(table).to_csv(index=False, lineterminator="\n")
    assert text == "word,n,'=x\n'=1+1,-1,-0.5\nb,2,\n"
    assert table.columns[2] == "=x"
