"""Downloads from the Hugging Face hub: only the files a model needs, resumed, checked.

huggingface_hub speaks to the hub and owns the cache; since its version 2 it starts a broken
download over, so large files are fetched here: into a partial file beside the blob, continued by
byte range, and made a blob only when the digest is the one the hub states.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairway.errors import DoesNotFit, FormatError, OfflineError
from fairway.registry.hub_cache import REVISION, cached_model, cached_repos, repo_folder
from fairway.registry.hub_errors import hub_errors
from fairway.registry.hub_files import INDEX, Choice, HubFile, choose, shards_of
from fairway.registry.model_id import HubId
from fairway.registry.progress import Progress

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

# Below this a download is not worth continuing; above the largest, the hub serves no plain HTTP.
SMALLEST_RESUMED_BYTES = 1 << 20
LARGEST_RESUMED_BYTES = 50 * 10**9
CHUNK_BYTES = 1 << 20  # the library's 10 MiB would make progress jump and lose as much when killed
DISK_MARGIN_BYTES = 256 << 20
PARTIAL_SUFFIX = ".fairway-partial"


def cache_folder() -> Path:
    """Where the hub's cache is (HF_HOME, HF_HUB_CACHE)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def known_repos() -> list[str]:
    """Repositories of which something is on this disk already."""
    return cached_repos(cache_folder())


def download(model: HubId, progress: Progress | None = None) -> Path:
    """The model's folder or file on this disk, fetched if need be. Works offline once it is here."""
    from huggingface_hub import constants

    cached = cached_model(cache_folder(), model)
    if cached is not None and constants.HF_HUB_OFFLINE:
        return cached
    try:
        with hub_errors(model.repo):
            return _fetch(model, progress)
    except OfflineError:
        if cached is None:
            raise
        return cached


def _fetch(model: HubId, progress: Progress | None) -> Path:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    disable_progress_bars()  # ours is shown instead
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
    info = HfApi().model_info(model.repo, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    commit = info.sha or REVISION
    choice = _with_shards(model, commit, choose(model, _listed(info)))
    fetcher = Fetcher(model.repo, commit, choice.files, progress)
    fetcher.check_disk()
    paths = {file.name: fetcher.fetch(file) for file in choice.files}
    folder = fetcher.finish()
    return paths[choice.model_file] if choice.model_file is not None else folder


def _listed(info: ModelInfo) -> list[HubFile]:
    def digest(file: RepoSibling) -> str | None:
        return file.lfs.sha256 if file.lfs is not None else file.blob_id

    return [HubFile(file.rfilename, file.size, digest(file)) for file in info.siblings or ()]


def _with_shards(model: HubId, commit: str, choice: Choice) -> Choice:
    """Reads the index first: of several sets of weights it says which files belong together."""
    from huggingface_hub import hf_hub_download

    if choice.model_file is not None or all(file.name != INDEX for file in choice.files):
        return choice
    index = hf_hub_download(model.repo, INDEX, revision=commit)
    return Choice(shards_of(Path(index).read_text("utf-8"), choice.files))


class Fetcher:
    """Fetches the files of one commit into the hub's cache and reports the sum."""

    def __init__(self, repo: str, commit: str, files: Sequence[HubFile], progress: Progress | None) -> None:
        self._repo = repo
        self._commit = commit
        self._folder = repo_folder(cache_folder(), repo)
        self._files = files
        self._total_bytes = sum(file.num_bytes or 0 for file in files)
        self._done_bytes = 0
        self._progress = progress

    def check_disk(self) -> None:
        """Refuses before the first byte what would fill the disk. Raises `DoesNotFit`."""
        needed = sum(max(0, (file.num_bytes or 0) - self._bytes_here(file)) for file in self._files)
        self._folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        if needed and needed + DISK_MARGIN_BYTES > free:
            raise DoesNotFit(
                f"{self._repo} needs {needed / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB are free "
                f"in {self._folder}.",
                hint="Free some space, or set HF_HOME to a folder on a larger disk.",
            )

    def fetch(self, file: HubFile) -> Path:
        """One file's path in the snapshot."""
        from huggingface_hub import hf_hub_download

        before = self._done_bytes
        if SMALLEST_RESUMED_BYTES <= (file.num_bytes or 0) <= LARGEST_RESUMED_BYTES and file.digest:
            self._fetch_blob(file, file.digest)
        path = hf_hub_download(self._repo, file.name, revision=self._commit)
        self._report(file, before + (file.num_bytes or 0) - self._done_bytes)
        return Path(path)

    def finish(self) -> Path:
        """Makes this commit the one that is found offline; only now, when nothing is missing."""
        reference = self._folder / "refs" / REVISION
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(self._commit, "utf-8")
        return self._folder / "snapshots" / self._commit

    def _fetch_blob(self, file: HubFile, digest: str) -> None:
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

        blob = self._folder / "blobs" / digest
        blob.parent.mkdir(parents=True, exist_ok=True)
        partial = blob.with_name(digest + PARTIAL_SUFFIX)
        # The library's own lock for this blob, so that other tools wait for us and we for them.
        lock = self._folder.parent / ".locks" / self._folder.name / f"{digest}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            if not blob.exists():
                self._continue(file, partial)
                _check_digest(file, digest, partial)
                partial.replace(blob)

    def _continue(self, file: HubFile, partial: Path) -> None:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        if partial.is_file() and partial.stat().st_size > (file.num_bytes or 0):
            partial.unlink()
        with CountedFile(partial, lambda count: self._report(file, count)) as out:
            done = out.seek(0, io.SEEK_END)
            self._report(file, done)
            if done == file.num_bytes:
                return
            http_get(
                hf_hub_url(self._repo, file.name, revision=self._commit),
                out,
                resume_size=done,
                headers=build_hf_headers(),
                expected_size=file.num_bytes,
            )

    def _bytes_here(self, file: HubFile) -> int:
        blob = self._folder / "blobs" / (file.digest or "unknown")
        for path in (blob, blob.with_name(blob.name + PARTIAL_SUFFIX)):
            if path.is_file():
                return path.stat().st_size
        return 0

    def _report(self, file: HubFile, num_bytes: int) -> None:
        self._done_bytes += num_bytes
        if self._progress is not None:
            self._progress(self._done_bytes, self._total_bytes, file.name)


class CountedFile(io.FileIO):
    """A file opened for writing at any place that tells how far it has come."""

    def __init__(self, path: Path, report: Callable[[int], None]) -> None:
        super().__init__(path, "r+" if path.exists() else "w+")
        self._report = report

    def write(self, data: Any, /) -> int:  # noqa: ANN401  typeshed's own signature differs by version
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += super().write(view[done:])
        self._report(done)
        return done

    def truncate(self, size: int | None = None, /) -> int:
        """Starting over, when the server ignores the byte range: what was counted is counted back."""
        before = self.seek(0, io.SEEK_END)
        after = super().truncate(0 if size is None else size)
        self.seek(after)
        self._report(after - before)
        return after


def _check_digest(file: HubFile, digest: str, partial: Path) -> None:
    if len(digest) not in (40, 64) or _digest(partial, len(digest)) == digest:
        return
    partial.unlink()
    raise FormatError(f"{file.name} arrived damaged: its digest is not the hub's.", hint="Run it again.")


def _digest(path: Path, length: int) -> str:
    """sha256 of the content, or git's blob id (sha1 with a header) for a 40-digit digest."""
    hasher = hashlib.sha256() if length == 64 else hashlib.sha1(usedforsecurity=False)
    if length == 40:
        hasher.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            hasher.update(chunk)
    return hasher.hexdigest()
