"""The miniature world's tokenizer: GPT-2's split pattern and bytes, about a thousand merges learnt from the pretraining texts (see `bench.smoke.bpe`)."""

from functools import cache
from pathlib import Path

from gptcore.tokenizer import Tokenizer, make_tokenizer, read_ranks

RANKS_FILE = Path(__file__).with_name("vocabulary.tiktoken")
N_MERGES = 960


@cache
def smoke_tokenizer() -> Tokenizer:
    """The tokenizer of the committed ranks file: 256 bytes, the merges, `<|endoftext|>`.  Raises AssetError where the file is damaged."""
    return make_tokenizer("smoke", read_ranks(RANKS_FILE))
