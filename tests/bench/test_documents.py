import json
import os
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.documents import DEEPEST, LARGEST_FILE, DocumentError, OtherVersionError, check_version, dumped, parse, read_document, sealed, unsealed, validated

plain = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(plain, lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4), max_leaves=20)


@given(values)
def test_whatever_json_can_say_is_read(value):
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode("utf-8")) == value


@given(st.binary(max_size=200) | st.text(alphabet='[]{}":,0123456789eE+-.naNIfity\\u \n', max_size=60).map(str.encode))
def test_any_bytes_are_a_value_or_are_refused(content):
    with suppress(DocumentError):
        json.dumps(parse(content), allow_nan=False)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1, column 1: Expecting value"),
        (b'{"a": 1,\n "b" 2}', "line 2, column 6: Expecting ':' delimiter"),
        (b'{"a": [1, 2', "line 1, column 12"),
        (b'{"a": {"b": 1, "b": 2}}', "the key b stands twice in one object"),
        (b'{"rows": {"1": [0.5, NaN]}}', r"rows\.1\.1: nan is no finite number"),
        (b'{"a": -Infinity}', "a: -inf is no finite number"),
        (b'{"a": 1e999}', "a: inf is no finite number"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "a: inf is no finite number"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), f"nested more than {DEEPEST} deep"),
        (b"[" * 10**6, f"nested more than {DEEPEST} deep"),
        (b'{"a":' * 10**5, f"nested more than {DEEPEST} deep"),
        (b'{"a":\n"\xff"}', "line 2: byte 0xff is not UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (json.dumps({"a": 1}).encode("utf-16"), "not UTF-8"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_not_strictly_json_is_refused_naming_the_place(content, problem):
    with pytest.raises(DocumentError, match=problem):
        parse(content)


def test_only_plain_files_of_a_sane_size_are_read(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(LARGEST_FILE + 1)
    (tmp_path / "file").write_text("[1]")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name, problem in {"folder": "it is no file", "pipe": "it is no file", "huge": f"it has {LARGEST_FILE + 1} bytes"}.items():
        with pytest.raises(DocumentError, match=problem):
            read_document(tmp_path / name)
    assert read_document(tmp_path / "link") == [1]
    with pytest.raises(DocumentError, match="a link to a file elsewhere"):
        read_document(tmp_path / "link", is_link_allowed=False)
    with pytest.raises(FileNotFoundError):
        read_document(tmp_path / "nothing")


documents = st.dictionaries(st.text().filter(lambda name: name != "sha256"), values, max_size=4)


@given(documents)
def test_a_sealed_document_is_found_whole_whatever_the_spacing(document):
    assert unsealed(parse(json.dumps(sealed(document), indent=3).encode())) == document
    assert [*sealed(document)][-1] == "sha256"


@given(documents, documents)
def test_a_seal_fits_one_content_alone(document, other):
    altered = other | {"sha256": sealed(document)["sha256"]}
    if json.dumps(document, sort_keys=True) == json.dumps(other, sort_keys=True):
        assert unsealed(altered) == other
    else:
        with pytest.raises(DocumentError, match="its seal is of another content"):
            unsealed(altered)


@pytest.mark.parametrize(
    ("document", "problem"), [([], "no JSON object"), ("text", "no JSON object"), ({"a": 1}, "it has no seal"), ({"sha256": None}, "another content")]
)
def test_what_has_no_seal_is_refused(document, problem):
    with pytest.raises(DocumentError, match=problem):
        unsealed(document)


@pytest.mark.parametrize("document", [{"schema_version": 2}, {"schema_version": True}, {"schema_version": "3"}, {}, [], None])
def test_this_version_and_what_tells_none_is_left_to_the_schema(document):
    check_version(document, 2)


@pytest.mark.parametrize(("found", "age"), [(1, "an older"), (3, "a newer"), (10**15, "a newer")])
def test_another_version_is_called_older_or_newer(found, age):
    with pytest.raises(OtherVersionError, match=rf"was written by {age} version of bench \(schema {found}, this one reads 2\)"):
        check_version({"schema_version": found}, 2)


@dataclass(frozen=True)
class Thing:
    number: float
    by_count: dict[int, tuple[str, ...]]


@given(st.builds(Thing, st.floats(allow_nan=False, allow_infinity=False), st.dictionaries(st.integers(0, 99), st.lists(st.text()).map(tuple))))
def test_what_is_dumped_is_read_again(thing):
    assert validated(Thing, parse(json.dumps(dumped(Thing, thing)).encode())) == thing


@pytest.mark.parametrize(
    ("document", "place"), [({"number": "1", "by_count": {}}, "number: "), ({"number": 1, "by_count": {"1": [2]}}, r"by_count\.1\.0: "), ([], "file: ")]
)
def test_what_does_not_fit_is_refused_naming_the_place(document, place):
    with pytest.raises(DocumentError, match=place):
        validated(Thing, document)
