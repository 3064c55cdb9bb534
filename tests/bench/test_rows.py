import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rows import ROWS, find_row, published_flags, select_rows
from gptcore.__main__ import experiment_from, make_parser
from gptcore.errors import UsageError
from gptcore.experiment import Experiment

PUBLISHED_FLAGS = """
-
--trainable_token_pos first
--trainable_layers last_layer
--trainable_layers last_two_blocks
--trainable_layers all
--model_size "gpt2-medium (355M)"
--model_size "gpt2-large (774M)"
--model_size "gpt2-xl (1558M)"
--model_size "gpt2-xl (1558M)" --trainable_layers all
--weights random --trainable_layers all
--trainable_layers lora --lora_rank 16 --lora_alpha 16
--trainable_layers lora --lora_rank 16 --lora_alpha 8 --model_size "gpt2-xl (1558M)"
--context_length "model_context_length"
--no_padding --batch_size 1
--no_padding --batch_size 1 --accumulation_steps 8
--trainable_token_pos flexible
--disable_causal_mask
--ignore_index 50256
--average_embeddings
""".strip().splitlines()


@pytest.mark.parametrize(("row", "flags"), list(zip(ROWS, PUBLISHED_FLAGS, strict=True)), ids=lambda value: str(getattr(value, "number", "")))
def test_a_row_is_what_its_published_flags_say(row, flags):
    for typed in ("" if flags == "-" else flags, published_flags(row)):
        assert experiment_from(make_parser().parse_args(shlex.split(typed))) == row.experiment


def test_rows_are_numbered_in_order_and_differ():
    assert [row.number for row in ROWS] == list(range(1, 20))
    assert len({row.experiment for row in ROWS}) == 19
    assert ROWS[0].experiment == Experiment()


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [("1", [1]), ("1,4-5", [1, 4, 5]), ("5,4,4-5", [4, 5]), ("19", [19]), (" 2 , 3 ", [2, 3]), ("all", list(range(1, 20)))],
)
def test_selection(selection, numbers):
    assert [row.number for row in select_rows(selection)] == numbers


@given(st.sets(st.integers(1, 19), min_size=1))
def test_any_list_of_numbers_selects_exactly_them(numbers):
    assert {row.number for row in select_rows(",".join(map(str, numbers)))} == numbers


@pytest.mark.parametrize("selection", ["", "0", "20", "1-", "-3", "a", "1;2", "5-4", "1,,2", "1-2-3", "1.5", "٣", "1-20", "99999999999999999999"])
def test_a_wrong_selection_is_refused_with_what_is_allowed(selection):
    with pytest.raises(UsageError, match=r"1,4-5|rows 1 to 19"):
        select_rows(selection)


def test_an_unknown_row_is_refused():
    with pytest.raises(UsageError, match="row 20 does not exist: the table has rows 1 to 19"):
        find_row(20)
