"""The miniature world of the smoke tier: texts, a tokenizer and four pretrained GPTs, small enough to commit, and an experiment's scale on them."""

from bench.smoke.messages import pretraining_texts, smoke_dataset
from bench.smoke.miniatures import MINIATURES, miniature, weights_of
from bench.smoke.tokenizer import smoke_tokenizer

__all__ = ["MINIATURES", "miniature", "pretraining_texts", "smoke_dataset", "smoke_tokenizer", "weights_of"]
