import shutil

import pytest
import tiktoken

from gptcore.errors import AssetError
from gptcore.sms import load_published_dataset
from gptcore.tokenizer import END_OF_TEXT, GPT2_VOCABULARY, gpt2_tokenizer, make_tokenizer, read_gpt2_ranks, read_ranks

SHA1_NAMES = {"vocab.bpe": "6d1cbeee0f20b3d9449abfede4726ed8212e3aee", "encoder.json": "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6"}
AWKWARD = (
    "",
    " ",
    "don't  you'll\n\n\tgo",
    "£1000 prize!!! Call 09061701461",
    "na\u00efve \U0001f600\u200d",
    "\x00\x7f\xad\xa0",
    END_OF_TEXT,
    "<|endoftext|>x",
)


@pytest.fixture
def tiktoken_cache(real_data, tmp_path, monkeypatch):
    """A cache folder as tiktoken leaves it: the two published files under the sha1 of their addresses."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for name, sha1 in SHA1_NAMES.items():
        shutil.copy(real_data / "tiktoken" / name, folder / sha1)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
    return folder


def test_gpt2s_tokenizer_equals_tiktokens(tiktoken_cache):
    ours, theirs = gpt2_tokenizer(), tiktoken.get_encoding("gpt2")
    assert (ours.vocabulary_size, ours.pad_token) == (theirs.n_vocab, theirs.eot_token) == (50257, 50256)
    assert [ours.encoding.decode_single_token_bytes(token) for token in range(50257)] == [theirs.decode_single_token_bytes(token) for token in range(50257)]
    for text in (*AWKWARD, *load_published_dataset().validation.texts):
        assert ours.encode(text) == theirs.encode(text, disallowed_special=())


def test_the_vocabulary_is_found_where_tiktoken_cached_it(tiktoken_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("GPTCORE_ASSETS", str(tmp_path / "empty"))
    assert gpt2_tokenizer().vocabulary_size == 50257


def test_the_vocabulary_is_found_in_a_named_folder(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("GPTCORE_ASSETS", str(tmp_path / "empty"))
    assert gpt2_tokenizer(real_data / "tiktoken").encode("hello world") == [31373, 995]


def test_a_folder_without_the_vocabulary_is_refused(tmp_path):
    with pytest.raises(AssetError, match=r"holds no GPT-2 vocabulary: put encoder\.json there"):
        gpt2_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["encoder.json", SHA1_NAMES["encoder.json"]])
def test_an_altered_vocabulary_is_refused(name, tmp_path, monkeypatch):
    (tmp_path / name).write_text("{}")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(AssetError, match=f"{name} has sha256 .*, expected 196139668be6"):
        gpt2_tokenizer()


def test_the_vocabulary_is_the_published_one():
    assert GPT2_VOCABULARY.sha256 == "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
    assert GPT2_VOCABULARY.size == 1_042_301


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content.replace(b"!", b"?", 1), lambda content: b""])
def test_a_damaged_vocabulary_in_the_assets_folder_is_refused(damage, real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("GPTCORE_ASSETS", str(tmp_path))
    path = tmp_path / GPT2_VOCABULARY.place
    path.parent.mkdir()
    path.write_bytes(damage((real_data / GPT2_VOCABULARY.place).read_bytes()))
    with pytest.raises(AssetError, match=r"encoder\.json has sha256 .*, expected 196139668be6.*delete it"):
        gpt2_tokenizer()


@pytest.mark.parametrize("content", ["", "{", "[]", "1", '{"a": "0"}', '{"a": 1}', '{"a": true}', '{"a": 0, "b": 0}', '{"\u4e00": 0}', "[" * 100_000, b"\xff"])
def test_what_is_no_vocabulary_is_a_sentence(content, tmp_path):
    (tmp_path / "encoder.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AssetError, match="is no GPT-2 vocabulary"):
        read_gpt2_ranks(tmp_path / "encoder.json")


def test_a_vocabulary_that_vanished_is_a_sentence(tmp_path):
    with pytest.raises(AssetError, match="is no GPT-2 vocabulary"):
        read_gpt2_ranks(tmp_path / "encoder.json")


def test_a_cache_folder_that_cannot_be_is_a_sentence(monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "x" * 300)
    with pytest.raises(AssetError, match=r"cannot be read \(File name too long\)"):
        gpt2_tokenizer()


@pytest.mark.parametrize("text", AWKWARD)
def test_any_text_is_its_bytes_and_never_the_padding_token(text, byte_tokenizer):
    assert byte_tokenizer.encode(text) == list(text.encode())
    assert byte_tokenizer.pad_token == 256
    assert byte_tokenizer.vocabulary_size == 257


def test_merges_follow_their_ranks():
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"bc": 256, b"ab": 257}
    assert make_tokenizer("merging", ranks).encode("abc ab") == [ord("a"), 256, ord(" "), 257]


def test_the_digest_tells_vocabularies_apart():
    single = {bytes([byte]): byte for byte in range(256)}
    tokenizers = [make_tokenizer("any", single | more) for more in ({}, {b"ab": 256}, {b"ab": 256, b"bc": 257}, {b"ab": 257, b"bc": 256})]
    assert len({tokenizer.digest for tokenizer in tokenizers}) == 4
    assert make_tokenizer("other name", single).digest == tokenizers[0].digest


def test_a_ranks_file_is_read(tmp_path):
    (tmp_path / "ranks").write_text("YQ== 0\nYmM= 1\n")
    assert read_ranks(tmp_path / "ranks") == {b"a": 0, b"bc": 1}


@pytest.mark.parametrize(
    "content", ["YQ==", "YQ== zero", "Y!Q== 0", "YQ== 0 1", "\u00fc 0", "YQ== 1", "YQ== -1", "YQ== 0\nYQ== 1", "YQ== 0\nYg== 0", f"YQ== {'9' * 5000}"]
)
def test_a_file_of_another_form_is_no_ranks_file(content, tmp_path):
    (tmp_path / "ranks").write_text(content, encoding="utf-8")
    with pytest.raises(AssetError, match="is no ranks file"):
        read_ranks(tmp_path / "ranks")


def test_a_missing_ranks_file_is_an_asset_error(tmp_path):
    with pytest.raises(AssetError, match="is no ranks file"):
        read_ranks(tmp_path / "ranks")
