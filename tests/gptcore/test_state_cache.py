import errno
import hashlib
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import gptcore.state_cache
from gptcore.state_cache import StateCache, default_folder

PLENTY = 10**6
STATES = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7
N_BYTES = 304  # of STATES and their header


def key_of(name):
    return hashlib.sha256(name.encode()).hexdigest()


KEY = key_of("one")


@pytest.fixture
def cache(tmp_path):
    return StateCache(tmp_path / "states", PLENTY)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A cache for properties, which try many examples in one test."""
    return StateCache(tmp_path_factory.mktemp("shared"), PLENTY)


def file_of(cache, key=KEY):
    return cache.folder / f"{key}.safetensors"


def keep(cache, *names):
    """Save STATES under each name, used ten seconds after one another."""
    for age, name in enumerate(names):
        cache.save(key_of(name), STATES, 1.5)
        os.utime(file_of(cache, key_of(name)), (1000 + 10 * age,) * 2)


def kept_by(cache, *names):
    """Which of the names are kept, without using them."""
    return [name for name in names if file_of(cache, key_of(name)).exists()]


def assert_damaged(cache, key=KEY):
    """It is a miss, the file goes, and the place can be used again."""
    assert cache.load(key) is None
    assert not file_of(cache, key).exists()
    cache.save(key, STATES, 1.5)
    assert torch.equal(cache.load(key).states, STATES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("shape", [(5, 3), (1, 1), (0, 3)])
def test_states_return_bit_for_bit(dtype, shape, cache):
    states = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    cache.save(KEY, states, 0.1 + 0.2)
    for reader in (cache, StateCache(cache.folder, 0)):
        kept = reader.load(KEY)
        assert kept.states.dtype == dtype
        assert kept.states.shape == shape
        assert kept.states.view(torch.uint8).tolist() == states.view(torch.uint8).tolist()
        assert kept.seconds == 0.1 + 0.2


def test_values_that_are_no_numbers_return_too(cache):
    states = torch.tensor([[float("nan"), float("inf"), -0.0]])
    cache.save(KEY, states, 0)
    assert torch.equal(cache.load(KEY).states.view(torch.int32), states.view(torch.int32))


def test_any_layout_may_be_saved(cache):
    states = STATES.T.contiguous().T.requires_grad_()
    assert not states.is_contiguous()
    cache.save(KEY, states, 1.5)
    kept = cache.load(KEY).states
    assert torch.equal(kept, STATES)
    assert kept.is_contiguous()
    assert not kept.requires_grad


def test_what_is_loaded_does_not_depend_on_the_file(cache):
    cache.save(KEY, STATES, 1.5)
    states = cache.load(KEY).states
    file_of(cache).write_bytes(bytes(N_BYTES))
    assert torch.equal(states, STATES)


def test_what_was_never_saved_is_none(cache):
    assert cache.load(KEY) is None
    assert not cache.folder.exists()
    assert cache.entries() == []
    assert cache.clear() == (0, 0)
    keep(cache, "another")
    assert cache.load(KEY) is None


def test_the_same_key_is_replaced(cache):
    cache.save(KEY, STATES, 1.5)
    cache.save(KEY, STATES + 1, 2.5)
    assert torch.equal(cache.load(KEY).states, STATES + 1)
    assert cache.load(KEY).seconds == 2.5
    assert list(cache.folder.iterdir()) == [file_of(cache)]


@pytest.mark.parametrize("key", ["", "../x", "a" * 63, "a" * 65, KEY.upper(), KEY[:-1] + "/", KEY[:-1] + "g", KEY + "\n", "../" + KEY])
def test_only_a_sha256_is_a_key(key, cache):
    with pytest.raises(ValueError, match="is no key: it must be a sha256"):
        cache.load(key)
    with pytest.raises(ValueError, match="is no key: it must be a sha256"):
        cache.save(key, STATES, 1.5)
    assert not cache.folder.exists()


@given(st.integers(0, N_BYTES - 1), st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_a_miss(shared, position, bit):
    shared.save(KEY, STATES, 0.5)
    content = bytearray(file_of(shared).read_bytes())
    assert len(content) == N_BYTES
    content[position] ^= 1 << bit
    file_of(shared).write_bytes(content)
    assert_damaged(shared)


@given(st.integers(0, N_BYTES - 1))
def test_a_truncated_file_is_a_miss(shared, length):
    shared.save(KEY, STATES, 0.5)
    file_of(shared).write_bytes(file_of(shared).read_bytes()[:length])
    assert_damaged(shared)


@pytest.mark.parametrize("content", [b"", b"{}", b"no safetensors, only a line of text\n", bytes(N_BYTES)])
def test_a_file_of_another_kind_is_a_miss(content, cache):
    cache.folder.mkdir()
    file_of(cache).write_bytes(content)
    assert_damaged(cache)


@pytest.mark.parametrize(("old", "new"), [(b'"F32"', b'"I32"'), (b"[3,4]", b"[4,3]"), (b'"0.5"', b'"5.0"'), (b'"0.5"', b'"x.5"'), (b'"seconds"', b'"Seconds"')])
def test_a_changed_header_is_a_miss(old, new, cache):
    cache.save(KEY, STATES, 0.5)
    content = file_of(cache).read_bytes()
    assert content.count(old) == 1
    file_of(cache).write_bytes(content.replace(old, new))
    assert_damaged(cache)


@pytest.mark.parametrize("tensors", [{"states": STATES}, {"states": torch.tensor(1.0)}, {"other": STATES}])
@pytest.mark.parametrize("metadata", [None, {"key": KEY, "seconds": "1.5"}, {"key": KEY, "seconds": "1.5", "sha256": key_of("other bytes")}])
def test_safetensors_from_elsewhere_are_a_miss(tensors, metadata, cache):
    cache.folder.mkdir()
    save_file(tensors, file_of(cache), metadata)
    assert_damaged(cache)


def test_files_that_changed_places_are_both_a_miss(cache):
    keep(cache, "one", "two")
    one, two = file_of(cache, key_of("one")), file_of(cache, key_of("two"))
    one.rename(cache.folder / "between")
    two.rename(one)
    (cache.folder / "between").rename(two)
    assert_damaged(cache, key_of("one"))
    assert_damaged(cache, key_of("two"))


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_a_cost_that_is_none_is_a_miss(seconds, cache):
    cache.save(KEY, STATES, seconds)
    assert file_of(cache).exists()
    assert_damaged(cache)


def test_a_folder_in_an_entrys_place_is_a_miss(cache):
    file_of(cache).mkdir(parents=True)
    assert cache.load(KEY) is None
    assert file_of(cache).is_dir()


def test_the_longest_unused_go_first(cache):
    keep(cache, "c", "a", "b", "d")
    assert [entry.path for entry in cache.entries()] == [file_of(cache, key_of(name)) for name in "cabd"]
    assert [entry.last_used for entry in cache.entries()] == [1000, 1010, 1020, 1030]
    assert cache.load(key_of("c"))
    size = cache.entries()[0].size
    StateCache(cache.folder, 3 * size).save(key_of("e"), STATES, 1.5)
    assert kept_by(cache, *"abcde") == ["c", "d", "e"]


def test_an_entry_that_cannot_be_marked_as_used_is_loaded(cache, monkeypatch):
    keep(cache, "one")

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(gptcore.state_cache.os, "utime", refuse)
    assert torch.equal(cache.load(KEY).states, STATES)


def test_no_more_is_removed_than_the_limit_asks(cache):
    keep(cache, "one", "two")
    size = cache.entries()[0].size
    StateCache(cache.folder, 3 * size).save(key_of("three"), STATES, 1.5)
    assert kept_by(cache, "one", "two", "three") == ["one", "two", "three"]
    StateCache(cache.folder, 3 * size - 1).save(key_of("three"), STATES, 1.5)
    assert kept_by(cache, "one", "two", "three") == ["two", "three"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40)), max_size=12), st.integers(0, 2000))
def test_the_limit_always_holds(shared, saves, limit):
    shared.clear()
    cache = StateCache(shared.folder, limit)
    for name, n_rows in saves:
        cache.save(key_of(name), STATES[:1].expand(n_rows, 4), 1.5)
        assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= limit


def test_the_newest_stays_whatever_the_clocks_say(cache):
    keep(cache, "one")
    os.utime(file_of(cache), (2**33,) * 2)
    StateCache(cache.folder, cache.entries()[0].size).save(key_of("two"), STATES, 1.5)
    assert kept_by(cache, "one", "two") == ["two"]


def test_what_is_too_big_alone_is_not_saved_and_displaces_nothing(cache):
    keep(cache, "one")
    size = cache.entries()[0].size
    StateCache(cache.folder, size - 1).save(key_of("two"), STATES, 1.5)
    assert kept_by(cache, "one", "two") == ["one"]
    StateCache(cache.folder, size).save(key_of("two"), STATES, 1.5)
    assert kept_by(cache, "one", "two") == ["two"]


def test_clearing_removes_our_files_and_no_others(cache):
    keep(cache, "one", "two")
    size = cache.entries()[0].size
    leftover = cache.folder / f".{KEY}.safetensors.123.tmp"
    leftover.write_bytes(bytes(100))
    foreign = [
        "model.safetensors",
        f"{KEY}.txt",
        f"{KEY}.safetensors.bak",
        f"{KEY[1:]}.safetensors",
        f"{KEY.upper()}.safetensors",
        f"x{KEY}.safetensors",
        f".{KEY}.safetensors.tmp",
        f".{KEY}.safetensors.123.tmp2",
        f"{KEY}.safetensors.123.tmp",
        ".model.safetensors.123.tmp",
    ]
    for name in foreign:
        (cache.folder / name).write_bytes(b"mine")
    assert len(cache.entries()) == 2
    assert cache.clear() == (2, 2 * size + 100)
    assert sorted(path.name for path in cache.folder.iterdir()) == sorted(foreign)
    assert cache.clear() == (0, 0)


def test_what_an_ended_process_left_is_recognised(cache, monkeypatch):
    def be_killed(temporary):
        temporary.write_bytes(b"half")
        monkeypatch.setattr(Path, "unlink", lambda path, missing_ok: None)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gptcore.state_cache.write_atomically(file_of(cache), be_killed)
    monkeypatch.undo()
    assert len(list(cache.folder.iterdir())) == 1
    assert cache.entries() == []
    assert cache.clear() == (0, 4)
    assert list(cache.folder.iterdir()) == []


def test_a_full_disk_is_told_once_and_leaves_nothing_behind(cache, monkeypatch):
    keep(cache, "one")
    write_bytes = Path.write_bytes

    def fill_the_disk(path, content):
        write_bytes(path, content[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.warns(UserWarning, match="No space left on device.*make room there, or name a folder") as caught:
        cache.save(key_of("two"), STATES, 1.5)
    assert str(cache.folder) in str(caught[0].message)
    assert caught[0].filename == __file__
    cache.save(key_of("three"), STATES, 1.5)
    assert list(cache.folder.iterdir()) == [file_of(cache)]
    assert torch.equal(cache.load(KEY).states, STATES)


def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = StateCache(tmp_path / "file" / "states", PLENTY)
    with pytest.warns(UserWarning, match="computed states cannot be kept in .*Not a directory"):
        cache.save(KEY, STATES, 1.5)
    assert cache.load(KEY) is None
    assert cache.entries() == []
    assert cache.clear() == (0, 0)


def test_files_that_cannot_be_removed_stop_nothing(cache, monkeypatch):
    keep(cache, "one", "two")
    limit = 2 * cache.entries()[0].size

    def refuse(path, missing_ok=False):
        if path.suffix != ".tmp":
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    StateCache(cache.folder, limit).save(key_of("three"), STATES, 1.5)
    assert kept_by(cache, "one", "two", "three") == ["one", "two", "three"]
    assert cache.clear() == (0, 0)
    file_of(cache).write_bytes(b"damaged")
    assert cache.load(KEY) is None


def test_files_that_another_process_removes_meanwhile_are_not_listed(cache, monkeypatch):
    keep(cache, "one", "two", "three")
    lstat, gone = Path.lstat, []

    def remove_the_first(path):
        if not gone:
            path.unlink()
            gone.append(path)
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", remove_the_first)
    assert len(cache.entries()) == 2
    assert gone[0] not in [entry.path for entry in cache.entries()]


def test_room_that_another_process_makes_meanwhile_counts(cache, monkeypatch):
    keep(cache, "one", "two", "three")
    listed = cache.entries()
    file_of(cache).unlink()
    monkeypatch.setattr(StateCache, "entries", lambda cache: listed)
    StateCache(cache.folder, 2 * listed[0].size).save(key_of("three"), STATES, 1.5)
    assert kept_by(cache, "one", "two", "three") == ["two", "three"]


def test_the_default_folder_is_the_named_one_or_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GPTCORE_STATE_CACHE", "~/somewhere")
    assert default_folder() == tmp_path / "somewhere"
    for unnamed in (lambda: monkeypatch.setenv("GPTCORE_STATE_CACHE", ""), lambda: monkeypatch.delenv("GPTCORE_STATE_CACHE")):
        unnamed()
        assert default_folder().name == "states"
        assert default_folder().parent.name == "gptcore"
