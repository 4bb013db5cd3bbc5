"""Tables in object stores: S3 and what speaks its protocol, Google Cloud Storage, Azure.

The library obstore lists, reads and writes; a commit is an object that it puts only if there is none, which the store
decides. DuckDB opens data files through the same library, as a file system of its Python client: no extension is
needed, and one set of credentials serves both.
"""

from __future__ import annotations

import functools
import io
import re
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from .storage import SCHEMES, Entry, Found, Given, Storage

try:
    import obstore
    import obstore.store
    from fsspec import AbstractFileSystem
    from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, UnknownConfigurationKeyError
except ImportError as error:
    raise ImportError(
        f"tables in object stores need the package {error.name!r}; install it with: pip install 'ironlake[objects]'"
    ) from None

if TYPE_CHECKING:
    import duckdb

#: Requests that are under way at the same time.
_REQUESTS = 16
#: What is read with the size of a file: mostly all of a Parquet file's footer.
_TAIL_BYTES = 65_536
#: Where the machines of a cloud are asked for credentials, when none are given.
_METADATA = re.compile(r"169\.254\.169\.254|metadata\.google\.internal|application_default_credentials")
#: The kinds of secrets of DuckDB's extensions that read the same URLs.
_SECRETS = "('s3', 'aws', 'r2', 'gcs', 'azure')"
#: Options of the connection, where others are of the store.
_CONNECTION = {"allow_http", "allow_invalid_certificates", "connect_timeout", "default_headers", "http1_only"}
_CONNECTION |= {"proxy_url", "proxy_ca_certificate", "proxy_excludes", "root_certificate", "timeout", "user_agent"}

_options: dict[str, dict[str, Any]] = {}
_lock = threading.Lock()


def remember(root: str, options: Mapping[str, Any]) -> None:
    """Use options for all that is below a URL, in this process, and in the bucket where there are no other ones.

    Raises
    ------
    ValueError
        There is no such option.
    """
    url = urlsplit(root)
    _client(f"{url.scheme}://{url.netloc}", tuple(sorted(options.items())))
    _options.pop(root, None)
    _options[root] = dict(options)


class ObjectStore(Storage):
    """A folder of an object store, by its URL."""

    def map(self, function: Callable[[Given], Found], given: Iterable[Given]) -> list[Found]:
        """Side by side, since stores take their time to answer."""
        with ThreadPoolExecutor(_REQUESTS) as pool:
            return list(pool.map(function, given))

    def is_file(self) -> bool:
        """Whether the root is an object."""
        return urlsplit(self.root).path != "" and self.exist([self.root])[0]

    def is_free(self) -> bool:
        """Whether there is no object in the folder."""
        return not self.has_folder()

    def has_folder(self, path: str = "") -> bool:
        """Whether there is an object in such a folder."""
        return next(self._pages(path), None) is not None

    def has_files(self, path: str) -> bool:
        """Whether there is an object in such a folder."""
        return self.has_folder(path)

    def folders(self, path: str = "") -> list[str]:
        """The names of the folders in a folder."""
        return sorted(prefix.rsplit("/", 1)[-1] for prefix in self._level(path)["common_prefixes"])

    def entries(self, path: str = "") -> list[Entry]:
        """The objects in a folder."""
        return [self._entry(found) for found in self._level(path)["objects"]]

    def files(self) -> Iterator[Entry]:
        """All objects below the root."""
        for page in self._pages(""):
            yield from map(self._entry, page)

    def read(self, location: str) -> bytes:
        """The content of an object."""
        client, key = _reach(location)
        with _telling(location):
            return bytes(obstore.get(client, key).bytes())

    def open(self, location: str) -> IO[bytes]:
        """An object to read parts of."""
        return cast("IO[bytes]", _Reader(location))

    @contextmanager
    def nearby(self) -> Iterator[Callable[[list[str]], list[str]]]:
        """Fetch objects side by side into a temporary folder."""
        with tempfile.TemporaryDirectory() as folder:

            def fetch(location: str) -> str:
                target = Path(folder, location.rsplit("/", 1)[-1])
                target.write_bytes(self.read(location))
                return str(target)

            yield lambda locations: self.map(fetch, locations)

    def exist(self, locations: list[str]) -> list[bool]:
        """Which of some objects there are."""

        def is_there(location: str) -> bool:
            client, key = _reach(location)
            try:
                with _telling(location):
                    obstore.head(client, key)
            except FileNotFoundError:
                return False
            return True

        return self.map(is_there, locations)

    def create(self, path: str, content: bytes) -> bool:
        """Put an object, unless there is one."""
        location = self.locate(path)
        client, key = _reach(location)
        try:
            with _telling(location):
                obstore.put(client, key, content, mode="create", use_multipart=False)
        except FileExistsError:
            # Also if it was put, the answer was lost, and the client asked again: commits are never equal.
            return self.read(location) == content
        return True

    def replace(self, path: str, content: bytes) -> None:
        """Put an object in the place of one that there may be."""
        self.copy(path, io.BytesIO(content))

    def copy(self, path: str, source: IO[bytes]) -> None:
        """Put an object from an open file."""
        location = self.locate(path)
        client, key = _reach(location)
        with _telling(location):
            obstore.put(client, key, source)

    def prepare(self, path: str) -> None:
        """Folders need not be made."""

    def remove(self, paths: Iterable[str]) -> None:
        """Remove objects, those that there are."""
        client, key = _reach(self.root)
        keys = [f"{key}/{path}".lstrip("/") for path in paths]
        with _telling(self.root):
            for start in range(0, len(keys), 1000):
                obstore.delete(client, keys[start : start + 1000])

    def tidy(self) -> None:
        """Folders are there as long as there are objects in them."""

    def reach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a database open objects, unless it has secrets of its own for that."""
        with _lock:
            if not connection.filesystem_is_registered(_Files.name):
                count = f"SELECT count(*) FROM duckdb_secrets() WHERE type IN {_SECRETS}"
                if connection.cursor().execute(count).fetchall() == [(0,)]:
                    connection.register_filesystem(_Files(skip_instance_cache=True))

    def _pages(self, path: str) -> Iterator[Any]:
        client, key = _reach(self.locate(path).rstrip("/"))
        with _telling(self.root):
            yield from obstore.list(client, key)

    def _level(self, path: str) -> Any:
        client, key = _reach(self.locate(path).rstrip("/"))
        with _telling(self.root):
            return obstore.list_with_delimiter(client, key)

    def _entry(self, found: Any) -> Entry:
        path = found["path"][len(_reach(self.root)[1]) :].lstrip("/")
        return Entry(path, found["size"], found["last_modified"], found["e_tag"])


def _reach(location: str) -> tuple[Any, str]:
    """The client of a URL's bucket, with the options that are remembered for the URL, and the key in the bucket."""
    url = urlsplit(location, allow_fragments=False)
    bucket = f"{url.scheme}://{url.netloc}"
    around = [root for root in _options if location == root or location.startswith(f"{root}/")]
    beside = [root for root in _options if root == bucket or root.startswith(f"{bucket}/")]
    root = max(around, key=len, default=beside[-1] if beside else None)
    options = {} if root is None else _options[root]
    return _client(bucket, tuple(sorted(options.items()))), location[len(bucket) + 1 :]


@functools.lru_cache(maxsize=256)
def _client(bucket: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """The client of a bucket."""
    store: Any = {}
    connection: Any = {}
    for name, value in options:
        plain = re.sub("^(aws|google|azure)_", "", name.lower())
        if plain in _CONNECTION:
            connection[plain] = value if value not in ("true", "false") else value == "true"
        else:
            store[name] = value
    if any(str(value).startswith("http://") for name, value in options if "endpoint" in name.lower()):
        connection.setdefault("allow_http", True)
    try:
        with _telling(bucket):
            return obstore.store.from_url(bucket, config=store, client_options=connection)
    except OSError as error:
        if isinstance(error.__cause__, UnknownConfigurationKeyError):
            key = str(error.__cause__).split("'")[1]
            raise ValueError(f"there is no storage option {key!r} for {bucket!r}") from None
        raise


@contextmanager
def _telling(location: str) -> Iterator[None]:
    """Let errors of the store be one sentence that names the URL."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{location!r} does not exist") from None
    except AlreadyExistsError:
        raise FileExistsError(f"{location!r} exists") from None
    except BaseError as error:
        text = str(error).split("\n\nDebug source")[0]
        if _METADATA.search(text):
            raise PermissionError(
                f"{location!r} cannot be reached: there are no credentials; give them as storage_options of "
                "ironlake.open, or in variables of the environment such as AWS_ACCESS_KEY_ID"
            ) from error
        found = re.search("<Message>(.*?)</Message>", text)
        reason = found[1] if found else text.splitlines()[0]
        raise OSError(f"{location!r} cannot be reached: {reason}") from error


class _Reader(io.RawIOBase):
    """An object that is read in ranges; its end comes with its size."""

    def __init__(self, location: str) -> None:
        self.location = location
        self._place = 0

    @functools.cached_property
    def _end(self) -> tuple[bytes, Any]:
        """The last bytes, and what the store tells of the object."""
        client, key = _reach(self.location)
        with _telling(self.location):
            try:
                found = obstore.get(client, key, options={"range": {"suffix": _TAIL_BYTES}})
            except NotSupportedError:  # Azure
                told = obstore.head(client, key)
                found = obstore.get(client, key, options={"range": {"offset": max(0, told["size"] - _TAIL_BYTES)}})
            return bytes(found.bytes()), found.meta

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return int(self._end[1]["size"])

    @property
    def modified(self) -> Any:
        """When it was written."""
        return self._end[1]["last_modified"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        start, stop = self._place, self.size if size is None or size < 0 else min(self._place + size, self.size)
        self._place = max(start, stop)
        if start >= stop:
            return b""
        tail = self.size - len(self._end[0])
        if start >= tail:
            return self._end[0][start - tail : stop - tail]
        client, key = _reach(self.location)
        with _telling(self.location):
            return bytes(obstore.get_range(client, key, start=start, end=stop))


class _Files(AbstractFileSystem):  # type: ignore[misc]
    """Object stores as DuckDB's Python client opens them: for the lists of files and the folders of our own queries."""

    protocol = SCHEMES
    name = SCHEMES[0]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._readers: weakref.WeakValueDictionary[str, _Reader] = weakref.WeakValueDictionary()

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "r" not in mode:
            return obstore.open_writer(*_reach(path))
        reader = self._readers[path] = _Reader(path)
        try:
            reader.size  # noqa: B018 - a file that is missing is told here
        except FileNotFoundError:
            raise FileNotFoundError(f"the file {path!r} is gone; was the table vacuumed?") from None
        return reader

    def size(self, path: str) -> int:
        return self._reader(path).size

    def modified(self, path: str) -> Any:
        return self._reader(path).modified

    def _reader(self, path: str) -> _Reader:
        return self._readers.get(path) or _Reader(path)

    def isfile(self, path: str) -> bool:
        return False

    def isdir(self, path: str) -> bool:
        return False

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        pass

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> list[str]:
        return [path]
