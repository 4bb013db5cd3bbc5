"""A web page, for this machine only, of what a context does: its jobs, stages and kept partitions."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import SparkContext

_STYLE = (
    "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse;margin-bottom:2em}"
    "caption{text-align:left;font-weight:bold}td,th{border-bottom:1px solid #ccc;padding:.2em 1em;text-align:left}"
)
#: Seconds after which a browser asks again.
_REFRESH = 2


class StatusPage:
    """Serves the page until it is closed.

    Parameters
    ----------
    context : SparkContext
        The context.

    Attributes
    ----------
    url : str
        The address of the page.
    """

    def __init__(self, context: SparkContext) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = html(context).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base calls it so
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True, name="rdd status page").start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Serve no longer."""
        self._server.shutdown()
        self._server.server_close()


def html(context: SparkContext) -> str:
    """The page."""
    tracker, scheduler = context.statusTracker(), context._scheduler
    jobs = [
        (job.id, job.group or "", job.properties.get("spark.job.description", ""), job.status, job.stages)
        for job in reversed(list(scheduler.jobs.values()))
    ]
    infos = filter(None, map(tracker.getStageInfo, reversed(list(scheduler.stages))))
    stages = [
        (info.stageId, info.name, info.numTasks, info.numActiveTasks, info.numCompletedTasks, info.numFailedTasks)
        for info in infos
    ]
    kept = [(rdd, *sizes) for rdd, sizes in sorted(context._blocks.sizes().items())]
    return (
        f"<!doctype html><html><head><meta charset='utf-8'><meta http-equiv='refresh' content='{_REFRESH}'>"
        f"<title>{escape(str(context.appName))}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(str(context.appName))}</h1><p>{escape(str(context.master))}, {context.applicationId}</p>"
        + _table("Jobs", ("job", "group", "description", "status", "stages"), jobs)
        + _table("Stages", ("stage", "name", "tasks", "active", "completed", "failed"), stages)
        + _table("Kept partitions", ("RDD", "partitions", "bytes in memory", "bytes on disk"), kept)
        + "</body></html>"
    )


def _table(title: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(title)}</caption><tr>{head}</tr>{body}</table>"
