"""JSON documents on disk: read strictly, and where no person edits them under a seal, so that what was altered is refused rather than judged."""

import json
import math
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gptcore.experiment import digest_of

SEAL = "sha256"
LARGEST_FILE = 2**29  # bytes: thousands of seeds take less, and more is not worth the memory
DEEPEST = 32
LONGEST_INTEGER = 20  # digits and sign
Kind = TypeVar("Kind")
Place = tuple[str | int, ...]


class DocumentError(Exception):
    """What is wrong with a document, in words for the middle of a sentence."""


class OtherVersionError(DocumentError):
    """A document of another version of its schema: what follows the name of the file."""


def read_document(path: Path, *, is_link_allowed: bool = True) -> Any:
    """The JSON value in a file.  Raises OSError where it cannot be read, DocumentError where it is no plain file or not strictly JSON (see `parse`)."""
    status = path.stat() if is_link_allowed else path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise DocumentError("it is a link to a file elsewhere")
    if not stat.S_ISREG(status.st_mode):
        raise DocumentError("it is no file")
    if status.st_size > LARGEST_FILE:
        raise DocumentError(f"it has {status.st_size} bytes, more than {LARGEST_FILE}")
    return parse(path.read_bytes())


def parse(content: bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises DocumentError, naming the place, for what is none and for what JSON leaves open: keys that stand twice, numbers that are not finite, absurd depth.
    """
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_int=_parse_integer)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"line {line}: byte 0x{content[error.start]:02x} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise DocumentError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise DocumentError(f"it is nested more than {DEEPEST} deep") from error
    for place, leaf in _leaves(value):
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise DocumentError(f"{name_of(place)}: {leaf} is no finite number")
    return value


def validated(kind: type[Kind], document: Any) -> Kind:
    """A parsed document as what it should be.  Raises DocumentError naming the first place that is not."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        raise DocumentError(f"{name_of(problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}") from error


def dumped(kind: type[Kind], value: Kind) -> dict[str, Any]:
    """The document that says a value.  Bytes of file names that are no text are spelled out, since no JSON can hold them."""
    text = json.dumps(TypeAdapter(kind).dump_python(value, mode="json"), ensure_ascii=False, allow_nan=False)
    document: dict[str, Any] = json.loads(re.sub("[\ud800-\udfff]", lambda found: rf"\\u{ord(found[0]):04x}", text))
    return document


def check_version(document: Any, reads: int) -> None:
    """Raise OtherVersionError where a document says that it has another schema than the one that is read here."""
    found = document.get("schema_version") if isinstance(document, dict) else None
    if type(found) is int and found != reads:
        age = "a newer" if found > reads else "an older"
        raise OtherVersionError(f"was written by {age} version of bench (schema {found}, this one reads {reads})")


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with its seal as the last key: the sha256 of all the rest, whatever the spacing."""
    return document | {SEAL: digest_of(document)}


def unsealed(document: Any) -> dict[str, Any]:
    """The document without its seal.  Raises DocumentError where that is missing or of another content."""
    if not isinstance(document, dict):
        raise DocumentError("it holds no JSON object")
    if SEAL not in document:
        raise DocumentError(f"it has no seal, the key {SEAL}")
    rest = {name: value for name, value in document.items() if name != SEAL}
    if document[SEAL] != digest_of(rest):
        raise DocumentError("its seal is of another content")
    return rest


def name_of(place: Place) -> str:
    """A place in a document as keys and positions; never long, since it may come from strangers."""
    name = ".".join(map(str, place)) or "file"
    return name if len(name) <= 200 else f"{name[:200]}…"


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise DocumentError(f"the key {name_of((next(key for key in keys if keys.count(key) > 1),))} stands twice in one object")
    return found


def _parse_integer(digits: str) -> int | float:
    """An integer; one of absurd length as a float, which is infinite where there is none as large."""
    return int(digits) if len(digits) <= LONGEST_INTEGER else float(digits)


def _leaves(value: Any) -> Iterator[tuple[Place, Any]]:
    """Everything that is no list or object, with its place.  Raises DocumentError for what is nested too deep."""
    waiting: list[tuple[Place, Any]] = [((), value)]
    while waiting:
        place, found = waiting.pop()
        if not isinstance(found, dict | list):
            yield place, found
        elif len(place) >= DEEPEST:
            raise DocumentError(f"it is nested more than {DEEPEST} deep")
        else:
            waiting += (((*place, key), item) for key, item in (found.items() if isinstance(found, dict) else enumerate(found)))
