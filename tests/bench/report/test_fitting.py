import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.fitting import RESERVE, Part, Section, fitted

HEAD = "head"


def parts(n, rank=1, name="rows", size=100):
    return tuple(Part(f"{name} {number} ".ljust(size, "é"), rank, name) for number in range(n))


def test_what_fits_stands_whole_and_in_order():
    sections = [Section("A", parts(2, rank=9), "/A"), Section("B", ()), Section("", (Part("last", 0, "x"),))]
    text = fitted(HEAD, sections, 10_000)
    assert text == "\n".join(["head", "A", *(part.text for part in parts(2)), "/A", "last"]) + "\n"


def test_a_section_without_parts_is_left_out_with_its_frame():
    assert fitted(HEAD, [Section("opening", (), "closing")], 10_000) == "head\n"


def test_what_matters_more_is_kept_wherever_it_stands():
    text = fitted(HEAD, [Section("A", parts(30, rank=2, name="lesser"), "/A"), Section("B", parts(10, rank=1, name="greater"), "/B")], 3000)
    assert all(part.text in text for part in parts(10, name="greater"))
    assert "**Left out to stay within 3000 bytes:** " in text
    (missing,) = re.findall(r"(\d+) of 30 lesser", text)
    assert len(re.findall(r"^lesser \d", text, re.MULTILINE)) == 30 - int(missing) > 0


def test_parts_are_left_out_from_the_end_of_their_section():
    text = fitted(HEAD, [Section("A", (*parts(5), Part("small", 1, "rows"), *parts(5)), "/A")], 1500)
    assert re.findall(r"^rows (\d)", text, re.MULTILINE) == ["0", "1", "2"]
    assert "small" not in text


def test_what_explains_a_part_does_not_stand_without_it():
    huge = Section("row 1", (Part("x" * 5000, 1, "explanations"), Part("detail", 2, "details")))
    text = fitted(HEAD, [huge, Section("row 2", (Part("fine", 1, "explanations"),))], 2000)
    assert "row 1" not in text
    assert "detail\n" not in text
    assert "fine" in text
    assert "1 of 2 explanations, 1 of 1 details" in text


def test_one_byte_more_or_less_decides():
    whole = fitted(HEAD, [Section("A", parts(20))], 100_000)
    size = len(whole.encode())
    assert fitted(HEAD, [Section("A", parts(20))], size) == whole
    assert "of 20 rows" in fitted(HEAD, [Section("A", parts(20))], size - 1)


@given(
    st.lists(
        st.builds(
            Section,
            st.sampled_from(["", "\n<details>\n", "### title"]),
            st.lists(st.builds(Part, st.text("aé\n", min_size=1, max_size=400), st.integers(0, 3), st.sampled_from(["rows", "notes"])), max_size=8).map(tuple),
            st.sampled_from(["", "\n</details>"]),
        ),
        max_size=6,
    ),
    st.integers(RESERVE + 10, 4000),
)
def test_the_limit_holds_whatever_there_is_to_say(sections, limit):
    text = fitted(HEAD, sections, limit)
    assert len(text.encode()) <= limit
    assert text.startswith(HEAD)
    if "Left out" not in text:
        assert all(part.text in text for section in sections for part in section.parts)


@pytest.mark.parametrize("limit", [RESERVE + 300, 2000, 5000])
def test_folds_are_closed(limit):
    sections = [Section(f"<details>{number}", parts(7, rank=number), "</details>") for number in range(4)]
    text = fitted(HEAD, sections, limit)
    assert text.count("<details>") == text.count("</details>")
