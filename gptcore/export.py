"""A classifier in the layout that Hugging Face's `transformers` loads.  (`GPT2ForSequenceClassification` and `GPT2Model`, versions 5)

`GPT2ForSequenceClassification` reads the last token that is not `pad_token_id`, with a head that has no bias.  Three exact changes make it do what was trained:

- The head's bias c moves into the final LayerNorm's, by the shortest d with W d = c.
- Where the class is read from the last position, padding included, `pad_token_id` names a token that never occurs, a last row added to the embedding.
- Where it is read from the first token, texts are cut to one token; with a causal mask no other has a part in it.

What it cannot do - the mean over all positions, no causal mask - goes out in parts: body, head, and the formula that joins them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from gptcore.classifier import Classifier
from gptcore.errors import UsageError
from gptcore.experiment import Experiment
from gptcore.folders import write_folder
from gptcore.one_query import weight_and_bias
from gptcore.tokenizer import END_OF_TEXT, Tokenizer, merges_of, stand_ins
from gptcore.weights import to_hugging_face

CONFIG, WEIGHTS, HEAD, CARD = "config.json", "model.safetensors", "head.safetensors", "README.md"
TOKENIZER_FILES = VOCABULARY, MERGES, TOKENIZER_CONFIG = ("vocab.json", "merges.txt", "tokenizer_config.json")
FILES = (CONFIG, WEIGHTS, HEAD, CARD, *TOKENIZER_FILES)
LARGEST_RESIDUAL = 1e-6  # of the folded bias, relative to its size


def export_classifier(classifier: Classifier, folder: Path, *, overwrite: bool = False) -> None:
    """Write a folder that `AutoModelForSequenceClassification` and `AutoTokenizer` load and that gives the same logits up to rounding, all or nothing.

    Raises UsageError where `transformers` cannot do that (see `why_not_alone`), or where something stands in the folder's place.
    """
    if reason := why_not_alone(classifier.experiment):
        raise UsageError(f"GPT2ForSequenceClassification cannot {reason}: add --parts to get the body and the head, with the formula that joins them")
    tensors = {f"transformer.{name}": tensor.cpu() for name, tensor in to_hugging_face(classifier.model).items()}
    weight, bias = (parameter.detach().cpu() for parameter in weight_and_bias(classifier.model.head))
    tensors["score.weight"] = weight
    tensors["transformer.ln_f.bias"] = tensors["transformer.ln_f.bias"] + folded_bias(weight, bias)
    n_tokens = classifier.model.config.vocabulary_size
    pad_token = classifier.tokenizer.pad_token
    if reads_padding(classifier.experiment):
        tensors["transformer.wte.weight"] = torch.cat([tensors["transformer.wte.weight"], torch.zeros(1, classifier.model.config.width)])
        pad_token, n_tokens = n_tokens, n_tokens + 1
    config = config_of(classifier) | {"architectures": ["GPT2ForSequenceClassification"], "vocab_size": n_tokens, "pad_token_id": pad_token}
    write_folder(folder, FILES, lambda new: write_files(classifier, new, config, {WEIGHTS: tensors}, ALONE), overwrite=overwrite)


def export_parts(classifier: Classifier, folder: Path, *, overwrite: bool = False) -> None:
    """Write a folder whose body `GPT2Model` and whose tokenizer `AutoTokenizer` load, with the head beside them and the formula in README.md, all or nothing.

    Raises UsageError where something stands in the folder's place.
    """
    weight, bias = (parameter.detach().cpu() for parameter in weight_and_bias(classifier.model.head))
    files = {WEIGHTS: to_hugging_face(classifier.model), HEAD: {"weight": weight, "bias": bias}}
    config = config_of(classifier) | {"architectures": ["GPT2Model"], "pad_token_id": None}
    write_folder(folder, FILES, lambda new: write_files(classifier, new, config, files, PARTS), overwrite=overwrite)


def why_not_alone(experiment: Experiment) -> str | None:
    """What `GPT2ForSequenceClassification` would have to do and cannot; None where it gives the experiment's logits."""
    if experiment.disable_causal_mask:
        return "let every token attend to every token in all of its versions"
    if experiment.average_embeddings:
        return "average logits over positions"
    return None


def reads_padding(experiment: Experiment) -> bool:
    """Whether the class is read from the last position of a padded row."""
    return experiment.trainable_token_pos == "last" and not experiment.no_padding


def folded_bias(weight: Tensor, bias: Tensor) -> Tensor:
    """The shortest d, (D,), with weight @ d = bias.  Raises UsageError where there is none: a head whose two rows are parallel."""
    exact: Tensor = torch.linalg.pinv(weight.double()) @ bias.double()
    if (weight.double() @ exact - bias.double()).abs().max() > LARGEST_RESIDUAL * (1 + bias.abs().max()):
        raise UsageError("the head's bias cannot move into the final LayerNorm, its two rows are parallel: add --parts")
    return exact.float()


def config_of(classifier: Classifier) -> dict[str, Any]:
    """`config.json`: the same network, no dropout, names of the classes."""
    model, pad_token = classifier.model.config, classifier.tokenizer.pad_token
    return {
        "model_type": "gpt2",
        "vocab_size": model.vocabulary_size,
        "n_positions": model.context_length,
        "n_embd": model.width,
        "n_layer": model.n_layer,
        "n_head": model.n_head,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "is_causal": not classifier.experiment.disable_causal_mask,
        "use_cache": False,
        "dtype": "float32",
        "bos_token_id": pad_token,
        "eos_token_id": pad_token,
        "pad_token_id": pad_token,
        "id2label": dict(enumerate(classifier.classes)),
        "label2id": {name: label for label, name in enumerate(classifier.classes)},
    }


def tokenizer_files(tokenizer: Tokenizer, length: int) -> dict[str, str]:
    """The content of the three files that make `GPT2Tokenizer` split as ours does.  length: tokens that `truncation=True` cuts texts to."""
    ranks, character_of = tokenizer.ranks, stand_ins()
    spelled = {token: "".join(character_of[byte] for byte in token) for token in ranks}
    vocabulary = {spelled[token]: rank for token, rank in ranks.items()} | {END_OF_TEXT: tokenizer.pad_token}
    settings = {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "model_max_length": length,
        "model_input_names": ["input_ids"],  # an attention mask would hide padding, which the training saw
        "padding_side": "right",
        "truncation_side": "right",
        "split_special_tokens": True,  # written out in a text, it is ordinary text
        **dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), END_OF_TEXT),
    }
    merges = (f"{spelled[first]} {spelled[second]}" for first, second in merges_of(ranks))
    return {
        VOCABULARY: json.dumps(vocabulary, ensure_ascii=False) + "\n",
        MERGES: "\n".join(("#version: 0.2", *merges)) + "\n",
        TOKENIZER_CONFIG: json.dumps(settings, indent=2) + "\n",
    }


@dataclass(frozen=True)
class Kind:
    """What `README.md` says of one kind of export.  about: a sentence.  code: Python that turns `texts` into `logits`, with {placeholders}."""

    about: str
    code: str


ALONE = Kind(
    "`AutoModelForSequenceClassification` loads this folder and gives the logits that were trained, up to rounding. The head's bias stands in the final "
    "LayerNorm's, so the hidden states differ from the trained ones by a constant. No attention mask belongs to it.",
    """\
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
with torch.no_grad():
    logits = model(**tokenizer(texts, {how}, return_tensors="pt")).logits
""",
)
PARTS = Kind(
    "`AutoModel` loads the body; the head is in `head.safetensors`. Together, as below, they give the logits that were trained, up to rounding. "
    "No attention mask belongs to it.{mask}",
    """\
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
body = AutoModel.from_pretrained(folder).eval()
head = load_file(f"{{folder}}/head.safetensors")


def logits_of(tokens):
    with torch.no_grad():
        hidden = body(tokens).last_hidden_state  # (B, T, D)
    return {read} @ head["weight"].T + head["bias"]


{call}
""",
)
NEEDS_MASK = " Let `transformers` be 5.23 or newer: versions that do not know `is_causal` mask what was trained without a mask."
ONE_BY_ONE = 'logits = torch.cat([logits_of(tokenizer(text, return_tensors="pt")["input_ids"]) for text in texts])'
TOGETHER = 'logits = logits_of(tokenizer(texts, truncation=True, padding="max_length", return_tensors="pt")["input_ids"])'


def card_of(classifier: Classifier, kind: Kind) -> str:
    """`README.md`: what this is and how it is used, code that runs."""
    experiment, pad_token = classifier.experiment, classifier.tokenizer.pad_token
    last_text = f"hidden[torch.arange(len(tokens)), (tokens != {pad_token}).sum(dim=1) - 1]"
    read = {"first": "hidden[:, 0]", "last": "hidden[:, -1]", "flexible": last_text}[experiment.trainable_token_pos]
    about = kind.about.format(mask=NEEDS_MASK if experiment.disable_causal_mask else "")
    code = kind.code.format(
        how="padding=True" if experiment.no_padding and experiment.trainable_token_pos != "first" else 'truncation=True, padding="max_length"',
        read="hidden.mean(dim=1)" if experiment.average_embeddings else read,
        call=TOGETHER if classifier.length else ONE_BY_ONE,
    )
    lines = (
        "# A finetuned GPT-2 for two classes",
        about,
        f"0 is {classifier.classes[0]}, 1 is {classifier.classes[1]}. `folder` is this folder, `texts` a list of strings:",
        f"```python\n{code.strip()}\n```",
    )
    return "\n\n".join(lines) + "\n"


def write_files(classifier: Classifier, folder: Path, config: dict[str, Any], tensors: Mapping[str, Mapping[str, Tensor]], kind: Kind) -> None:
    """Fill a folder."""
    length = classifier.length or classifier.model.config.context_length
    reads_one = kind is ALONE and classifier.experiment.trainable_token_pos == "first"
    texts = {
        CONFIG: json.dumps(config, indent=2, ensure_ascii=False) + "\n",
        CARD: card_of(classifier, kind),
        **tokenizer_files(classifier.tokenizer, 1 if reads_one else length),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    for name, content in tensors.items():
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in content.items()}, folder / name, metadata={"format": "pt"})
