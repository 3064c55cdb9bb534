import hashlib
import zipfile

import pandas as pd
import pytest

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
    monkeypatch.setattr(gptcore.sms, "fetch", lambda asset: path)
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


def test_the_archive_is_the_published_one():
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
