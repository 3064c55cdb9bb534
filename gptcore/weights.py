"""Where a GPT's weights come from: PyTorch's random initialisation, or safetensors in the Hugging Face layout.  (SPEC §3)"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gptcore.assets import verified
from gptcore.download import Progress
from gptcore.errors import AssetError
from gptcore.hub import FILE_NAME, PINNED_WEIGHTS, cached_pretrained, download_pretrained
from gptcore.lora import without_adapters
from gptcore.model import GPT, GPTConfig
from gptcore.out_of_memory import is_out_of_memory
from gptcore.places import is_there, printable

# Hugging Face's names inside a block, and ours; its four Conv1D weights are stored transposed.
NORMS = {"ln_1": "attention_norm", "ln_2": "mlp_norm"}
CONV1DS = {"attn.c_proj": "attention.output", "mlp.c_fc": "mlp.up", "mlp.c_proj": "mlp.down"}
QKV = ("attention.query", "attention.key", "attention.value")


def find_pretrained(config: GPTConfig, folder: Path | None = None, progress: Progress = lambda done, total: None) -> Path:
    """Path of the safetensors file with the pretrained weights of this size.

    A folder is taken at its word: its file is used as it is, whatever its sha256.  Without one the pinned file comes from the Hugging Face Hub's cache or
    the Hub, and is verified; `progress` hears of the download.  Raises AssetError where there is none.
    """
    pinned = PINNED_WEIGHTS[config.name]
    if folder is None:
        return pretrained_at_hand(config) or verified(download_pretrained(pinned, progress).resolve(), pinned.sha256)
    places = [folder / pinned.repository.split("/")[1], folder / pinned.repository, folder]
    for place in places:
        if is_there(place / FILE_NAME):
            return place / FILE_NAME
    raise AssetError(f"{printable(folder)} holds no weights of {config.name}: put them at {places[0] / FILE_NAME}, in the Hugging Face layout")


def pretrained_at_hand(config: GPTConfig, folder: Path | None = None) -> Path | None:
    """The same without a download: None where no folder is named and the Hub's cache lacks the file."""
    if folder is not None:
        return find_pretrained(config, folder)
    cached = cached_pretrained(PINNED_WEIGHTS[config.name])
    return verified(cached.resolve(), PINNED_WEIGHTS[config.name].sha256) if cached else None  # resolved: the cache holds a link to the file


def published_bytes(config: GPTConfig) -> int:
    """Bytes of the pinned file, but for its header: every parameter once, and each block's mask, which it holds too."""
    with torch.device("meta"), torch.random.fork_rng(devices=()):
        model = GPT(config)
    n_numbers = sum(parameter.numel() for name, parameter in model.named_parameters() if name != "head.weight")  # tied with the token embedding
    return torch.float32.itemsize * (n_numbers + config.n_layer * config.context_length**2)


def random_gpt(config: GPTConfig, *, causal: bool, seed: int) -> GPT:
    """A GPT with PyTorch's default initialisation, drawn from torch's global generator after seeding it."""
    torch.manual_seed(seed)
    return GPT(config, causal)


def pretrained_gpt(config: GPTConfig, path: Path, *, causal: bool) -> GPT:
    """A GPT with the weights in `path`, in float32; its vocabulary head is the transposed token embedding, as GPT-2 ties them.

    Raises AssetError where the file is no safetensors, holds another model, or numbers that are none.
    """
    try:
        stored = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, MemoryError) as error:  # the latter: dtypes that torch lacks, and absurd sizes
        if is_out_of_memory(error) and not isinstance(error, MemoryError):
            raise
        raise AssetError(f"{printable(path)} is no readable safetensors file ({error}): delete it and fetch it again") from error
    with torch.device("meta"):
        model = GPT(config, causal)
    model.load_state_dict(from_hugging_face(stored, model, path), assign=True)
    return model


def from_hugging_face(stored: Mapping[str, Tensor], model: GPT, path: Path) -> dict[str, Tensor]:
    """Our state dict, in float32, from tensors named as Hugging Face names them, with or without the prefix `transformer.`.

    Raises AssetError, naming the tensor, where one is missing, has another shape than `model`'s, or holds anything but finite numbers.
    """
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in stored.items()}
    if len(tensors) != len(stored):
        raise AssetError(f"{path} holds a tensor twice, with and without the prefix transformer.: name a GPT-2 in the Hugging Face layout")
    if any(name.startswith(f"h.{model.config.n_layer}.") for name in tensors):
        raise AssetError(f"{path} has more than the {model.config.n_layer} blocks of {model.config.name}: name the weights of the right size")
    state: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        stored_name, part = hugging_face_name(name)
        if stored_name not in tensors:
            raise AssetError(f"{path} lacks the tensor {stored_name}: name a GPT-2 in the Hugging Face layout")
        tensor = tensors[stored_name]
        if part is not None and tensor.ndim and tensor.shape[-1] % len(QKV) == 0:
            tensor = tensor.chunk(len(QKV), dim=-1)[part]
        if is_conv1d_weight(stored_name) and tensor.ndim == 2:
            tensor = tensor.T
        if tensor.shape != parameter.shape:
            raise AssetError(
                f"{stored_name} in {path} gives {tuple(tensor.shape)} for {name}, and {model.config.name} needs {tuple(parameter.shape)}: "
                "name the weights of the right size"
            )
        is_tied = name == "head.weight"
        state[name] = state["token_embedding.weight"] if is_tied else finite(tensor, stored_name, path)
    return state


def finite(tensor: Tensor, name: str, path: Path) -> Tensor:
    """The tensor in float32.  Raises AssetError unless it holds fractional numbers, and none that is NaN or infinite."""
    if not tensor.is_floating_point():
        raise AssetError(f"{name} in {path} holds {str(tensor.dtype).removeprefix('torch.')}, no fractional numbers: name weights that were not quantised")
    converted = tensor.to(torch.float32).clone(memory_format=torch.contiguous_format)
    if not all(bound.isfinite() for bound in converted.aminmax()):
        raise AssetError(f"{name} in {path} holds NaN or infinite numbers: the file was damaged, or its training diverged; name other weights")
    return converted


def to_hugging_face(model: GPT, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The tensors under Hugging Face's names, adapters merged; the head, be it the tied vocabulary's or a classifier's, is left out."""
    tensors: dict[str, list[Tensor]] = {}
    for name, parameter in without_adapters(model).items():
        if not name.startswith("head."):
            stored_name, _ = hugging_face_name(name)
            tensor = parameter.detach().to(dtype)
            tensors.setdefault(stored_name, []).append(tensor.T if is_conv1d_weight(stored_name) else tensor)
    return {name: torch.cat(parts, dim=-1).contiguous() for name, parts in tensors.items()}


def save_pretrained(model: GPT, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the model to `path` as safetensors in the Hugging Face layout."""
    save_file(to_hugging_face(model, dtype), path, metadata={"format": "pt"})


def hugging_face_name(name: str) -> tuple[str, int | None]:
    """Hugging Face's name for one of our parameters, and which third of it (query, key, value) where several share one tensor."""
    module, kind = name.rsplit(".", 1)
    outside_blocks = {"token_embedding": "wte", "position_embedding": "wpe", "final_norm": "ln_f", "head": "wte"}
    if module in outside_blocks:
        return f"{outside_blocks[module]}.{kind}", None
    _, index, inside = module.split(".", 2)
    if inside in QKV:
        return f"h.{index}.attn.c_attn.{kind}", QKV.index(inside)
    stored = {ours: theirs for theirs, ours in (NORMS | CONV1DS).items()}[inside]
    return f"h.{index}.{stored}.{kind}", None


def is_conv1d_weight(stored_name: str) -> bool:
    """Whether Hugging Face stores this tensor as (in, out)."""
    return stored_name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight"))
