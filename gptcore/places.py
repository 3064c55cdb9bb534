"""Where things lie on this machine: folders that the environment names, and whether a path can be looked at.  Nothing here reads or writes."""

import os
from pathlib import Path

import platformdirs

from gptcore.errors import AssetError, UsageError


def named_folder(variable: str) -> Path | None:
    """The folder that an environment variable names, with `~` for a home folder; None where it is unset or empty.  Raises UsageError for an unknown home."""
    named = os.environ.get(variable)
    try:
        return Path(named).expanduser() if named else None
    except RuntimeError as error:
        raise UsageError(f"{variable} is {named}, and this machine knows no such home folder: write the whole path") from error


def cache_folder(variable: str, *inside: str) -> Path:
    """The folder that an environment variable names, else the one `inside` the user's cache folder.  Raises UsageError where there is no home folder."""
    named = named_folder(variable)
    if named:
        return named
    try:
        return platformdirs.user_cache_path("gptcore", appauthor=False).joinpath(*inside).expanduser()
    except RuntimeError as error:
        raise UsageError(f"the user has no home folder to keep files in: name a folder in {variable}") from error


def is_there(path: Path) -> bool:
    """Whether anything stands at `path`.  Raises AssetError where that cannot be told: no permission, a name too long, a loop of links."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise AssetError(f"{printable(path)} cannot be read ({why(error)}): check the path and its permissions") from error
    return True


def printable(path: Path) -> str:
    """The path for a message: what no terminal prints is spelled out, and the middle of an absurdly long path is left out."""
    text = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in str(path))
    return text if len(text) <= 400 else f"{text[:200]}…{text[-100:]}"


def why(error: Exception) -> str:
    """The system's word for what went wrong, such as `Permission denied`."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
