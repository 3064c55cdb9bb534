"""Files from outside: found in the assets folder or downloaded into it, and always verified.  Nothing here knows what is in them."""

import errno
import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gptcore.download import DownloadError, Limits, Progress, download, part_beside
from gptcore.errors import AssetError
from gptcore.locks import LockError, held, lock_beside
from gptcore.places import cache_folder, is_there, printable, why

PATIENCE_SECONDS = 1800  # for another process to download: longer than the limits let a download take
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Asset:
    """One file: its place below the assets folder, where it can be had (mirrors in order of preference), its sha256, its size in bytes."""

    place: str
    urls: tuple[str, ...]
    sha256: str
    size: int


def assets_folder() -> Path:
    """The folder that holds every asset: $GPTCORE_ASSETS, else the user's cache folder.  Raises UsageError where neither is to be found."""
    return cache_folder("GPTCORE_ASSETS")


def fetch(asset: Asset, progress: Progress = lambda done, total: None, *, limits: Limits = Limits(), patience: float = PATIENCE_SECONDS) -> Path:
    """The verified file.  Downloads it on first use, while other processes that want it wait.

    progress: hears of the download as bytes done, bytes in all.  patience: seconds to wait for another process.
    Raises AssetError where the download fails or what stands there has another sha256.
    """
    path = assets_folder() / asset.place
    if not is_there(path):
        try:
            with held(lock_beside(path), f"another process that downloads {path.name}", patience):
                if not is_there(path):
                    download_from_mirrors(asset, path, progress, limits)
        except LockError as error:
            raise AssetError(f"{path.name} could not be downloaded: {error}, or name another folder in GPTCORE_ASSETS") from error
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
        version = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return _sha256_of_version(path.resolve(), version)
    except (OSError, ValueError) as error:
        raise AssetError(f"{printable(path)} cannot be read ({why(error)}): check the path and its permissions") from error


@lru_cache(maxsize=64)
def _sha256_of_version(path: Path, version: tuple[int, ...]) -> str:  # noqa: ARG001 - the version is part of the cache's key
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download_from_mirrors(asset: Asset, path: Path, progress: Progress, limits: Limits) -> None:
    """Download to `path` from the first mirror that serves the right bytes.  Those that failed in passing are asked again after all others.

    Raises AssetError, saying what was wrong with each mirror or with this machine, when there is no more hope; nothing half-written is left then.
    """
    reasons: dict[str, str] = {}
    hopeful = list(dict.fromkeys(asset.urls))
    try:
        for attempt in range(limits.attempts):
            if attempt and hopeful:
                time.sleep(limits.pause * 2 ** (attempt - 1))
            for url in tuple(hopeful):
                try:
                    download(url, path, sha256=asset.sha256, size=asset.size, limits=limits, progress=progress)
                    return
                except DownloadError as error:
                    reasons[url] = str(error)
                    if not error.passing:
                        hopeful.remove(url)
    except OSError as error:
        remove_part(path)
        remedy = "make room there" if error.errno in NO_ROOM else "make its folder one that you may write to"
        raise AssetError(f"{printable(path)} cannot be written ({why(error)}): {remedy}, or name another folder in GPTCORE_ASSETS") from error
    remove_part(path)
    told = " or ".join(f"{url} ({reason})" for url, reason in reasons.items())
    raise AssetError(
        f"{path.name} could not be downloaded from {told}: try again later, put the file at {path}, or name the folder it belongs to in GPTCORE_ASSETS"
    )


def remove_part(path: Path) -> None:
    """Remove what a download that failed has left."""
    with suppress(OSError):
        part_beside(path).unlink()
