import errno
import hashlib
import os
import stat
import tracemalloc
import zipfile
from contextlib import suppress

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gptcore.sms
from gptcore.assets import assets_folder
from gptcore.errors import AssetError
from gptcore.sms import ARCHIVE, MEMBER, balance, extract_member, find_collection, load_published_dataset, read_collection, split_collection
from gptcore.tokenizer import gpt2_tokenizer

CONTENT = b"ham\tsee you\nspam\twin\n"


@pytest.fixture
def archive(tmp_path):
    """Makes a zip of these members."""

    def make(**members):
        path = tmp_path / "archive.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, content in members.items():
                opened.writestr(name, content)
        return path

    return make


@pytest.fixture
def published(monkeypatch):
    """Lets a short content pass for the published one."""
    monkeypatch.setattr(gptcore.sms, "MEMBER_SIZE", len(CONTENT))
    monkeypatch.setattr(gptcore.sms, "MEMBER_SHA256", hashlib.sha256(CONTENT).hexdigest())


def test_only_the_collection_is_taken_out(published, archive, tmp_path):
    path = archive(**{MEMBER: CONTENT, "../escaped": b"x", "readme": b"y"})
    assert extract_member(path) == CONTENT
    assert list(tmp_path.rglob("*")) == [path]


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "C:\\escaped", "..\\escaped", f"../{MEMBER}", f"/{MEMBER}", f"./{MEMBER}", f"{MEMBER}/"])
def test_members_that_would_lie_elsewhere_are_not_taken_out(name, published, archive, tmp_path):
    path = archive(**{name: CONTENT})
    with pytest.raises(AssetError, match="holds no readable SMSSpamCollection"):
        extract_member(path)
    assert list(tmp_path.rglob("*")) == [path]


def test_a_link_is_its_text_and_leads_nowhere(published, tmp_path):
    (tmp_path / "secret").write_bytes(CONTENT)
    info = zipfile.ZipInfo(MEMBER)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as opened:
        opened.writestr(info, str(tmp_path / "secret"))
    with pytest.raises(AssetError, match="is not the published one"):
        extract_member(tmp_path / "archive.zip")


DIRECTORY, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


def altered(content, signature, offset, value):
    """The archive with other bytes at an offset into its first local header or its directory."""
    begin = content.index(signature) + offset
    return content[:begin] + value + content[begin + len(value) :]


HARM = {
    "encrypted": lambda content: altered(altered(content, LOCAL, 6, b"\x01\x00"), DIRECTORY, 8, b"\x01\x00"),
    "strongly encrypted": lambda content: altered(altered(content, LOCAL, 6, b"\x41\x00"), DIRECTORY, 8, b"\x41\x00"),
    "unknown compression": lambda content: altered(altered(content, LOCAL, 8, b"\x63\x00"), DIRECTORY, 10, b"\x63\x00"),
    "imploded": lambda content: altered(altered(content, LOCAL, 8, b"\x06\x00"), DIRECTORY, 10, b"\x06\x00"),
    "bzip2 that is none": lambda content: altered(altered(content, LOCAL, 8, b"\x0c\x00"), DIRECTORY, 10, b"\x0c\x00"),
    "lzma that is none": lambda content: altered(altered(content, LOCAL, 8, b"\x0e\x00"), DIRECTORY, 10, b"\x0e\x00"),
    "newer than zip": lambda content: altered(content, DIRECTORY, 6, b"\xff\x00"),
    "another name inside": lambda content: altered(content, LOCAL, 30, b"X"),
    "no deflate": lambda content: altered(content, LOCAL, 30 + len(MEMBER), b"\xff\xff\xff"),
    "another checksum": lambda content: altered(content, DIRECTORY, 16, b"\0\0\0\0"),
    "elsewhere": lambda content: altered(content, DIRECTORY, 42, b"\xfe\xff\xff\x7f"),
    "truncated": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-10],
    "without its middle": lambda content: content[:30] + content[60:],
    "nothing": lambda content: b"",
}


@pytest.mark.parametrize("harm", HARM)
def test_a_harmful_archive_is_refused_with_a_sentence(harm, published, archive, tmp_path):
    path = archive(**{MEMBER: CONTENT})
    path.write_bytes(HARM[harm](path.read_bytes()))
    with pytest.raises(AssetError, match=r"archive\.zip holds no readable SMSSpamCollection \(.*\): delete it and run again"):
        extract_member(path)
    assert list(tmp_path.rglob("*")) == [path]


@pytest.mark.parametrize("offset", [20, 24], ids=["packed", "unpacked"])
def test_absurd_sizes_are_not_believed(offset, published, archive):
    path = archive(**{MEMBER: CONTENT})
    path.write_bytes(altered(path.read_bytes(), DIRECTORY, offset, b"\xfe\xff\xff\xff"))
    with suppress(AssetError):  # newer zipfiles refuse them
        assert extract_member(path) == CONTENT


def test_a_bomb_that_says_it_is_small_is_read_no_further(published, archive):
    path = archive(**{MEMBER: bytes(50_000_000)})
    path.write_bytes(altered(path.read_bytes(), DIRECTORY, 24, len(CONTENT).to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(AssetError):
        extract_member(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5_000_000


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_no_damage_to_an_archive_is_more_than_a_sentence(data, published, archive, tmp_path):
    path = archive(**{MEMBER: CONTENT})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    with suppress(AssetError):
        assert extract_member(path) == CONTENT
    assert list(tmp_path.rglob("*")) == [path]


def test_a_missing_archive_is_a_sentence(published, tmp_path):
    with pytest.raises(AssetError, match="holds no readable SMSSpamCollection"):
        extract_member(tmp_path / "archive.zip")


def test_a_collection_that_cannot_be_written_is_a_sentence(published, archive, monkeypatch):
    path = archive(**{MEMBER: CONTENT})

    def refuse(target, write):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(gptcore.sms, "fetch", lambda asset, progress: path)
    monkeypatch.setattr(gptcore.sms, "write_atomically", refuse)
    with pytest.raises(AssetError, match=r"SMSSpamCollection cannot be written \(No space left on device\): make room there"):
        find_collection()


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"x", bytes(10_000_000)], ids=["empty", "short", "long", "bomb"])
def test_other_content_is_refused(content, published, archive):
    with pytest.raises(AssetError, match="is not the published one"):
        extract_member(archive(**{MEMBER: content}))


def test_an_archive_without_the_collection_is_refused(published, archive):
    with pytest.raises(AssetError, match="holds no readable SMSSpamCollection"):
        extract_member(archive(readme=b"y"))


def test_a_file_that_is_no_archive_is_refused(published, tmp_path):
    (tmp_path / "archive.zip").write_bytes(b"<html>down for maintenance</html>")
    with pytest.raises(AssetError, match="holds no readable SMSSpamCollection"):
        extract_member(tmp_path / "archive.zip")


def test_the_collection_is_taken_out_of_the_archive_once(published, archive, monkeypatch):
    path = archive(**{MEMBER: CONTENT})
    monkeypatch.setattr(gptcore.sms, "fetch", lambda asset, progress: path)
    found = find_collection()
    assert found == assets_folder() / "sms" / MEMBER
    assert found.read_bytes() == CONTENT
    path.unlink()
    assert find_collection() == found


def test_an_altered_collection_is_refused(published):
    path = assets_folder() / "sms" / MEMBER
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT.upper())
    with pytest.raises(AssetError, match="was damaged or altered"):
        find_collection()
    assert path.read_bytes() == CONTENT.upper()
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(AssetError, match=r"SMSSpamCollection has sha256 .*: the file was damaged or altered; replace it, or delete it"):
        find_collection()


def test_the_archive_is_the_published_one():
    assert ARCHIVE.size == 203_415
    assert ARCHIVE.sha256 == "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3"
    assert ARCHIVE.urls == (
        "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
        "https://f001.backblazeb2.com/file/LLMs-from-scratch/sms%2Bspam%2Bcollection.zip",
    )


def test_balancing_keeps_all_spam_and_as_many_ham():
    collection = pd.DataFrame({"Label": ["ham"] * 40 + ["spam"] * 15, "Text": [f"text {i}" for i in range(55)]})
    balanced = balance(collection)
    assert balanced["Label"].value_counts().to_dict() == {0: 15, 1: 15}
    assert set(balanced[balanced["Label"] == 1]["Text"]) == {f"text {i}" for i in range(40, 55)}
    dataset = split_collection(balanced)
    assert [len(split) for split in dataset.splits.values()] == [21, 3, 6]
    assert sorted(text for split in dataset.splits.values() for text in split.texts) == sorted(balanced["Text"])


def test_quote_characters_swallow_two_lines_of_the_collection(real_data):
    collection = read_collection(find_collection())
    assert len(collection) == 5572
    assert collection["Label"].value_counts().to_dict() == {"ham": 4825, "spam": 747}


def test_the_splits_are_the_published_ones(real_data):
    splits = load_published_dataset().splits
    assert {name: len(split) for name, split in splits.items()} == {"train": 1045, "validation": 149, "test": 300}
    assert {name: sum(split.labels) for name, split in splits.items()} == {"train": 515, "validation": 73, "test": 159}
    assert {name: hashlib.sha256(split.to_csv().encode()).hexdigest() for name, split in splits.items()} == {
        "train": "ec2895b026553ce06475815818c52cf44828af0605b07b257935a194e611195a",
        "validation": "f92996ef2ae2ed6d6937e96bc7a3f739f2bae59b07d1babd7f3725e473f2d2bd",
        "test": "f82216f37a6d785b52f99a84a3552dcc9835316018758c2117b2ca133e6c1409",
    }


def test_some_texts_stand_verbatim_in_train(real_data):
    """SPEC §1: 36 of the 300 test texts and 12 of the 149 validation texts do."""
    unseen = load_published_dataset().unseen()
    assert {name: sum(flags) for name, flags in unseen.items()} == {"validation": 137, "test": 264}


def test_the_texts_have_the_published_token_lengths(real_data):
    tokenizer = gpt2_tokenizer()
    lengths = {name: [len(tokenizer.encode(text)) for text in split.texts] for name, split in load_published_dataset().splits.items()}
    assert {name: max(counts) for name, counts in lengths.items()} == {"train": 120, "validation": 90, "test": 97}
    assert round(sum(lengths["train"]) / 1045, 1) == 30.7
