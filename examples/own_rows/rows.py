"""Rows of our own: support tickets, urgent or routine, and what three ways of fine-tuning a tiny GPT make of them."""

import sys
from dataclasses import replace
from pathlib import Path

from bench import Row, Suite, Tier, full_size, run_command
from gptcore import Experiment, GPTConfig, Inputs, Sources, byte_tokenizer, read_csv_folder

HERE = Path(__file__).parent


def suite() -> Suite:
    """The table, its one tier and the file of what is expected.  A function, so that a mistake in here is told in one sentence."""
    tiny = GPTConfig("tiny", width=32, n_layer=2, n_head=4, vocabulary_size=257, context_length=80)
    learning = Experiment(model_size=tiny, weights="random", trainable_layers="all", learning_rate=2e-3, num_epochs=12, eval_freq=60)
    pooled = replace(learning, average_embeddings=True)
    rows = (
        Row(1, "reference: mean pooling", pooled),
        Row(2, "last block only", replace(pooled, trainable_layers="last_block")),
        Row(3, "last real token", replace(learning, trainable_token_pos="flexible")),
    )
    tier = Tier("tiny", "a GPT of 32 dimensions, a few seconds on a CPU", full_size, tickets, recorded_seeds=8)
    return Suite(rows, {"tiny": tier}, HERE / "expected_results.json", program=("rows.py",))


def tickets(experiment: Experiment, sources: Sources) -> Inputs:  # noqa: ARG001 - every tier is asked the same way
    """The tickets beside this file, a token for each byte, and no pretrained weights."""
    dataset = replace(read_csv_folder(HERE / "data"), classes=("routine", "urgent"))
    return Inputs(dataset, byte_tokenizer(), weights=None)


if __name__ == "__main__":
    sys.exit(run_command(suite))
