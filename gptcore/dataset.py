"""Two-class texts in three splits, and the reader of users' own CSV folders."""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from gptcore.errors import DataError, UsageError

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
COLUMNS = ("Label", "Text")
LABELS = {"0": 0, "1": 1}


@dataclass(frozen=True)
class Split:
    """Texts and their labels, 0 or 1."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def to_csv(self) -> str:
        """The split as CSV with columns Label,Text and line feeds: the form its published sha256 is taken of.  (SPEC §1)"""
        return pd.DataFrame({"Label": self.labels, "Text": self.texts}).to_csv(index=False, lineterminator="\n")

    def head(self, n: int) -> "Split":
        """The first `n` texts."""
        return Split(self.texts[:n], self.labels[:n])


@dataclass(frozen=True)
class Dataset:
    """The three splits, and what people call the classes 0 and 1, on which no figure depends."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, str] = field(default=("0", "1"), kw_only=True)

    @property
    def splits(self) -> Mapping[SplitName, Split]:
        """The splits by name, in the order train, validation, test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def digest(self) -> str:
        """sha256 over the three splits' CSV forms."""
        digests = [hashlib.sha256(split.to_csv().encode("utf-8", "surrogatepass")).hexdigest() for split in self.splits.values()]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def unseen(self) -> Mapping[SplitName, tuple[bool, ...]]:
        """For each validation and test text whether it does not stand verbatim in train; the published data have some that do.  (SPEC §1)"""
        seen = set(self.train.texts)
        return {name: tuple(text not in seen for text in split.texts) for name, split in self.splits.items() if name != "train"}

    def limit_train(self, n: int | None) -> "Dataset":
        """The dataset whose training split ends after `n` texts (None: whole).  Raises UsageError unless `n` is positive."""
        if n is None:
            return self
        if n < 1:
            raise UsageError(f"--limit_train {n} leaves nothing to train on: give 1 or more")
        return replace(self, train=self.train.head(n))


def read_csv_folder(folder: Path) -> Dataset:
    """The dataset in a folder's `train.csv`, `validation.csv` and `test.csv`.

    Raises DataError naming file and line for a missing file or column, an unknown label, an empty text, no rows or a wrong encoding.
    """
    return Dataset(*(read_csv(folder / f"{name}.csv") for name in SPLITS))


def read_csv(path: Path) -> Split:
    """One split from a UTF-8 CSV with the columns Label (0 or 1) and Text; other columns are ignored.  Raises DataError (see `read_csv_folder`)."""
    records = read_records(path)
    _, header = next(records, (1, []))
    for column in COLUMNS:
        if column not in header:
            raise DataError(f"{path}, line 1: the column {column} is missing, found {', '.join(header) or 'nothing'}: name the columns Label and Text")
    label_column, text_column = (header.index(column) for column in COLUMNS)
    labels, texts = [], []
    for line, cells in records:
        if len(cells) != len(header):
            raise DataError(f"{path}, line {line}: {len(cells)} columns instead of {len(header)}: put texts that hold commas in double quotes")
        label, text = cells[label_column].strip(), cells[text_column]
        if label not in LABELS:
            raise DataError(f"{path}, line {line}: the label must be 0 or 1, found {label!r}: correct or remove the row")
        if not text.strip():
            raise DataError(f"{path}, line {line}: the text is empty: correct or remove the row")
        labels.append(LABELS[label])
        texts.append(text)
    if not texts:
        raise DataError(f"{path} holds no texts: add rows below the line with the columns")
    return Split(tuple(texts), tuple(labels))


def read_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Every record that is not blank, with the line (from 1) it begins on.  Raises DataError where quotes do not match."""
    content = read_utf8(path)
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    begins = 1
    try:
        for cells in reader:
            if len(cells) > 1 or "".join(cells).strip():
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {begins}: no readable CSV ({error}): put texts in double quotes, and double the quotes inside them") from error


def read_utf8(path: Path) -> str:
    """The file's text without a byte order mark.  Raises DataError where it is missing, unreadable or not UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): a data folder needs train.csv, validation.csv and test.csv") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8") from error
    if "\0" in text:
        raise DataError(f"{path}, line {text.count(chr(10), 0, text.index(chr(0))) + 1}: a NUL byte is no text: save the file as UTF-8")
    return text
