"""The raw layer: data as published, compressed losslessly, with a manifest beside them.

`raw/<table>[/week=YYYY-MM-DD]/` holds `manifest.json` and the objects that it names. The name of an object contains the
first digits of the sha256 of its contents. The manifest is written last and in one step, so a reader always finds all
objects of a version, also if a writer died or another version is landing. See `raw_files` and `raw_pages` for what is
fetched. What the contents mean is not known here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from upath import UPath

from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.storage import (
    Found,
    files_in,
    folder_lock,
    generation,
    location,
    read_bytes,
    remove,
    weeks_there,
    write_atomically,
)

RAW: Final = "raw"
MANIFEST: Final = "manifest.json"
CODEC: Final = "zstd"


class DamagedRawFile(ValueError):
    """Raw data that are not what their manifest says, or a manifest that cannot be read. Fetching again repairs it."""


class Manifest(BaseModel):
    """What `FileManifest` and `PagesManifest` share. Each declares all its fields: their order is that of the JSON."""

    model_config = ConfigDict(frozen=True)

    if TYPE_CHECKING:
        sha256: str
        size: int


_Manifest = TypeVar("_Manifest", bound=Manifest)


class Before(NamedTuple, Generic[_Manifest]):
    """What a folder held when a landing began."""

    manifest: _Manifest | None
    """The manifest, if it and all that it names are whole."""
    generation: int | None
    files: Collection[Found]


class RawFolders(ABC, Generic[_Manifest]):
    """The raw data of one table below a lake's root, a folder for each week or one for all."""

    manifest_type: ClassVar[type[Manifest]]
    lake_root: str

    @property
    @abstractmethod
    def table(self) -> str:
        """The name of the table."""

    def path(self, week: str | None) -> UPath:
        """The folder of a week, or of all data."""
        folder = location(self.lake_root) / RAW / self.table
        return folder / f"week={week}" if week else folder

    def weeks(self) -> set[str]:
        """The weeks that have landed."""
        return weeks_there(self.lake_root, RAW, self.table, MANIFEST)

    def manifest(self, week: str | None) -> _Manifest | None:
        """The manifest of a week, or None if the week has not landed.

        Raises:
            DamagedRawFile: the manifest cannot be read.
        """
        path = self.path(week) / MANIFEST
        try:
            return self.manifest_type.model_validate_json(read_bytes(path))  # type: ignore[return-value]
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise DamagedRawFile(f"{path}: not a manifest; {self._remedy(week)}.") from error

    def version(self, week: str | None) -> str | None:
        """The sha256 of what has landed, or None if nothing has. Raises as `manifest` does."""
        manifest = self.manifest(week)
        return None if manifest is None else manifest.sha256

    def _manifest_if_sound(self, week: str | None) -> _Manifest | None:
        try:
            manifest = self.manifest(week)
        except DamagedRawFile:
            return None
        return manifest if manifest and self._is_whole(week, manifest) else None

    def _is_whole(self, week: str | None, manifest: _Manifest) -> bool:  # noqa: ARG002
        """Whether a new landing may rely on what the manifest names. Reading verifies it in any case."""
        return True

    def _before(self, week: str | None) -> Before[_Manifest]:
        """What to compare with at the end of a landing."""
        folder = self.path(week)
        # In this order: a manifest that is written after the first step is noticed.
        return Before(
            generation=generation(folder / MANIFEST),
            manifest=self._manifest_if_sound(week),
            files=files_in(folder),
        )

    def _keep(
        self,
        week: str | None,
        manifest: _Manifest,
        objects: Mapping[str, bytes | memoryview | None],
        before: Before[_Manifest],
    ) -> None:
        """End a landing: write the objects and the manifest, and remove what the manifest does not name.

        Args:
            week: the week that landed.
            manifest: what it holds now. One that is equal to the manifest before is not written again.
            objects: all objects that the manifest names, with their contents unless they are written already.
            before: what `_before` returned when the landing began.

        Raises:
            ConcurrentWriteError: another run has landed the week since; its version remains.
        """
        folder = self.path(week)
        # A writer that died may have left other versions. Folders of weeks belong to the table, not to this landing.
        leftovers = [
            found
            for found in before.files
            if found.path.name not in (MANIFEST, *objects) and not found.path.name.startswith("week=")
        ]

        def nobody_else_landed() -> bool:
            return (
                generation(folder / MANIFEST) == before.generation and self._manifest_if_sound(week) == before.manifest
            )

        with folder_lock(folder):
            for name, payload in objects.items():
                if payload is not None:
                    # Another run that writes this name writes the same contents.
                    write_atomically(folder / name, payload)
            if leftovers or manifest != before.manifest:
                # Written before anything is removed: another run between its objects and its manifest now fails.
                self._write_manifest(week, manifest, nobody_else_landed)
            elif not nobody_else_landed():
                raise ConcurrentWriteError(f"{folder}: another version has landed meanwhile")
            for found in leftovers:
                remove(found)

    def _write_manifest(self, week: str | None, manifest: _Manifest, precondition: Callable[[], bool]) -> None:
        payload = manifest.model_dump_json(indent=2).encode()
        write_atomically(self.path(week) / MANIFEST, payload, precondition=precondition)

    def _remedy(self, week: str | None) -> str:
        return f"materialize {RAW}/{self.table}{f' for {week}' if week else ''} again"
