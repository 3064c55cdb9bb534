import doctest

import bench


def test_the_example_in_the_docstring_runs_as_it_says():
    outcome = doctest.testmod(bench, raise_on_error=True)
    assert outcome.attempted


def test_every_public_name_is_documented():
    assert sorted(bench.__all__) == sorted(set(bench.__all__))
    assert [name for name in bench.__all__ if name not in ("PUBLISHED", "ROWS") and not getattr(bench, name).__doc__] == []
