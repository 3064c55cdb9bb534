"""What both command lines have in common: streams that can print anything, and one sentence for whatever the person can mend."""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gptcore.errors import UsageError, UserError
from gptcore.files import NO_ROOM, place_of
from gptcore.out_of_memory import is_out_of_memory
from gptcore.starting import open_streams, running

MENDABLE = 2
BROKEN_PIPE = 141  # what a shell knows a process by that SIGPIPE ended; 1 would be a verdict
LONGEST_TEXT = 2000
OUT_OF_MEMORY = "memory ran out: end other programs, use --memory-budget 0, or ask for smaller models and batches or fewer --seeds"


def guarded(command: Callable[[], int]) -> int:
    """Run a command.

    Returns its exit code; 2, after one line on stderr, for a UserError, for what the system refuses and where memory runs out; 141 where nobody reads the
    output any more.  Streams that were closed from the start are no obstacle.
    """
    open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # paths and texts of any language must not end a run on a terminal that knows only ASCII
    try:
        with running(), plain_warnings():
            code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except (UserError, OSError, UnicodeError, RecursionError) as error:
        print(f"error: {one_line(sentence_about(error))}", file=sys.stderr)
        return MENDABLE
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: {OUT_OF_MEMORY}", file=sys.stderr)
        return MENDABLE
    return code


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings are one line for a person meanwhile, without the place in the code that they come from."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *place, **more: f"warning: {one_line(str(message))}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def sentence_about(error: Exception) -> str:
    """What went wrong and what to do about it."""
    match error:
        case OSError() if is_out_of_memory(error):
            return OUT_OF_MEMORY
        case OSError(filename=None):
            return f"the system refused to go on ({error.strerror or error}): mend that and try again"
        case OSError():
            remedy = "make room there" if error.errno in NO_ROOM else "check the path and its permissions"
            return f"{error.filename!s} cannot be used ({error.strerror}): {remedy}, then try again"
        case UnicodeError():
            return f"a name or a text holds characters that cannot be used here ({error}): rename it, or write it in UTF-8"
        case RecursionError():
            return "something given is nested too deep to be read: name another file"
    return str(error)


def one_line(text: str) -> str:
    """The text with everything that is not printable, line breaks too, as visible escapes, and without the middle of what is absurdly long."""
    shown = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT // 2]}…{text[-LONGEST_TEXT // 2 :]}"
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in shown)


def path_argument(text: str) -> Path:
    """A path from the command line.  Raises ArgumentTypeError for what names no file anywhere."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no path: name a file or a folder")
    return Path(text)


def file_argument(text: str) -> Path:
    """A file to write, from the command line; a link stands for what it leads to, and of folders commands speak themselves.

    Raises ArgumentTypeError for what names no file anywhere, UsageError for what is no regular file.
    """
    path = path_argument(text)
    try:
        return place_of(path)
    except IsADirectoryError:
        return path
    except (OSError, ValueError) as error:  # the latter for what no system takes for a name
        raise UsageError(f"{text} cannot be written ({getattr(error, 'strerror', None) or error}): name a regular file, or a new one") from error


def _discard_output() -> None:
    """Python writes what is left of the output once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
