"""Files from outside: found in the assets folder or downloaded into it, and always verified.  Nothing here knows what is in them."""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import platformdirs
import pooch
from requests import RequestException

from gptcore.errors import AssetError

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Asset:
    """One file: its place below the assets folder, where it can be had (mirrors in order of preference), its sha256."""

    place: str
    urls: tuple[str, ...]
    sha256: str


def assets_folder() -> Path:
    """The folder that holds every asset: $GPTCORE_ASSETS, else the user's cache folder."""
    named = os.environ.get("GPTCORE_ASSETS")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("gptcore", appauthor=False)


def fetch(asset: Asset) -> Path:
    """The verified file.  Downloads it on first use; raises AssetError where that fails or what stands there has another sha256."""
    path = assets_folder() / asset.place
    if not path.exists():
        download(asset, path)
    return verified(path, asset.sha256)


def verified(path: Path, sha256: str) -> Path:
    """`path`, whose sha256 is the wanted one.  Raises AssetError otherwise."""
    found = sha256_of(path)
    if found != sha256:
        raise AssetError(
            f"{path} has sha256 {found[:12]}…, expected {sha256[:12]}…: the file was damaged or altered; replace it, or delete it and it will be fetched anew"
        )
    return path


def sha256_of(path: Path) -> str:
    """sha256 (hexadecimal) of a file, computed once per process and version of the file.  Raises AssetError where it cannot be read."""
    try:
        status = path.stat()
        return _sha256_of_version(path.resolve(), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from error


@lru_cache(maxsize=64)
def _sha256_of_version(path: Path, size: int, modified_ns: int) -> str:  # noqa: ARG001 - size and time are part of the cache's key
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(asset: Asset, path: Path) -> None:
    """Download to `path` from the first mirror that serves the right bytes; nothing is left behind by one that does not.

    Raises AssetError, saying which file to put where, when none does.
    """
    reasons = []
    for url in asset.urls:
        try:
            pooch.retrieve(
                url,
                known_hash=asset.sha256,
                fname=path.name,
                path=path.parent,
                downloader=pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS),
            )
            return
        except (OSError, ValueError, RequestException) as error:
            reasons.append(f"{url} ({type(error).__name__})")
    raise AssetError(
        f"{path.name} could not be downloaded from {' or '.join(reasons)}: on a machine without network put the file at {path}, "
        f"or name the folder it belongs to in GPTCORE_ASSETS"
    )
