"""The commands that made the miniature world's files:

    python -m bench.smoke.make vocabulary                 # vocabulary.tiktoken
    python -m bench.smoke.make weights [--only NAME]      # weights/<miniature>.safetensors

The vocabulary comes out the same everywhere.  The weights repeat themselves on one machine and torch version; elsewhere rounding makes them other, equally
good ones, which need newly recorded expectations.  So the committed files are the reference, and these commands the account of how they came about.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.smoke.bpe import train_ranks
from bench.smoke.messages import pretraining_texts
from bench.smoke.miniatures import MINIATURES, WEIGHTS_FOLDER
from bench.smoke.tokenizer import N_MERGES, RANKS_FILE, smoke_tokenizer
from gptcore.device import reproducible
from gptcore.files import write_atomically
from gptcore.model import GPT, GPTConfig
from gptcore.tokenizer import format_ranks
from gptcore.weights import save_pretrained

SEED = 123
N_STEPS, N_WARMUP = 1000, 100
BATCH_SIZE = 16
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 0.1
CLIP_NORM = 1.0
INITIAL_STD = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what the arguments name.  Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.smoke.make", description="Regenerate the miniature world's files.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("vocabulary", help="learn the tokenizer's merges")
    weights = commands.add_parser("weights", help="pretrain the miniature GPTs (minutes each)")
    names = [config.name for config in MINIATURES.values()]
    weights.add_argument("--only", choices=names, help="this one only")
    options = parser.parse_args(arguments)
    if options.command == "vocabulary":
        make_vocabulary()
    else:
        torch.set_num_threads(1)  # the order of summation, and so the weights, would depend on their number
        for config in MINIATURES.values():
            if options.only in (None, config.name):
                make_weights(config)
    return 0


def make_vocabulary() -> None:
    """Write the ranks file."""
    content = format_ranks(train_ranks(pretraining_texts(), N_MERGES))
    write_atomically(RANKS_FILE, lambda path: path.write_text(content, encoding="ascii", newline="\n"))
    print(f"wrote {RANKS_FILE.name}")


def make_weights(config: GPTConfig) -> None:
    """Pretrain one miniature and write its file, in half precision."""
    model = pretrain(config, pretraining_stream(), N_STEPS)
    path = WEIGHTS_FOLDER / f"{config.name}.safetensors"
    write_atomically(path, lambda temporary: save_pretrained(model, temporary, torch.float16))
    print(f"wrote {path.name}")


def pretraining_stream() -> Tensor:
    """All pretraining texts as one stream of tokens, `<|endoftext|>` after each, as GPT-2 was trained.  (N,)"""
    tokenizer = smoke_tokenizer()
    return torch.tensor([token for text in pretraining_texts() for token in [*tokenizer.encode(text), tokenizer.pad_token]])


def pretrain(config: GPTConfig, stream: Tensor, n_steps: int) -> GPT:
    """A language model trained on random cuts of the stream, its head tied to its token embedding."""
    with reproducible():
        torch.manual_seed(SEED)
        model = initialised_language_model(config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_then_cosine(step, n_steps))
        for step in range(n_steps):
            loss = language_model_loss(model, random_cuts(stream, config.context_length))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
            optimizer.step()
            schedule.step()
            if step % 100 == 0 or step == n_steps - 1:
                print(f"{config.name} step {step}: loss {loss.item():.4f}", flush=True)
    return model


def initialised_language_model(config: GPTConfig) -> GPT:
    """A GPT initialised as GPT-2 was: normal with a small deviation, smaller still where a block writes to the residual stream; biases zero."""
    model = GPT(config)
    cast(nn.Linear, model.head).weight = model.token_embedding.weight
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif "norm" not in name:
            writes_residual = name.endswith(("attention.output.weight", "mlp.down.weight"))
            nn.init.normal_(parameter, std=INITIAL_STD / (math.sqrt(2 * config.n_layer) if writes_residual else 1))
    return model


def random_cuts(stream: Tensor, length: int) -> Tensor:
    """A batch of cuts, each one token longer than `length`.  (B, T + 1)"""
    begins = torch.randint(len(stream) - length, (BATCH_SIZE, 1))
    return stream[begins + torch.arange(length + 1)]


def language_model_loss(model: GPT, tokens: Tensor) -> Tensor:
    """Mean cross entropy of predicting each next token.  tokens: (B, T + 1)."""
    logits = model(tokens[:, :-1])  # (B, T, V)
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def warmup_then_cosine(step: int, n_steps: int) -> float:
    """The share of the learning rate at a step: rising in a straight line, then falling to a tenth along a cosine."""
    warmup = min(1.0, (step + 1) / N_WARMUP)
    return warmup * (0.55 + 0.45 * math.cos(math.pi * step / n_steps))


if __name__ == "__main__":
    sys.exit(main())
