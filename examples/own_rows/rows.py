"""Rows of our own: support tickets, urgent or routine, and what three ways of fine-tuning a tiny GPT make of them."""

import sys
from dataclasses import replace
from pathlib import Path

from bench import Row, Suite, Tier, full_size, run_command
from gptcore import Experiment, GPTConfig, Inputs, Sources, byte_tokenizer, read_csv_folder

HERE = Path(__file__).parent
TINY = GPTConfig("tiny", width=32, n_layer=2, n_head=4, vocabulary_size=257, context_length=80)
REFERENCE = Experiment(
    model_size=TINY,
    weights="random",
    trainable_layers="all",
    trainable_token_pos="flexible",
    learning_rate=2e-3,
    num_epochs=6,
    eval_freq=30,
)

ROWS = (
    Row(1, "reference", REFERENCE),
    Row(2, "last block only", replace(REFERENCE, trainable_layers="last_block")),
    Row(3, "mean pooling", replace(REFERENCE, trainable_token_pos="last", average_embeddings=True)),
)


def tickets(experiment: Experiment, sources: Sources) -> Inputs:  # noqa: ARG001 - every tier is asked the same way
    """The tickets beside this file, a token for each byte, and no pretrained weights."""
    dataset = replace(read_csv_folder(HERE / "data"), classes=("routine", "urgent"))
    return Inputs(dataset, byte_tokenizer(), weights=None)


TIERS = {"tiny": Tier("tiny", "a GPT of 32 dimensions, a few seconds on a CPU", full_size, tickets, recorded_seeds=8)}
SUITE = Suite(ROWS, TIERS, HERE / "expected_results.json", program=("rows.py",))

if __name__ == "__main__":
    sys.exit(run_command(SUITE))
