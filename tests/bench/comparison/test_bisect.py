import pytest

from bench.comparison.bisect import bisect, is_changed
from bench.comparison.compare import Verdict
from bench.comparison.revisions import RevisionError
from gptcore.errors import UsageError


@pytest.fixture
def search(tmp_path):
    """Bisects row 1 from the tag `good` to main."""

    def bisect_it(good="good", bad="main", row=1, **settings):
        return bisect(good, bad, row, ["--tier", "smoke"], tmp_path / "out", **{"echo": lambda line: None} | settings)

    return bisect_it


@pytest.fixture
def history(repository, row_result, figures):
    """Commits one per dictionary of changed figures, None for a commit that cannot run; tags the first `good`.  Returns the hashes."""

    def commit_all(*changes):
        hashes = []
        for number, change in enumerate(changes, start=1):
            if change is None:
                hashes.append(repository.commit(f"Commit {number}", files={}, code=2, says="error: broken"))
            else:
                hashes.append(repository.commit(f"Commit {number}", row_result(figures=figures(**change))))
        repository.git("tag", "good", hashes[0])
        return hashes

    return commit_all


WORSE = {"right": (1005, 148, 240)}


def test_the_first_commit_that_changed_the_row_is_found(history, search, state_of, tmp_path):
    hashes = history({}, {}, {}, {}, WORSE, WORSE, WORSE, WORSE)
    before, said = state_of(), []
    found = search(echo=said.append)
    [suspect] = found.suspects
    assert (suspect.commit, suspect.subject) == (hashes[4], "Commit 5")
    assert found.is_decided
    assert Verdict.WORSE in {comparison.verdict for comparison in found.comparisons}
    assert len(found.looked) <= 3
    assert all(word == ("bad" if hashes.index(revision.commit) >= 4 else "good") for revision, word in found.looked)
    assert said[0].startswith("row 1 has changed from good")
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {
        revision.commit[:10] for revision in (found.good, found.bad, *(revision for revision, _ in found.looked))
    }
    assert state_of() == before


def test_neighbours_need_no_further_run(history, search):
    hashes = history({}, WORSE)
    found = search()
    assert ([suspect.commit for suspect in found.suspects], found.looked) == ([hashes[1]], ())
    assert found.comparisons


def test_a_bisection_that_goes_on_in_the_checkout_is_not_disturbed(repository, history, search, state_of):
    hashes = history({}, {}, WORSE, WORSE, WORSE)
    repository.git("bisect", "start", "main", "good")
    before = state_of()
    assert search().suspects[0].commit == hashes[2]
    assert state_of() == before


def test_a_hook_may_bisect(repository, history, search, state_of, monkeypatch):
    hashes = history({}, {}, WORSE, WORSE, WORSE)
    before = state_of()
    monkeypatch.setenv("GIT_DIR", str(repository.folder / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository.folder / ".git" / "index"))
    assert search().suspects[0].commit == hashes[2]
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert state_of() == before


def test_caches_of_compiled_files_never_stand_in_for_a_commit(history, search):
    """All these files have the same size, and git writes them within a second."""
    hashes = history(*({"train_loss": 0.51} for _ in range(3)), *({"train_loss": 0.52} for _ in range(5)))
    assert search().suspects[0].commit == hashes[3]


def test_commits_that_cannot_run_are_skipped(history, search):
    hashes = history({}, {}, None, {}, WORSE, None, WORSE, WORSE)
    found = search()
    assert [suspect.commit for suspect in found.suspects] == [hashes[4]]


def test_commits_that_cannot_run_beside_the_first_bad_one_stay_suspects(history, search):
    hashes = history({}, {}, None, None, WORSE, WORSE)
    found = search()
    assert {suspect.commit for suspect in found.suspects} == set(hashes[2:5])
    assert (found.is_decided, found.comparisons) == (False, ())
    assert {word for _, word in found.looked} >= {"skip"}


def test_rows_that_fail_are_skipped(repository, history, search, row_result, figures):
    history({}, {})
    repository.commit("Fail", row_result(figures=None, digests={}, error="out of memory\nTraceback"))
    bad = repository.commit("Break", row_result(figures=figures(**WORSE)))
    repository.commit("Go on", row_result(figures=figures(**WORSE)))
    said = []
    assert bad in {suspect.commit for suspect in search(echo=said.append).suspects}
    assert any(line.startswith("skip:") and "out of memory" in line for line in said)


def test_worse_passes_over_changes_that_are_none_to_the_worse(history, search, tmp_path):
    better, rewritten = {"right": (1005, 148, 299)}, {"train_loss": 0.51}
    hashes = history({}, rewritten, rewritten, better, better, WORSE, WORSE)
    assert search(criterion="worse").suspects[0].commit == hashes[5]


def test_changed_finds_the_smallest_change_beyond_rounding(history, search):
    hashes = history({}, {"train_loss": 0.5 * (1 + 1e-6)}, {"train_loss": 0.5001}, {"train_loss": 0.5001})
    assert search().suspects[0].commit == hashes[2]


def test_another_seed_is_a_change(repository, history, search, row_result):
    history({}, {})
    bad = repository.commit("Another seed", row_result(seed=7))
    assert search().suspects[0].commit == bad


def test_other_texts_are_skipped_where_worse_is_asked(repository, history, search, row_result, figures):
    history({}, {})
    repository.commit("Other texts", row_result(digests={"settings": "s", "data": "other"}))
    repository.commit("As before, and worse", row_result(figures=figures(**WORSE)))
    assert [word for _, word in search(criterion="worse").looked].count("skip") == 1


def test_no_difference_is_nothing_to_bisect(history, search):
    history({}, {"train_loss": 0.5 * (1 + 1e-7)}, {})
    with pytest.raises(UsageError, match="nothing to bisect: row 1 has not changed from good"):
        search()


def test_a_change_to_the_better_is_nothing_to_bisect_where_worse_is_asked(history, search):
    history({}, {"right": (1005, 148, 299)})
    with pytest.raises(UsageError, match="nothing to bisect: row 1 has not become significantly worse"):
        search(criterion="worse")


def test_one_commit_is_nothing_to_bisect(history, search):
    history({})
    with pytest.raises(UsageError, match=r"nothing to bisect: good .* and main .* are the same commit"):
        search()


def test_good_must_come_before_bad(history, search):
    history({}, WORSE)
    with pytest.raises(UsageError, match=r"good .* does not follow main"):
        search("main", "good")


@pytest.mark.parametrize(("settings", "message"), [({"row": 20}, "row 20 does not exist"), ({"criterion": "slower"}, "choose one of changed, worse")])
def test_what_cannot_be_asked_is_told(history, search, settings, message):
    history({}, WORSE)
    with pytest.raises(UsageError, match=message):
        search(**settings)


def test_both_ends_must_run(history, search, state_of):
    history({}, WORSE, None)
    before = state_of()
    with pytest.raises(RevisionError, match=r"revision main .* did not run \(exit code 2: error: broken\)"):
        search()
    assert state_of() == before


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({}, False),
        ({"seconds": 99.0}, False),
        ({"train_loss": 0.5 * (1 + 9e-6)}, False),
        ({"train_loss": 0.5 * (1 + 2e-5)}, True),
        ({"validation_loss": 0.6 * (1 - 2e-5)}, True),
        ({"right": (1004, 148, 285)}, True),
        ({"right": (1005, 148, 286)}, True),
    ],
)
def test_what_counts_as_changed(figures, change, changed):
    assert is_changed(figures(), figures(**change)) is changed
