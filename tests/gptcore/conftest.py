"""A world small enough to train in a second: GPTs of width 16, bytes for tokens, 45 training texts; and the real data where a machine has it."""

import importlib.util
import os
import random
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
import torch
from safetensors.torch import save_file

import gptcore.memory
from gptcore.dataset import Dataset, Split
from gptcore.experiment import Experiment
from gptcore.inputs import Inputs
from gptcore.model import GPT2_SIZES, GPTConfig
from gptcore.tokenizer import make_tokenizer

# Properties are tried on the same examples everywhere, however slow the machine.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("repeatable")

NAMED_ASSETS = os.environ.get("GPTCORE_ASSETS")
BESIDE_THE_REPOSITORY = Path(__file__).parents[3] / "shared" / "assets"

SMALL, MEDIUM, LARGE, XL = GPT2_SIZES.values()

# SPEC §6: the flags of the nineteen rows as typed there, and the settings they stand for.
ROWS = (
    ("", {}),
    ("--trainable_token_pos first", {"trainable_token_pos": "first"}),
    ("--trainable_layers last_layer", {"trainable_layers": "last_layer"}),
    ("--trainable_layers last_two_blocks", {"trainable_layers": "last_two_blocks"}),
    ("--trainable_layers all", {"trainable_layers": "all"}),
    ('--model_size "gpt2-medium (355M)"', {"model_size": MEDIUM}),
    ('--model_size "gpt2-large (774M)"', {"model_size": LARGE}),
    ('--model_size "gpt2-xl (1558M)"', {"model_size": XL}),
    ('--model_size "gpt2-xl (1558M)" --trainable_layers all', {"model_size": XL, "trainable_layers": "all"}),
    ("--weights random --trainable_layers all", {"weights": "random", "trainable_layers": "all"}),
    ("--trainable_layers lora --lora_rank 16 --lora_alpha 16", {"trainable_layers": "lora", "lora_rank": 16, "lora_alpha": 16}),
    (
        '--trainable_layers lora --lora_rank 16 --lora_alpha 8 --model_size "gpt2-xl (1558M)"',
        {"trainable_layers": "lora", "lora_rank": 16, "lora_alpha": 8, "model_size": XL},
    ),
    ('--context_length "model_context_length"', {"context_length": "model_context_length"}),
    ("--no_padding --batch_size 1", {"no_padding": True, "batch_size": 1}),
    ("--no_padding --batch_size 1 --accumulation_steps 8", {"no_padding": True, "batch_size": 1, "accumulation_steps": 8}),
    ("--trainable_token_pos flexible", {"trainable_token_pos": "flexible"}),
    ("--disable_causal_mask", {"disable_causal_mask": True}),
    ("--ignore_index 50256", {"ignore_index": 50256}),
    ("--average_embeddings", {"average_embeddings": True}),
)

# Miniatures of the four published sizes: bytes and the padding token, forty positions.
MINIATURES = {
    SMALL: GPTConfig(SMALL.name, width=16, n_layer=3, n_head=2, vocabulary_size=257, context_length=40),
    MEDIUM: GPTConfig(MEDIUM.name, width=20, n_layer=3, n_head=4, vocabulary_size=257, context_length=40),
    LARGE: GPTConfig(LARGE.name, width=16, n_layer=4, n_head=1, vocabulary_size=257, context_length=40),
    XL: GPTConfig(XL.name, width=24, n_layer=4, n_head=3, vocabulary_size=257, context_length=40),
}


def pytest_generate_tests(metafunc):
    if "row" in metafunc.fixturenames:
        metafunc.parametrize("row", ROWS, ids=[f"row_{number}" for number in range(1, len(ROWS) + 1)])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Miniatures are too small to share: threads that wait for one another take all the time on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def no_files_of_this_machine(monkeypatch, tmp_path):
    """No test reads or fills a cache of the person who runs it."""
    monkeypatch.setenv("GPTCORE_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("GPTCORE_STATE_CACHE", str(tmp_path / "states"))
    for name in ("GPTCORE_WEIGHTS_DIR", "TIKTOKEN_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def real_data(monkeypatch, no_files_of_this_machine):
    """Folder with the published data and vocabulary, and gptcore pointed at it."""
    folder = Path(NAMED_ASSETS) if NAMED_ASSETS else BESIDE_THE_REPOSITORY
    if not folder.is_dir():
        pytest.skip(f"no published data at {folder}: name its folder in GPTCORE_ASSETS")
    monkeypatch.setenv("GPTCORE_ASSETS", str(folder))
    return folder


def load_helper(name):
    """The module beside this file: pytest's importlib mode puts none of them on the path."""
    spec = importlib.util.spec_from_file_location(f"gptcore_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reference():
    """The independent implementation in reference.py."""
    return load_helper("reference")


@pytest.fixture(scope="session")
def misbehaving():
    """The ways to misbehave in misbehaving.py."""
    return load_helper("misbehaving")


@pytest.fixture
def server(misbehaving, monkeypatch):
    """A server on this machine that answers as the test says."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with misbehaving.running() as running:
        yield running


@pytest.fixture(scope="session")
def tiny():
    return MINIATURES[SMALL]


@pytest.fixture(scope="session")
def miniature():
    """Makes an experiment of its settings with the model shrunk, and quick to show a difference."""

    def make(**settings):
        model = MINIATURES[settings.pop("model_size", SMALL)]
        quick = {"num_epochs": 2, "eval_freq": 2, "eval_iter": 3, "learning_rate": 2e-3}
        return Experiment(model_size=model, **quick | settings)

    return make


@pytest.fixture(scope="session")
def byte_tokenizer():
    """One token per byte; the padding token is 256."""
    return make_tokenizer("bytes", {bytes([byte]): byte for byte in range(256)})


@pytest.fixture(scope="session")
def dataset():
    """45 / 13 / 11 texts of 2 to 30 letters; the classes differ in the letters they prefer."""
    draw = random.Random(5)

    def make_split(n):
        labels = tuple(draw.choice((0, 1)) for _ in range(n))
        return Split(tuple("".join(draw.choices(("abcdefgh", "fghijkl")[label], k=draw.randint(2, 30))) for label in labels), labels)

    train, validation, test = make_split(45), make_split(13), make_split(11)
    longer_than_training = Split(("a" * 35, *validation.texts[1:]), validation.labels)
    return Dataset(train, longer_than_training, test)


@pytest.fixture(scope="session")
def weights_of(tmp_path_factory):
    """Makes the path of a safetensors file in the Hugging Face layout with random weights for a size, LayerNorms included."""
    paths = {}

    def make(config):
        if config not in paths:
            generator = torch.Generator().manual_seed(7)
            width = config.width
            shapes = {"wte.weight": (config.vocabulary_size, width), "wpe.weight": (config.context_length, width)}
            for index in range(config.n_layer):
                for name, rows, columns in (
                    ("attn.c_attn", width, 3 * width),
                    ("attn.c_proj", width, width),
                    ("mlp.c_fc", width, 4 * width),
                    ("mlp.c_proj", 4 * width, width),
                ):
                    shapes |= {f"h.{index}.{name}.weight": (rows, columns), f"h.{index}.{name}.bias": (columns,)}
            tensors = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
            for norm in (*(f"h.{index}.ln_{i}" for index in range(config.n_layer) for i in (1, 2)), "ln_f"):
                tensors[f"{norm}.weight"] = 1 + 0.3 * torch.randn(width, generator=generator)
                tensors[f"{norm}.bias"] = 0.3 * torch.randn(width, generator=generator)
            paths[config] = tmp_path_factory.mktemp("weights") / "model.safetensors"
            save_file(tensors, paths[config])
        return paths[config]

    return make


@pytest.fixture(scope="session")
def inputs_of(dataset, byte_tokenizer, weights_of):
    """Makes the inputs that an experiment on a miniature reads."""

    def make(experiment, **changes):
        weights = weights_of(experiment.model_size) if experiment.weights == "pretrained" else None
        return replace(Inputs(dataset, byte_tokenizer, weights), **changes)

    return make


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """9000 kB of memory, 8000 of them free, 1000 kB of swap, and a container's limit and use in bytes."""

    def pretend(limit="max", used=0):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
        (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\nSwapTotal: 1000 kB\n")
        monkeypatch.setattr(gptcore.memory, "MEMORY_LIMIT", tmp_path / "memory.max")
        monkeypatch.setattr(gptcore.memory, "MEMORY", tmp_path / "meminfo")

    return pretend
