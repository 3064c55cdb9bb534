import doctest

import gptcore


def test_the_example_in_the_docstring_runs_as_it_says():
    outcome = doctest.testmod(gptcore, raise_on_error=True)
    assert outcome.attempted


def test_every_public_name_is_documented():
    assert sorted(gptcore.__all__) == sorted(set(gptcore.__all__))
    assert [name for name in gptcore.__all__ if name != "GPT2_SIZES" and not getattr(gptcore, name).__doc__] == []
