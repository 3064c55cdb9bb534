"""What can be done with a saved classifier: `python -m gptcore classify` and `python -m gptcore export`."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import tee

from gptcore.classifier import Classification, Classifier
from gptcore.command_line import path_argument
from gptcore.device import DEVICES, pick_device
from gptcore.errors import DataError, UsageError
from gptcore.execution import set_threads
from gptcore.export import export_classifier, export_parts
from gptcore.saved import load_classifier


def classify(arguments: Sequence[str]) -> int:
    """`classify`: one line for each text.  Returns 0."""
    parser = make_parser("classify", "Say of each text which class it is, exactly as the training saw texts.")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts; without any, every line of standard input is one")
    parser.add_argument("--device", default="auto", help=f"{', '.join(DEVICES)} (default: auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the CPU (default: the cores this process may use)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line: text, label, name, probability of class 1, logits")
    options = parser.parse_args(arguments)
    if not options.texts and sys.stdin.isatty():
        raise UsageError("no text was given: write one or more behind the command, or pipe them in, one a line")
    set_threads(options.threads)
    classifier = load_classifier(options.model, pick_device(options.device))
    for line in answers(classifier, options.texts or read_lines(sys.stdin.buffer), as_json=options.json):
        print(line, flush=True)
    return 0


def export(arguments: Sequence[str]) -> int:
    """`export`: a new folder that `transformers` loads.  Returns 0."""
    parser = make_parser("export", "Write a classifier in the layout that Hugging Face's transformers loads, with a README.md that says how.")
    parser.add_argument("out", type=path_argument, metavar="OUT", help="new folder")
    parser.add_argument("--parts", action="store_true", help="body and head apart, for what GPT2ForSequenceClassification cannot compute")
    parser.add_argument("--overwrite", action="store_true", help="take the place of an earlier export")
    options = parser.parse_args(arguments)
    write = export_parts if options.parts else export_classifier
    write(load_classifier(options.model), options.out, overwrite=options.overwrite)
    print(f"exported to {options.out}: its README.md says how to use it")
    return 0


COMMANDS = {"classify": classify, "export": export}


def make_parser(command: str, about: str) -> argparse.ArgumentParser:
    """A parser that knows `--model`."""
    parser = argparse.ArgumentParser(prog=f"python -m gptcore {command}", description=about, allow_abbrev=False)
    parser.add_argument("--model", type=path_argument, required=True, metavar="DIR", help="folder that `python -m gptcore --save DIR` wrote")
    return parser


def answers(classifier: Classifier, texts: Iterable[str], *, as_json: bool) -> Iterator[str]:
    """A line for each text."""
    kept, asked = tee(texts)  # texts are read ahead
    for text, answer in zip(kept, classifier.classify(asked), strict=True):
        yield json.dumps({"text": text, **asdict(answer)}) if as_json else line_of(answer, classifier)


def line_of(answer: Classification, classifier: Classifier) -> str:
    """The class and the probability of class 1, for people."""
    return f"{answer.name}\tP({classifier.classes[1]})={answer.probability:.6f}"


def read_lines(lines: Iterable[bytes]) -> Iterator[str]:
    """Lines as texts.  Raises DataError where one is not UTF-8."""
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"standard input, line {number}: byte 0x{line[error.start]:02x} is not UTF-8: give one UTF-8 text a line") from error
