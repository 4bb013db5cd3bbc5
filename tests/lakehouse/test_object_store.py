"""Lakes in an object store: a server of S3's protocol in this process stands for it."""

import gzip
import logging
import re
import sys
from urllib.request import Request, urlopen

import duckdb
import pyarrow as pa
import pytest

import ironlake
from ironlake.lakehouse import ConflictError, object_store
from ironlake.lakehouse.snapshot import open_snapshot
from ironlake.lakehouse.storage import Storage
from ironlake.lakehouse.transaction import Transaction

TABLE = pa.table({"id": range(6), "part": ["a", "b/c %", None] * 2, "paid": [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]})


class Requests(logging.Handler):
    """The requests that the server answered."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r"(GET|HEAD|PUT|POST|DELETE) (\S+)", record.getMessage())
        self.lines += [found[0]] if found else []


@pytest.fixture(scope="module")
def requests():
    logger, handler = logging.getLogger("werkzeug"), Requests()
    before = logger.handlers, logger.propagate, logger.level
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    yield handler
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.fixture(scope="module")
def options(requests):
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    urlopen(Request(f"{endpoint}/bucket", method="PUT")).close()
    yield {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "some",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_REGION": "us-east-1",
    }
    server.stop()


@pytest.fixture
def lake(options, request):
    return ironlake.open(f"s3://bucket/{request.node.name}/lake", options)


def ids(relation) -> list[int]:
    return [row[0] for row in relation.order("id").project("id").fetchall()]


def test_everything_works_as_on_a_disk(lake, tmp_path):
    lake.write("t", TABLE, partition_by="part")
    assert lake.write("t", TABLE.slice(0, 1), mode="append") == 1
    table = lake["t"]
    assert table.delete("id = 1", deletion_vectors=True)["files_marked"] == 1
    assert table.update({"id": "10"}, "id = 2")["rows_updated"] == 1
    merge = table.merge(pa.table({"id": [3, 20], "part": ["a", None], "paid": [9.0, 9.0]}), on="id")
    assert merge.when_matched_update().when_not_matched_insert().execute()["rows_inserted"] == 1
    assert ids(lake.sql("FROM t")) == [0, 0, 3, 4, 5, 10, 20]
    assert lake.sql("SELECT id FROM t WHERE part = 'b/c %'").fetchall() == [(4,)]
    assert table.optimize(order_by="id")["version"] == 5
    assert table.restore(0)["version"] == table.checkpoint() == 6
    assert table.history()["operation"].to_pylist()[:2] == ["RESTORE", "OPTIMIZE"]
    assert table.vacuum(retain_hours=0, force=True, dry_run=False).num_rows == 10
    left = {table.storage.locate(entry.path) for entry in table.storage.files() if "_delta_log" not in entry.path}
    assert left == set(open_snapshot(table.storage, None, "").files)
    assert ids(ironlake_scan(table.path)) == ids(lake.connect().sql("FROM t")) == list(range(6))
    assert ids(lake.table("t", where="id < 2")) == [0, 1]
    copies = [table.clone(f"{lake.root}/shallow", shallow=True), table.clone(f"{lake.root}/more/deep")]
    assert copies[0].delete("id = 0")["rows_deleted"] == 1
    assert lake.tables() == ["more.deep", "shallow", "t"]
    assert ids(lake.sql("FROM shallow")) == list(range(1, 6))
    assert ids(lake.sql("FROM more.deep")) == list(range(6))
    assert ids(ironlake_scan(table.clone(tmp_path / "copy").path)) == list(range(6))
    with pytest.raises(ValueError, match="a shallow clone cannot be on a disk if the table is in an object store"):
        table.clone(tmp_path / "other", shallow=True)


def ironlake_scan(path) -> duckdb.DuckDBPyRelation:
    return duckdb.sql(f"FROM lake_scan('{path}')")


def test_views_and_other_databases(lake):
    lake.write("finance.t", TABLE)
    lake.create_view("paid", "SELECT sum(paid) AS total FROM finance.t")
    con = ironlake.connect()
    lake.attach(con)
    assert con.sql("SELECT total, count(*) FROM lake.paid, lake.finance.t GROUP BY ALL").fetchall() == [(10.5, 6)]
    lake.drop_view("paid")
    assert lake.views() == []


def test_planning_asks_for_no_file(lake, requests):
    for _ in range(3):
        lake.write("t", TABLE, mode="append")
    lake.sql("FROM t").fetchall()
    requests.lines.clear()
    lake.sql("FROM t")
    assert not [line for line in requests.lines if ".parquet" in line or ".json" in line]
    assert lake.sql("SELECT sum(paid) FROM t").fetchall() == [(31.5,)]
    assert not [line for line in requests.lines if line.startswith("HEAD")]
    assert len([line for line in requests.lines if ".parquet" in line]) <= 6


def test_large_files_are_written_in_parts(lake, requests):
    lake.write("t", duckdb.sql("SELECT range AS id, (hash(range) / 2)::BIGINT AS h FROM range(1_500_000)"))
    assert [line for line in requests.lines if "uploadId" in line]
    assert lake.sql("SELECT sum(id), count(DISTINCT h) FROM t").fetchall() == [(1_124_999_250_000, 1_500_000)]


def test_commits_are_put_once(lake):
    lake.write("t", TABLE)
    storage = lake["t"].storage
    assert storage.create("x", b"mine")
    assert storage.create("x", b"mine")  # the answer to the first request may have been lost
    assert not storage.create("x", b"other")
    assert storage.read(storage.locate("x")) == b"mine"
    before = open_snapshot(storage, None, "")
    lake.write("t", TABLE, mode="append")
    with Transaction(before, "TEST", None) as change:
        change.write(TABLE.to_reader())
        assert change.commit() == 2
    change = Transaction(before, "TEST", "true")
    change.remove(0)
    lake["t"].delete("id = 0")
    with pytest.raises(ConflictError, match="version 3"):
        change.commit()


def test_a_write_that_fails_leaves_nothing(lake):
    failing = "SELECT CASE WHEN range < 500_000 THEN range ELSE error('bad row') END AS x FROM range(1_000_000)"
    with pytest.raises(Exception, match="bad row"):
        lake.write("t", duckdb.sql(failing))
    assert list(lake.storage.files()) == []


def test_a_file_that_is_gone(lake):
    lake.write("t", TABLE)
    storage = lake["t"].storage
    (path,) = [entry.path for entry in storage.entries() if entry.name.endswith(".parquet")]
    storage.remove([path, "nothing"])
    with pytest.raises(duckdb.Error, match=rf"the file '{storage.root}/{path}' is gone; was the table vacuumed\?"):
        lake.sql("FROM t").fetchall()
    with pytest.raises(ValueError, match=rf"the file '{storage.root}/{path}' is gone; was the table vacuumed\?"):
        lake["t"].delete("id = 1")


def test_logs_are_loaded_from_there(lake):
    for worker in range(2):
        told = f'{{"step": 1, "worker": {worker}, "compute_seconds": 0.5}}\n'
        lake.storage.replace(f"logs/rank{worker}.jsonl.gz", gzip.compress(told.encode()))
    lake.storage.replace("logs/all.csv", b"step,worker,compute_seconds\n2,0,0.25\n")
    assert lake.load_trace("worker_steps", f"{lake.root}/logs/*.jsonl.gz", "json") == (0, 2, 0)
    assert lake.load_trace("worker_steps", f"{lake.root}/logs/all.csv") == (1, 1, 0)
    assert lake.sql("SELECT sum(compute_seconds), count(DISTINCT worker) FROM worker_steps").fetchall() == [(1.25, 2)]
    log = lake.sql(
        f"SELECT version, count(*) FILTER (action = 'add') FROM lake_log('{lake.root}/worker_steps') GROUP BY 1"
    )
    assert sorted(log.fetchall()) == [(0, 1), (1, 1)]
    with pytest.raises(FileNotFoundError, match="there is no file 's3://bucket/.*/nothing'"):
        lake.load_trace("worker_steps", f"{lake.root}/nothing", "json")


def test_what_cannot_be_opened(lake, options, tmp_path, monkeypatch):
    with pytest.raises(OSError, match=r"^ironlake\.open: 's3://none/x' cannot be reached: .*bucket does not exist"):
        ironlake.open("s3://none/x", options)
    with pytest.raises(ValueError, match="there is no storage option 'aws_regon'"):
        ironlake.open("s3://bucket/x", {**options, "AWS_REGON": "here"})
    with pytest.raises(ValueError, match="'http://host/x' is not a URL of tables; expected a path, or a URL such as"):
        ironlake.open("http://host/x")
    with pytest.raises(ValueError, match="storage_options are given, but .* is on a local disk"):
        ironlake.open(tmp_path, options)
    lake.write("t", TABLE)
    with pytest.raises(ValueError, match=rf"is a Delta table; open the directory that holds it, '{lake.root}'"):
        ironlake.open(f"{lake.root}/t", options)
    with pytest.raises(FileNotFoundError, match=rf"'{lake.root}/t/x' does not exist; the table that encloses it is"):
        ironlake.lakehouse.Table(f"{lake.root}/t/x")
    with pytest.raises(FileNotFoundError, match="is not a Delta table: it has no '_delta_log' directory; it holds the"):
        ironlake.lakehouse.Table(lake.root)
    monkeypatch.delitem(sys.modules, "ironlake.lakehouse.object_store")
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ImportError, match=r"need the package 'obstore'; install it with: pip install 'ironlake\[objec"):
        ironlake.open("s3://bucket/x")


def test_no_credentials():
    address = "Error performing PUT http://169.254.169.254/latest/api/token: it does not answer"
    with pytest.raises(PermissionError, match="there are no credentials; give them"), object_store._telling("s3://b"):
        raise object_store.BaseError(address)


def test_urls(tmp_path):
    assert Storage.of(tmp_path.as_uri()).path == tmp_path
    store = Storage.of("gs://bucket/lake/")
    assert store.at("t").locate("x") == "gs://bucket/lake/t/x"
    assert [each.root for each in store.at("a/b").parents] == ["gs://bucket/lake/a", "gs://bucket/lake", "gs://bucket"]
    assert Storage.of("abfss://box@account.dfs.core.windows.net/lake").root.endswith("windows.net/lake")
