"""tiktoken encodings: GPT-2's from its verified vocabulary file, or any other from a ranks file.  Works offline."""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import tiktoken

from gptcore.assets import Asset, assets_folder, fetch, verified
from gptcore.download import Progress
from gptcore.errors import AssetError, UsageError
from gptcore.experiment import digest_of
from gptcore.places import is_there

END_OF_TEXT = "<|endoftext|>"

GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

GPT2_URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/encoder.json"
GPT2_VOCABULARY = Asset("tiktoken/encoder.json", (GPT2_URL,), "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783", 1_042_301)


@dataclass(frozen=True)
class Tokenizer:
    """A tiktoken encoding whose last token, `<|endoftext|>`, also pads."""

    encoding: tiktoken.Encoding
    digest: str

    @property
    def pad_token(self) -> int:
        """Id of the padding token."""
        return self.encoding.eot_token

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens, `<|endoftext|>` included."""
        return self.encoding.n_vocab

    @property
    def ranks(self) -> dict[bytes, int]:
        """Token bytes to id, without `<|endoftext|>`."""
        return {self.encoding.decode_single_token_bytes(rank): rank for rank in range(self.pad_token)}

    def encode(self, text: str) -> list[int]:
        """Token ids.  `<|endoftext|>` written out in a text is ordinary text, so the padding token never occurs."""
        return self.encoding.encode(text, disallowed_special=())


def gpt2_tokenizer(folder: Path | None = None) -> Tokenizer:
    """GPT-2's tokenizer, 50,257 tokens.  (SPEC §2)

    The vocabulary is `encoder.json` in `folder`, in $TIKTOKEN_CACHE_DIR (there under tiktoken's name for it too) or in the assets folder, where it is
    downloaded once.  Raises AssetError where it is not to be had or not the published one.
    """
    return make_tokenizer("gpt2", read_gpt2_ranks(find_gpt2_vocabulary(folder)))


def find_gpt2_vocabulary(folder: Path | None, progress: Progress = lambda done, total: None) -> Path:
    """Path of the verified `encoder.json`; `progress` hears of its download."""
    found = vocabulary_at_hand(folder)
    if folder and not found:
        raise AssetError(f"{folder} holds no GPT-2 vocabulary: put encoder.json there, or name another folder")
    return found or fetch(GPT2_VOCABULARY, progress)


def vocabulary_at_hand(folder: Path | None) -> Path | None:
    """Path of the verified `encoder.json` where it is on this machine; the assets folder is left out where another one is named."""
    tiktoken_name = hashlib.sha1(GPT2_URL.encode(), usedforsecurity=False).hexdigest()
    cache = os.environ.get("TIKTOKEN_CACHE_DIR")
    for place in (folder, Path(cache) if cache else None):
        for name in ("encoder.json", tiktoken_name) if place else ():
            if place and is_there(place / name):
                return verified(place / name, GPT2_VOCABULARY.sha256)
    ours = assets_folder() / GPT2_VOCABULARY.place
    return verified(ours, GPT2_VOCABULARY.sha256) if not folder and is_there(ours) else None


def read_gpt2_ranks(encoder_json: Path) -> dict[bytes, int]:
    """Token bytes to id, from GPT-2's file of printable stand-ins for bytes.  (Radford et al. 2019, byte-level BPE)

    Raises AssetError for anything else.
    """
    byte_of = {character: byte for byte, character in stand_ins().items()}
    try:
        token_ids = json.loads(encoder_json.read_text(encoding="utf-8"))
        pairs = [(bytes(byte_of[character] for character in token), rank) for token, rank in token_ids.items() if token != END_OF_TEXT]
        return ranks_of(pairs)
    except (OSError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise AssetError(f"{encoder_json} is no GPT-2 vocabulary ({error}): it needs one JSON object of tokens and their ids") from error


def stand_ins() -> dict[int, str]:
    """The printable character that stands for each byte in GPT-2's files."""
    own_character = [byte for byte in range(256) if chr(byte).isprintable() and byte != ord(" ")]
    borrowed = [byte for byte in range(256) if byte not in own_character]
    return {byte: chr(byte) for byte in own_character} | {byte: chr(256 + index) for index, byte in enumerate(borrowed)}


def merges_of(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The two tokens that byte pair encoding makes each longer one of, in the order of their ranks: GPT-2's list of merges.

    Raises UsageError for a token that encoding never comes to.
    """
    longer = sorted((token for token in ranks if len(token) > 1), key=ranks.__getitem__)
    return [halves_of(token, ranks) for token in longer]


def halves_of(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The last two parts that encoding a token comes to before it is whole.  Raises UsageError where it does not come to two."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        made = [(ranks.get(first + second, len(ranks)), place) for place, (first, second) in enumerate(pairwise(parts))]
        rank, place = min(made)
        if rank >= ranks[token]:
            raise UsageError(f"the token {token!r} is not made of two earlier ones, as GPT-2's are: its tokenizer cannot be written as a list of merges")
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts[0], parts[1]


def read_ranks(path: Path) -> dict[bytes, int]:
    """Token bytes to id, from a file with one base64 token and its rank a line.  Raises AssetError for anything else."""
    try:
        pairs = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
        return ranks_of([(base64.b64decode(token, validate=True), int(rank)) for token, rank in pairs])
    except (OSError, ValueError, binascii.Error) as error:
        raise AssetError(f"{path} is no ranks file ({error}): it needs one base64 token and its rank a line") from error


def ranks_of(pairs: Sequence[tuple[bytes, int]]) -> dict[bytes, int]:
    """Token bytes to id.  Raises ValueError unless every token stands once and the ids are all numbers from 0 to their count."""
    ranks = dict(pairs)
    if len(ranks) != len(pairs):
        raise ValueError("a token stands twice")
    if any(type(rank) is not int for rank in ranks.values()) or sorted(ranks.values()) != list(range(len(ranks))):
        raise ValueError(f"the ids of {len(ranks)} tokens are not all numbers from 0 to {len(ranks) - 1}")
    return ranks


def format_ranks(ranks: Mapping[bytes, int]) -> str:
    """The content of a ranks file: one base64 token and its rank a line."""
    return "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())


def byte_tokenizer() -> Tokenizer:
    """A tokenizer that needs no file: one token per byte of UTF-8, 257 tokens with `<|endoftext|>`."""
    return make_tokenizer("bytes", {bytes([byte]): byte for byte in range(256)})


def make_tokenizer(name: str, ranks: dict[bytes, int]) -> Tokenizer:
    """A tokenizer with GPT-2's split pattern and `<|endoftext|>` after the last rank."""
    special_tokens = {END_OF_TEXT: len(ranks)}
    encoding = tiktoken.Encoding(name, pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=special_tokens, explicit_n_vocab=len(ranks) + 1)
    return Tokenizer(encoding, digest_of_ranks(ranks))


def digest_of_ranks(ranks: Mapping[bytes, int]) -> str:
    """sha256 of GPT-2's split pattern and the tokens in the order of their ids."""
    return digest_of({"pattern": GPT2_PATTERN, "tokens": [token.hex() for token in sorted(ranks, key=ranks.__getitem__)]})
