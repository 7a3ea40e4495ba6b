"""Which version of which asset lies where, and how one is published. Knows paths and manifests; no Dagster, no torch.

    <store>/<name>/<asset>/versions/<id>/…      files, then manifest.json, written last: no manifest, no version
    <store>/<name>/<asset>/current.json         {"version": "<id>"}, replaced atomically
    <store>/<name>/<asset>/candidates/<id>/…    the last candidate that failed a gate, to look at
    <store>/<name>/<asset>/shared/<sha256>.<suffix>   immutable files that several versions use (image packs)

Nothing is renamed as a folder and no absolute path is written, so a store can be copied or moved as it is. `<id>` is a
digest of the files, so publishing the same bytes twice is one version. Locks and unfinished candidates lie in scratch.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from vqa_pipeline.errors import DamagedVersion, DiskError, NotPublished, StoreBusy, StoreFormat
from vqa_pipeline.files import (
    copy_file,
    digest_file,
    link_file,
    make_folder,
    name_disk_errors,
    sync_folder,
    write_atomically,
)
from vqa_pipeline.schemas import STORE_FORMAT, Check, Frozen, Input, Manifest
from vqa_pipeline.software import read_git_commit, read_package_versions

MANIFEST = "manifest.json"
_ID_LENGTH = 16  # hex digits: 64 bits tell the versions of one asset apart


@dataclass(frozen=True)
class Version:
    """A published version of an asset."""

    path: Path
    manifest: Manifest

    @property
    def asset(self) -> str:
        """Key of the asset below its pipeline."""
        return self.manifest.asset

    def as_input(self) -> Input:
        """What a stage that reads this version writes into its own manifest."""
        return Input(version=self.manifest.version, data_version=self.manifest.data_version)


class Failed(NamedTuple):
    """A candidate that failed a gate, as it was seen: the same bytes kept again are another one."""

    path: Path
    kept_ns: int


class Draft(Frozen):
    """What a stage says of the version it is about to publish; the store adds the rest of the manifest."""

    data_version: str
    stage_number: int
    settings: dict[str, Any]
    inputs: dict[str, Input] = Field(default_factory=dict)
    numbers: dict[str, float | int | None] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    seconds: float
    packages: dict[str, str] = Field(default_factory=dict)
    """Versions of packages that this process does not have, such as the worker's torch."""


class Store:
    """The published versions of one pipeline.

    Args:
        root: Folder of the pipeline in the store; made when something is published.
        scratch: Folder for locks and unfinished candidates; may be deleted when nothing runs.
    """

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self.scratch = scratch

    # ------------------------------------------------------------------------------------------------------ reading

    def current(self, asset: str) -> Version | None:
        """The version that downstream reads, or None when nothing was published yet.

        Raises:
            DamagedVersion: the pointer or the manifest is missing or no JSON of its kind.
            DiskError: they cannot be read.
        """
        pointer = self._pointer(asset)
        with name_disk_errors(pointer):
            try:
                version = json.loads(pointer.read_bytes())["version"]
            except FileNotFoundError:
                return None
            except (ValueError, KeyError, TypeError) as error:
                raise DamagedVersion(asset, "current", pointer, f"is not a pointer ({error})") from error
            return self.read(asset, str(version))

    def current_whole(self, asset: str) -> Version | None:
        """The current version, with the size of each of its files checked; None when nothing was published yet.

        Raises:
            DamagedVersion: a file is missing or has another size than the manifest says.
            DiskError: it cannot be read.
        """
        version = self.current(asset)
        damage = find_damage(version) if version is not None else None
        if damage is not None:
            raise damage
        return version

    def require(self, asset: str) -> Version:
        """The current version, with the size of each of its files checked.

        Raises:
            NotPublished: nothing was published yet.
            DamagedVersion: a file is missing or has another size than the manifest says.
            DiskError: it cannot be read.
        """
        version = self.current_whole(asset)
        if version is None:
            raise NotPublished(asset, self.root)
        return version

    def require_version(self, asset: str, version: str) -> Version:
        """A version by its id, current or not, with the size of each of its files checked.

        Raises:
            DamagedVersion: there is none, or a file is missing or has another size than the manifest says.
            DiskError: it cannot be read.
        """
        found = self.read(asset, version)
        damage = find_damage(found)
        if damage is not None:
            raise damage
        return found

    def versions(self, asset: str) -> list[Version]:
        """Every published version of an asset, oldest first; without a manifest that can be read it is none."""
        found = []
        for folder in (self.root / asset / "versions").glob("*"):
            with suppress(DamagedVersion, OSError):
                found.append(self.read(asset, folder.name))
        return sorted(found, key=lambda version: (version.manifest.created_at, version.manifest.version))

    def find(self, asset: str, data_version: str) -> Version | None:
        """The newest published version with this data version that lacks no file, current or not."""
        matching = (v for v in reversed(self.versions(asset)) if v.manifest.data_version == data_version)
        return next((version for version in matching if find_damage(version) is None), None)

    def _pointer(self, asset: str) -> Path:
        return self.root / asset / "current.json"

    def read(self, asset: str, version: str) -> Version:
        """A version by its id; its files are not looked at.

        Raises:
            DamagedVersion: its manifest is missing or no JSON of its kind.
            StoreFormat: it is of another format than this package writes.
        """
        folder = self.root / asset / "versions" / version
        try:
            told = (folder / MANIFEST).read_bytes()
            _check_format(folder / MANIFEST, told)
            return Version(folder, Manifest.model_validate_json(told))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise DamagedVersion(asset, version, folder / MANIFEST, "is missing") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            reason = ": ".join([*map(str, first["loc"]), first["msg"]])
            raise DamagedVersion(asset, version, folder / MANIFEST, f"is not a manifest ({reason})") from error

    # --------------------------------------------------------------------------------------------------- publishing

    @contextmanager
    def candidate(self, asset: str) -> Iterator[Path]:
        """An empty folder for the files of a version to be, while no other run works on the same asset.

        The folder lies in scratch and is removed at the end; what a killed run left there is removed at the start.

        Raises:
            StoreBusy: another run works on this asset.
            DiskError: the folder cannot be made.
        """
        with self.lock(asset):
            folder = self.scratch / "candidates" / asset.replace("/", "__")
            shutil.rmtree(folder, ignore_errors=True)
            make_folder(folder)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def lock(self, asset: str) -> Iterator[None]:
        """Hold an asset; the operating system lets go of it however the process ends.

        Raises:
            StoreBusy: another run holds it.
            DiskError: there is no folder for the lock.
        """
        path = self.scratch / "locks" / f"{asset.replace('/', '__')}.lock"
        make_folder(path.parent)
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreBusy(asset, path) from error
            yield

    def publish(self, asset: str, folder: Path, draft: Draft) -> Version:
        """Copy a candidate's files into the store, then its manifest, then point `current` at it.

        Killed in between, the store still shows the version before. When the same bytes are published already, only
        the manifest is replaced: it now tells how they came about this time. Files of theirs that were damaged are
        whole again then. A large file that the current version has too takes no room again, where the disk has links.

        Raises:
            DiskError: a file cannot be written; the version before stays, and nothing of this one.
        """
        files = _list_files(folder)
        version = _digest_files(folder, files)
        target = self.root / asset / "versions" / version
        copy_files(folder, files, target, self._find_before(asset))
        for stray in _list_files(target).keys() - files.keys():  # no part of what `version` is the digest of
            (target / stray).unlink()
        manifest = Manifest(
            asset=asset,
            version=version,
            files=files,
            created_at=datetime.now(UTC),
            git_commit=read_git_commit(),
            **{**dict(draft), "packages": read_package_versions() | draft.packages},
        )
        write_atomically(target / MANIFEST, manifest.model_dump_json(indent=1).encode())
        published = Version(target, manifest)
        self.point_at(published)
        return published

    def _find_before(self, asset: str) -> Path | None:
        with suppress(DamagedVersion):
            current = self.current(asset)
            return current.path if current else None
        return None

    def point_at(self, version: Version) -> None:
        """Make a published version the current one."""
        write_atomically(self._pointer(version.asset), json.dumps({"version": version.manifest.version}).encode())

    def forget_unreadable(self, asset: str) -> None:
        """Remove a pointer that leads to no manifest: nothing is current then. What else leads somewhere stays."""
        try:
            self.current(asset)
        except DamagedVersion:
            self._pointer(asset).unlink()

    def share(self, asset: str, file: Path) -> str:
        """Add an immutable file that versions of an asset use together; returns its path relative to the asset."""
        name = f"shared/{digest_file(file)}{file.suffix}"
        target = self.root / asset / name
        make_folder(target.parent)
        copy_file(file, target)
        sync_folder(target.parent)
        return name

    def keep_candidate(self, asset: str, folder: Path) -> Path:
        """Keep a candidate that failed a gate, to look at; the one before it goes. Returns where it is."""
        self.drop_failed(asset)
        files = _list_files(folder)
        target = self.root / asset / "candidates" / _digest_files(folder, files)
        copy_files(folder, files, target)
        return target

    def find_failed(self, asset: str) -> Path | None:
        """The candidate that failed a gate, if no version was published or found up to date since."""
        failed = self.see_failed(asset)
        return failed.path if failed else None

    def see_failed(self, asset: str) -> Failed | None:
        """The candidate that failed a gate as it is now, for `settle_failed`."""
        path = next((self.root / asset / "candidates").glob("*/"), None)
        try:
            return Failed(path, path.stat().st_mtime_ns) if path else None
        except FileNotFoundError:
            return None  # another run has just settled it

    def settle_failed(self, asset: str, seen: Failed) -> None:
        """Remove the candidate that was seen; one that another run kept since, or is at work on, is that run's."""
        with suppress(StoreBusy), self.lock(asset):
            if self.see_failed(asset) == seen:
                self.drop_failed(asset)

    def drop_failed(self, asset: str) -> None:
        """Remove the candidate that failed a gate: what stopped it is settled. For a run that holds the asset."""
        shutil.rmtree(self.root / asset / "candidates", ignore_errors=True)


def _check_format(path: Path, told: bytes) -> None:
    """Before a manifest is validated: that of another format may have other fields."""
    with suppress(ValueError):
        read = json.loads(told)
        found = read.get("format", STORE_FORMAT) if isinstance(read, dict) else STORE_FORMAT
        if isinstance(found, int) and found != STORE_FORMAT:
            raise StoreFormat(path, found, STORE_FORMAT)


def _list_files(folder: Path) -> dict[str, int]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(found)}


def _digest_files(folder: Path, files: dict[str, int]) -> str:
    digest = hashlib.sha256()
    for name in files:
        digest.update(f"{len(name)}:{name}{digest_file(folder / name)}".encode())
    return digest.hexdigest()[:_ID_LENGTH]


def find_damage(version: Version) -> DamagedVersion | None:
    """The first file of a version that is missing or has another size than its manifest says."""
    for name, size in version.manifest.files.items():
        path = version.path / name
        with name_disk_errors(path):
            if not path.is_file():
                return DamagedVersion(version.asset, version.manifest.version, path, "is missing")
            found = path.stat().st_size
        if found != size:
            reason = f"has {found} bytes, not {size}"
            return DamagedVersion(version.asset, version.manifest.version, path, reason)
    return None


def find_alteration(version: Version) -> DamagedVersion | None:
    """As `find_damage`, and whether the bytes are those that were published: reads every file of the version."""
    damage = find_damage(version)
    if damage is not None:
        return damage
    manifest = version.manifest
    with name_disk_errors(version.path):
        found = _digest_files(version.path, manifest.files)
    if found == manifest.version:
        return None
    reason = f"the bytes of a file were changed: together they are {found}, not {manifest.version}"
    return DamagedVersion(version.asset, manifest.version, version.path, reason)


def copy_files(folder: Path, names: Iterable[str], target: Path, before: Path | None = None) -> None:
    """Copy files into a folder that stands for them; when they do not fit, what was no version before goes again.

    A large file that the version `before` has under the same name is linked: published files never change.
    """
    targets = {name: target / name for name in names}
    parents = sorted({target, *(path.parent for path in targets.values())})
    try:
        for parent in parents:
            make_folder(parent)
        for name, path in targets.items():
            if before is None or not link_file(folder / name, before / name, path):
                copy_file(folder / name, path)
        for parent in parents:
            sync_folder(parent)
    except DiskError:
        if not (target / MANIFEST).exists():
            shutil.rmtree(target, ignore_errors=True)
        raise
