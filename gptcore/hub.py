"""The pretrained files on the Hugging Face Hub: pinned, fetched into the cache of the Hub's own client, and why that failed.  (SPEC §3)"""

import errno
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gaierror
from time import monotonic, sleep

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.file_download import HfFileMetadata, repo_folder_name

from gptcore.download import DownloadError, Limits, Progress, bytes_kept, download, part_beside
from gptcore.errors import AssetError, UserError, causes_of
from gptcore.locks import held
from gptcore.places import why

FILE_NAME = "model.safetensors"
PATIENCE_SECONDS = 6 * 3600  # for a download, by this process or another: the largest file has 6.4 GB
PROGRESS_BYTES = 1 << 20  # what makes a server worth asking on: one that sends a byte each time would be asked for ever
WANTS_A_TOKEN = ("HTTP 401", "HTTP 403")
LOCAL_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG)


@dataclass(frozen=True)
class PinnedWeights:
    """One file on the Hugging Face Hub, at one revision."""

    repository: str
    revision: str
    sha256: str


PINNED_WEIGHTS = {
    "gpt2-small (124M)": PinnedWeights(
        "openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e", "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707"
    ),
    "gpt2-medium (355M)": PinnedWeights(
        "openai-community/gpt2-medium", "6dcaa7a952f72f9298047fd5137cd6e4f05f41da", "fc5a354a19255ad494f3d71549390baca1ccf61d1d822b9408971705c687c9cd"
    ),
    "gpt2-large (774M)": PinnedWeights(
        "openai-community/gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519", "5f47f3e12f91cd33b662ce7e433b6150ad5512b5884a2cee961b50e9c3bbebce"
    ),
    "gpt2-xl (1558M)": PinnedWeights(
        "openai-community/gpt2-xl", "15ea56dee5df4983c59b2538573817e1667135e2", "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a"
    ),
}


def cached_pretrained(pinned: PinnedWeights) -> Path | None:
    """Where the Hub's local cache holds the file, None where it lacks it."""
    cached = try_to_load_from_cache(pinned.repository, FILE_NAME, revision=pinned.revision)
    return Path(cached) if isinstance(cached, str) else None


def download_pretrained(pinned: PinnedWeights, progress: Progress = lambda done, total: None) -> Path:
    """The file in the Hub's local cache; downloads go on where they broke off, in a later process too, and one process at a time makes one.

    HF_ENDPOINT names a mirror of the Hub.  At most HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT seconds (10 unless set) are waited for a byte, a few times
    in a row.  progress: hears of the download as bytes done, bytes in all.
    Raises AssetError where the download fails, or another process downloads for longer than PATIENCE_SECONDS.
    """
    if cached := cached_pretrained(pinned):
        return cached
    lock = Path(constants.HF_HUB_CACHE) / ".locks" / f"gptcore-{pinned.repository.replace('/', '--')}.lock"  # where the Hub's client keeps its own
    try:
        with held(lock, f"another process that downloads {pinned.repository}", PATIENCE_SECONDS):
            # The client asks a Hub that is silent or broken for minutes; this asks once and tells why.
            url = hf_hub_url(pinned.repository, FILE_NAME, revision=pinned.revision)
            metadata = get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            fill_cache(pinned, url, metadata, progress)
            return Path(hf_hub_download(pinned.repository, FILE_NAME, revision=pinned.revision))
    except Exception as error:  # whatever the Hub's client and the clients below it raise, there are no weights
        raise AssetError(
            f"{pinned.repository} could not be downloaded ({what_the_hub_lacked(error)}): mend that and run again, or name a folder that holds "
            f"{pinned.repository.split('/')[1]}/{FILE_NAME} with --weights-dir or GPTCORE_WEIGHTS_DIR"
        ) from error


def fill_cache(pinned: PinnedWeights, url: str, metadata: HfFileMetadata, progress: Progress) -> None:
    """Put the bytes where the Hub's client looks for them before it downloads: what it downloads itself it drops as soon as it is stopped.

    Left to the client is what only it can do: a mirror that names files otherwise, or wants the person's token.  Raises DownloadError.
    """
    if metadata.etag != pinned.sha256 or not metadata.size:
        return
    blob = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=pinned.repository, repo_type="model") / "blobs" / pinned.sha256
    if blob.exists():
        return
    blob.parent.mkdir(parents=True, exist_ok=True)
    limits = Limits(constants.HF_HUB_ETAG_TIMEOUT, constants.HF_HUB_DOWNLOAD_TIMEOUT, attempt=PATIENCE_SECONDS)
    try:
        download_patiently(url, blob, pinned.sha256, metadata.size, limits, progress)
    except DownloadError as error:
        if str(error) not in WANTS_A_TOKEN:
            raise


def download_patiently(url: str, path: Path, sha256: str, size: int, limits: Limits, progress: Progress) -> None:
    """As `download`, again and again for what may pass, until `limits.attempts` in a row have not brought PROGRESS_BYTES, or all took `limits.attempt` seconds.

    What has arrived then stays.
    """
    deadline = monotonic() + limits.attempt
    in_vain, furthest = 0, bytes_kept(part_beside(path), size)
    while True:
        try:
            return download(url, path, sha256=sha256, size=size, limits=replace(limits, attempt=deadline - monotonic()), progress=progress)
        except DownloadError as error:
            in_vain += 1
            kept = bytes_kept(part_beside(path), size)
            if kept - furthest >= PROGRESS_BYTES:
                in_vain, furthest = 0, kept
            if not error.passing or in_vain == limits.attempts:
                raise
            pause = limits.pause * 2 ** max(in_vain - 1, 0)
            if monotonic() + pause >= deadline:
                raise DownloadError(f"too slow: {kept} of {size} bytes in {limits.attempt:g} seconds") from error
        sleep(pause)


def what_the_hub_lacked(error: Exception) -> str:
    """Why the Hub's client failed, in a few words: its own messages fill several lines."""
    causes = causes_of(error)
    for cause in causes:
        if isinstance(cause, UserError | DownloadError):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in LOCAL_FAULTS:
            return f"{constants.HF_HUB_CACHE}: {why(cause)}"
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes):
        return "HF_HUB_OFFLINE is set, and the Hub's cache does not hold it"
    if any("Timeout" in type(cause).__name__ for cause in causes):
        return "timed out"
    for cause in causes:
        if status := getattr(getattr(cause, "response", None), "status_code", None):
            return f"HTTP {status}"
    if any(isinstance(cause, ConnectionError | gaierror) for cause in causes):
        return "no connection"
    return type(causes[-1]).__name__
