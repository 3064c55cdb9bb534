import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.answers import Answers, Count, pack, unpack


@given(st.lists(st.booleans()))
def test_a_bitmap_unpacks_to_what_was_packed(flags):
    assert list(unpack(pack(flags), len(flags))) == flags


def test_a_bitmap_is_an_eighth_of_its_flags_in_base64():
    assert pack([True, False, False, False, False, False, False, True, True]) == "gYA="  # bytes 0x81 0x80


@pytest.mark.parametrize(("bitmap", "n"), [("gYA=", 8), ("gYA=", 17), ("gQ==", 4), ("", 1), ("?", 6)])
def test_a_bitmap_of_another_length_is_refused(bitmap, n):
    with pytest.raises(ValueError, match=r"flags|base64|padding"):
        unpack(bitmap, n)


def test_only_texts_that_were_asked_for_count():
    answers = Answers(3, pack([True, False, False]), pack([True, True, False]))
    assert answers.count() == Count(1, 2)
    assert answers.count([True, False, True]) == Count(1, 1)
    assert answers.count([False, True, True]) == Count(0, 1)


def test_none_of_none_is_no_count():
    with pytest.raises(ValueError, match="no count"):
        Answers(1, pack([True]), pack([True])).count([False])


def test_a_text_that_was_not_asked_for_cannot_be_right():
    with pytest.raises(ValueError, match="cannot be right"):
        Answers(2, pack([True, True]), pack([True, False]))


@pytest.mark.parametrize(("right", "n"), [(2, 1), (-1, 1), (0, 0)])
def test_impossible_counts_are_refused(right, n):
    with pytest.raises(ValueError, match="is no count"):
        Count(right, n)
