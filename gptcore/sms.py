"""The published data set: the UCI SMS Spam Collection, balanced and split as the publication did.  (Almeida & Hidalgo 2011, CC BY 4.0; SPEC §1)"""

import hashlib
import io
import lzma
import struct
import zipfile
import zlib
from pathlib import Path

import pandas as pd

from gptcore.assets import Asset, assets_folder, fetch, verified
from gptcore.dataset import Dataset, Split
from gptcore.download import Progress
from gptcore.errors import AssetError
from gptcore.files import write_atomically
from gptcore.places import is_there, why

ARCHIVE = Asset(
    "sms/sms+spam+collection.zip",
    (
        "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
        "https://f001.backblazeb2.com/file/LLMs-from-scratch/sms%2Bspam%2Bcollection.zip",
    ),
    "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3",
    203_415,
)
MEMBER = "SMSSpamCollection"
MEMBER_SIZE = 477_907
MEMBER_SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"

PUBLISHED_SEED = 123

# All that zipfile and the decompressors below it raise for what is damaged, encrypted, compressed in an unknown way or not there.
UNREADABLE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    KeyError,
    MemoryError,
    OSError,
    RuntimeError,
    ValueError,
)


def load_published_dataset() -> Dataset:
    """The published splits, 1045 / 149 / 300 texts.  Downloads the archive on first use; raises AssetError where it is not to be had."""
    return split_collection(balance(read_collection(find_collection())))


def find_collection(progress: Progress = lambda done, total: None) -> Path:
    """Path of the verified collection in the assets folder, taken out of the archive on first use."""
    path = assets_folder() / "sms" / MEMBER
    if not is_there(path):
        content = extract_member(fetch(ARCHIVE, progress))
        try:
            write_atomically(path, lambda temporary: temporary.write_bytes(content))
        except OSError as error:
            raise AssetError(f"{path} cannot be written ({why(error)}): make room there, or name another folder in GPTCORE_ASSETS") from error
    return verified(path, MEMBER_SHA256)


def extract_member(archive: Path) -> bytes:
    """The collection's bytes.  Only that one member is read, never more than its known size.  Raises AssetError unless they are the published ones."""
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(MEMBER) as member:
            content = member.read(MEMBER_SIZE + 1)
    except UNREADABLE as error:
        raise AssetError(f"{archive} holds no readable {MEMBER} ({error}): delete it and run again, it will be fetched anew") from error
    if hashlib.sha256(content).hexdigest() != MEMBER_SHA256:
        raise AssetError(f"{MEMBER} in {archive} is not the published one: delete the archive and run again, it will be fetched anew")
    return content


def read_collection(path: Path) -> pd.DataFrame:
    """Columns Label (ham or spam) and Text, 5,572 rows: pandas' quoting rules, which swallow two lines, are part of the experiment."""
    return pd.read_csv(path, sep="\t", header=None, names=["Label", "Text"])


def balance(collection: pd.DataFrame) -> pd.DataFrame:
    """All spam and as many ham, shuffled; labels become 0 for ham and 1 for spam."""
    spam = collection[collection["Label"] == "spam"]
    ham = collection[collection["Label"] == "ham"].sample(len(spam), random_state=PUBLISHED_SEED)
    balanced = shuffle(pd.concat([ham, spam]))
    balanced["Label"] = balanced["Label"].map({"ham": 0, "spam": 1})
    return balanced


def split_collection(balanced: pd.DataFrame) -> Dataset:
    """Shuffle once more, cut into 70 % train, 10 % validation and the rest, and pass each through CSV as the publication did."""
    shuffled = shuffle(balanced)
    train_end = int(len(shuffled) * 0.7)
    validation_end = train_end + int(len(shuffled) * 0.1)
    parts = (shuffled[:train_end], shuffled[train_end:validation_end], shuffled[validation_end:])
    return Dataset(*(through_csv(part) for part in parts), classes=("ham", "spam"))


def shuffle(table: pd.DataFrame) -> pd.DataFrame:
    """The rows in a fixed random order, renumbered."""
    return table.sample(frac=1, random_state=PUBLISHED_SEED).reset_index(drop=True)


def through_csv(table: pd.DataFrame) -> Split:
    """The split that remains after writing the table as CSV and reading it back."""
    read_back = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    return Split(tuple(map(str, read_back["Text"])), tuple(int(label) for label in read_back["Label"]))
