"""A classifier on disk: a folder with its weights (safetensors), its tokenizer (a ranks file) and all else (JSON).  Complete, and the same bits when read.

The weights keep the names they have here and adapters stay apart, so that the model that comes back computes in the same order.
"""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gptcore.assets import sha256_of
from gptcore.classifier import Classifier
from gptcore.device import reproducible
from gptcore.errors import AssetError, UsageError
from gptcore.experiment import digest_of, experiment_of, settings_of
from gptcore.folders import write_folder
from gptcore.freezing import make_classifier
from gptcore.model import GPT
from gptcore.tokenizer import digest_of_ranks, format_ranks, make_tokenizer, read_ranks

SCHEMA_VERSION = 1
DESCRIPTION, WEIGHTS, RANKS = FILES = ("classifier.json", "model.safetensors", "tokenizer.tiktoken")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Description:
    """What `classifier.json` says.  files: sha256 of the others.  The rest is as in `Classifier`."""

    schema_version: Literal[1]
    settings: dict[str, Any]
    length: int | None
    classes: tuple[str, str]
    tokenizer: str
    digests: dict[str, str]
    files: dict[str, str]

    def __post_init__(self) -> None:
        if set(self.files) != {WEIGHTS, RANKS}:
            raise ValueError(f"the files of a classifier are {WEIGHTS} and {RANKS}")


def save_classifier(classifier: Classifier, folder: Path, *, overwrite: bool = False) -> None:
    """Write a new folder, all or nothing.

    overwrite: take the place of an earlier classifier.  Raises UsageError where something else stands there, or where the tokenizer cannot be kept.
    """
    ranks = classifier.tokenizer.ranks
    if digest_of_ranks(ranks) != classifier.tokenizer.digest:
        raise UsageError(f"the tokenizer {classifier.tokenizer.encoding.name} does not split texts as GPT-2 does: make it with `make_tokenizer` to save it")

    def write(new: Path) -> None:
        save_file({name: tensor.contiguous() for name, tensor in classifier.model.state_dict().items()}, new / WEIGHTS, metadata={"format": "pt"})
        (new / RANKS).write_text(format_ranks(ranks), encoding="ascii", newline="\n")
        content = {
            "schema_version": SCHEMA_VERSION,
            "settings": settings_of(classifier.experiment),
            "length": classifier.length,
            "classes": list(classifier.classes),
            "tokenizer": classifier.tokenizer.encoding.name,
            "digests": dict(classifier.digests),
            "files": {name: sha256_of(new / name) for name in (WEIGHTS, RANKS)},
        }
        text = json.dumps({"sha256": digest_of(content), **content}, indent=2, allow_nan=False)
        (new / DESCRIPTION).write_text(text + "\n", encoding="utf-8", newline="\n")

    write_folder(folder, FILES, write, overwrite=overwrite)


def load_classifier(folder: Path, device: torch.device | None = None) -> Classifier:
    """The classifier that `save_classifier` wrote, by default on the CPU.

    Raises AssetError where the folder is damaged, altered, of another kind or of a newer version.
    """
    description = read_description(folder)
    for name, sha256 in description.files.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != sha256:
            raise AssetError(f"{folder / name} is missing, damaged or altered: restore the folder, or train and save again")
    try:
        experiment = experiment_of(description.settings)
        tokenizer = make_tokenizer(description.tokenizer, read_ranks(folder / RANKS))
        # Seeds are drawn from while the modules are made, and the caller's random state is no business of ours.
        with reproducible(), torch.device("meta"):
            model = GPT(experiment.model_size, causal=not experiment.disable_causal_mask)
            make_classifier(model, experiment)
        model.load_state_dict(load_file(folder / WEIGHTS), assign=True)
    except (SafetensorError, OSError, UsageError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise AssetError(f"{folder} holds no classifier that fits its own description ({str(error).splitlines()[0]}): train and save again") from error
    return Classifier(model.to(device or torch.device("cpu")), experiment, tokenizer, description.length, description.classes, description.digests)


def read_description(folder: Path) -> Description:
    """The checked content of `classifier.json`.  Raises AssetError (see `load_classifier`)."""
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AssetError(f"{folder} holds no {DESCRIPTION}: name a folder that `python -m gptcore --save` wrote") from error
    except (OSError, ValueError, RecursionError) as error:
        raise AssetError(f"{path} cannot be read ({error}): restore the folder, or train and save again") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise AssetError(f"{path} is of another program: name a folder that `python -m gptcore --save` wrote")
    if version > SCHEMA_VERSION:
        raise AssetError(f"{path} has schema version {version} and this program reads up to {SCHEMA_VERSION}: use the newer one that wrote it")
    try:
        if content.pop("sha256", None) != digest_of(content):
            raise AssetError(f"{path} was damaged or altered: restore the folder, or train and save again")
        return TypeAdapter(Description).validate_python(content)
    except ValueError as error:  # pydantic's is one, too
        raise AssetError(f"{path} lacks what a classifier needs ({' '.join(str(error).split())}): train and save again") from error
