import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.packing import pack_floats, unpack_floats


@given(st.lists(st.floats(width=32, allow_nan=False)))
def test_float32_numbers_survive_bit_for_bit(values):
    restored = unpack_floats(pack_floats(values))
    assert struct.pack(f"<{len(values)}f", *restored) == struct.pack(f"<{len(values)}f", *values)


@pytest.mark.parametrize("packed", ["AAA=", "AAAAAA==!", "å"])
def test_what_is_no_series_of_floats_is_refused(packed):
    with pytest.raises(ValueError):  # noqa: PT011 - base64 has its own words
        unpack_floats(packed)
