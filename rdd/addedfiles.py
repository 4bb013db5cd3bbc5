"""Files that a program hands to its tasks."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, ClassVar


class SparkFiles:
    """Finds the files that `SparkContext.addFile` and `addArchive` have added, in the driver and in tasks."""

    _root_directory: ClassVar[str | None] = None
    _is_running_on_worker: ClassVar[bool] = False
    _sc: ClassVar[Any] = None

    @classmethod
    def get(cls, filename: str) -> str:
        """The path of a file that was added."""
        return str(Path(cls.getRootDirectory(), filename).absolute())

    @classmethod
    def getRootDirectory(cls) -> str:
        """The directory of the files that were added.

        Raises
        ------
        RuntimeError
            There is no context.
        """
        if cls._root_directory is None:
            raise RuntimeError("SparkFiles: there is no SparkContext, so no files were added")
        return cls._root_directory


class AddedFiles:
    """The part of `SparkContext` that adds files."""

    _folder: Path

    def _begin_files(self) -> None:
        self._added = self._folder / "files"
        self._added.mkdir()
        self._files: list[str] = []
        self._archives: list[str] = []
        self._python_includes: list[str] = []
        SparkFiles._root_directory = str(self._added)

    def addFile(self, path: str, recursive: bool = False) -> None:
        """Copy a file, or with `recursive` a directory, to where tasks find it by `SparkFiles.get`.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            It is a directory, and `recursive` is false.
        """
        source = _existing(path, "addFile")
        if source.is_dir() and not recursive:
            raise ValueError(f"SparkContext.addFile: {path!r} is a directory; pass recursive=True to add it")
        target = self._added / source.name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)
        self._files.append(source.as_uri())

    def _files_of_tasks(self) -> tuple[str, list[str]]:
        """Where tasks find files, and import from."""
        names = [str(self._added / name) for name in self._python_includes if not name.endswith(".py")]
        return str(self._added), [str(self._added), *names]

    @property
    def listFiles(self) -> list[str]:
        """The files that were added."""
        return list(self._files)

    def addPyFile(self, path: str) -> None:
        """Let tasks, and this process, import a module from a .py or .zip file."""
        self.addFile(path)
        name = Path(path).name
        place = str(self._added) if name.endswith(".py") else str(self._added / name)
        self._python_includes.append(name)
        if place not in sys.path:
            sys.path.insert(1, place)

    def addArchive(self, path: str) -> None:
        """Unpack an archive to where tasks find it by `SparkFiles.get`; after a ``#`` it may be given a name."""
        location, _, name = path.partition("#")
        source = _existing(location, "addArchive")
        target = self._added / (name or source.name)
        target.mkdir(exist_ok=True)
        kind = "zip" if source.suffix == ".jar" else None
        shutil.unpack_archive(source, target, kind)
        self._archives.append(source.as_uri() + (f"#{name}" if name else ""))

    @property
    def listArchives(self) -> list[str]:
        """The archives that were added."""
        return list(self._archives)


def _existing(path: str, method: str) -> Path:
    source = Path(str(path).removeprefix("file://")).absolute()
    if not source.exists():
        raise FileNotFoundError(f"SparkContext.{method}: there is no file {str(source)!r}")
    return source
