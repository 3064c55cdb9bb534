import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.dataset import SPLITS, Dataset, Split, read_csv, read_csv_folder
from gptcore.errors import DataError, UsageError


@pytest.fixture
def read(tmp_path):
    """Reads a CSV with this content (text or bytes)."""

    def write_then_read(content):
        path = tmp_path / "train.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_csv(path)

    return write_then_read


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Label\n0\n", "train.csv, line 1: the column Text is missing, found Label"),
        ("label,Text\n0,a\n", "train.csv, line 1: the column Label is missing, found label, Text"),
        ("Label,Text\n0,a\n2,b\n", "train.csv, line 3: the label must be 0 or 1, found .*'2'"),
        ("Label,Text\nham,a\n", "train.csv, line 2: the label must be 0 or 1, found .*'ham'"),
        ("Label,Text\n,a\n", "train.csv, line 2: the label must be 0 or 1"),
        ("Label,Text\n1.0,a\n", "train.csv, line 2: the label must be 0 or 1"),
        ("Label,Text\n0,a\n1,\n", "train.csv, line 3: the text is empty"),
        ("Label,Text\n0,a\n1\n", "train.csv, line 3: "),
        ('Label,Text\n0," \t"\n', "train.csv, line 2: the text is empty"),
        ("Label,Text\n", "train.csv holds no texts"),
        ("", "train.csv"),
        ("Label,Text\n0,a\n1,b,c\n", "train.csv.*line 3"),
        ("Label,Text\n0,a,b\n", "train.csv.*line 2"),
        ('Label,Text\n0,a\n1,"b\n', "train.csv"),
        ('Label,Text\n0,"a\nb\r\nc"\n2,d\n', "train.csv, line 5: the label must be 0 or 1"),
        ('Label,Text\n0,"a\nb\nc"\n0,d,e\n', "train.csv.*line 5"),
        ("Label,Text\n\n0,a\n\n2,b\n", "train.csv, line 5: the label must be 0 or 1"),
        ("Label,Text\n0,a\n  \n2,b\n", "train.csv, line 4: the label must be 0 or 1"),
        ("Label,Text\r\n0,a\r\n2,b\r\n", "train.csv, line 3: the label must be 0 or 1"),
        (f"Label,Text\n0,{'x' * 200_000}\n2,b\n", "train.csv, line 3: the label must be 0 or 1"),
        ("Label,Text\n0,a\n0,gr\u00fcn\n".encode("latin-1"), "train.csv, line 3: byte 0xfc is not UTF-8"),
        ("Label,Text\n0,a\n".encode("utf-16"), "train.csv, line 1: byte 0xff is not UTF-8"),
        ("Label,Text\n0,a\n0,b\0c\n", "train.csv, line 3: a NUL byte"),
    ],
    ids=lambda value: repr(value)[:45],
)
def test_a_bad_file_is_refused_with_its_name_and_line(content, message, read):
    with pytest.raises(DataError, match=message) as caught:
        read(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", SPLITS)
def test_a_missing_file_is_named(missing, tmp_path):
    for name in SPLITS:
        if name != missing:
            (tmp_path / f"{name}.csv").write_text("Label,Text\n0,a\n")
    with pytest.raises(DataError, match=rf"{missing}\.csv cannot be read \(No such file or directory\)"):
        read_csv_folder(tmp_path)


def test_the_three_files_become_the_three_splits(tmp_path):
    for name in SPLITS:
        (tmp_path / f"{name}.csv").write_text(f"Label,Text\n0,{name}\n")
    dataset = read_csv_folder(tmp_path)
    assert [split.texts for split in dataset.splits.values()] == [("train",), ("validation",), ("test",)]
    assert list(dataset.splits) == list(SPLITS)


@pytest.mark.parametrize(
    "content",
    [
        "Label,Text\n1,NA\n0,null\n",
        "Text,Label,Source\nNA,1,x\nnull, 0,y\n",
        "\ufeffLabel,Text\r\n1,NA\r\n0,null",
        'Label,Text\n\n1,"NA"\n\n"0",null\n\n',
    ],
)
def test_texts_are_taken_literally_whatever_the_layout(content, read):
    assert read(content) == Split(("NA", "null"), (1, 0))


texts = st.lists(st.tuples(st.sampled_from([0, 1]), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)), min_size=1)


@given(texts.map(lambda rows: [(label, text) for label, text in rows if text.strip()]).filter(bool))
def test_any_text_survives_the_way_through_csv(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "train.csv"
    labels, written = zip(*rows, strict=True)
    pd.DataFrame({"Label": labels, "Text": written}).to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC)
    assert read_csv(path) == Split(written, labels)
    if not any("\r" in text for text in written):  # pandas leaves lone carriage returns unquoted otherwise
        assert Split(written, labels).to_csv() == pd.DataFrame({"Label": labels, "Text": written}).to_csv(index=False)
        path.write_text(Split(written, labels).to_csv(), encoding="utf-8", newline="")
        assert read_csv(path) == Split(written, labels)


def test_the_csv_form_is_plain():
    content = Split(('say "hi", you', "two\nlines"), (0, 1)).to_csv()
    assert content == 'Label,Text\n0,"say ""hi"", you"\n1,"two\nlines"\n'
    assert list(csv.reader(io.StringIO(content)))[1:] == [["0", 'say "hi", you'], ["1", "two\nlines"]]


def test_the_digest_tells_texts_labels_and_splits_apart():
    one, relabelled, reworded = Split(("a", "b"), (0, 1)), Split(("a", "b"), (1, 1)), Split(("a", "c"), (0, 1))
    datasets = [Dataset(one, one, one), Dataset(relabelled, one, one), Dataset(one, one, reworded), Dataset(one, reworded, one)]
    assert len({dataset.digest for dataset in datasets}) == 4
    assert Dataset(one, one, one).digest == datasets[0].digest


def test_the_limit_shortens_the_training_split_alone(dataset):
    limited = dataset.limit_train(3)
    assert limited.train == Split(dataset.train.texts[:3], dataset.train.labels[:3])
    assert (limited.validation, limited.test) == (dataset.validation, dataset.test)
    assert dataset.limit_train(None) == dataset


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_leaves_nothing_is_refused(limit, dataset):
    with pytest.raises(UsageError, match=f"--limit_train {limit} leaves nothing"):
        dataset.limit_train(limit)


def test_unseen_texts_are_those_that_do_not_stand_verbatim_in_train():
    dataset = Dataset(Split(("a", "b"), (0, 1)), Split(("A", "b"), (0, 0)), Split(("c",), (1,)))
    assert dataset.unseen() == {"validation": (True, False), "test": (True,)}
