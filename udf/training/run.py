"""A training run: what its epochs came to, to look at, to plot, and to log in a lake."""

from __future__ import annotations

import datetime
import math
import uuid
from typing import TYPE_CHECKING, Any

from ironlake.sql import trace_schema

from ..tasks.model import LinearModel
from .trainer import Epoch, Trainer

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes
    from rich.table import Table

    from ironlake.lakehouse import Lake

#: Names of the log and of its columns that an epoch fills.
LOG = "training_runs"
_COLUMNS = ("epoch", "step", "loss", "val_loss", "step_size", "gradient_norm", "rows", "seconds")


class TrainingRun:
    """What `ironlake.train` returns.

    Attributes
    ----------
    run_id : of the rows of this run in the log.
    model : the trained model, as training aggregates return it; `predict` takes it.
    stop_reason : ``tolerance``, ``target_loss``, ``gradient_norm``, ``patience`` or ``epochs``.
    history : what each epoch came to.
    """

    def __init__(self, trainer: Trainer, data_table: str | None = None, data_version: int | None = None) -> None:
        self.run_id = uuid.uuid4().hex
        self.history: list[Epoch] = []
        self._times: list[datetime.datetime] = []
        self.trainer, self._data_table, self._data_version = trainer, data_table, data_version
        self._model_table: str | None = None
        self._model_version: int | None = None

    @property
    def model(self) -> LinearModel:
        """The model after the last epoch."""
        return self.history[-1].model

    @property
    def stop_reason(self) -> str:
        """Why training ended."""
        return self.history[-1].stop_reason

    def add(self, epoch: Epoch) -> None:
        """Note an epoch that is done."""
        self.history.append(epoch)
        self._times.append(datetime.datetime.now(datetime.UTC))

    def epochs(self) -> pa.Table:
        """The rows of this run in the log `training_runs`."""
        import pyarrow as pa

        trainer, rows = self.trainer, []
        for time, epoch in zip(self._times, self.history, strict=True):
            values = {name: known(getattr(epoch, name)) for name in _COLUMNS}
            last = epoch is self.history[-1]
            rows.append(
                {
                    **values, "run_id": self.run_id, "time": time, "order": trainer.settings.order,
                    "parallel": trainer.parallel, "threads": trainer.threads, "task": trainer.task.name,
                    "stop_reason": epoch.stop_reason or None, "model_table": self._model_table if last else None,
                    "model_version": self._model_version if last else None,
                    "data_table": self._data_table, "data_version": self._data_version,
                }
            )  # fmt: skip
        return pa.Table.from_pylist(rows, trace_schema(LOG))

    def log(self, lake: Lake, save_as: str | None = None) -> None:
        """Append the run to the table ``training_runs`` of a lake, and its model to a table of models.

        Parameters
        ----------
        lake : an open lake.
        save_as : table that gets a row with ``run_id``, ``task`` and ``model``.
        """
        import pyarrow as pa

        if save_as is not None:
            row = {"run_id": [self.run_id], "task": [self.model.task], "model": [self.model._asdict()]}
            schema = pa.schema({"run_id": pa.string(), "task": pa.string(), "model": model_type()})
            self._model_version = lake.write(save_as, pa.table(row, schema), mode="append")
            self._model_table = save_as
        lake.write(LOG, self.epochs(), mode="append")

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the learning curve: the loss after each epoch, in training and of the rows held out.

        Parameters
        ----------
        axes : matplotlib.axes.Axes, optional
            Where to draw; by default a new figure.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        try:
            from matplotlib import pyplot
            from matplotlib.ticker import MaxNLocator
        except ModuleNotFoundError:
            raise ModuleNotFoundError("TrainingRun.plot needs matplotlib: pip install 'ironlake[plot]'") from None
        if axes is None:
            axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")[1]
        numbers = [epoch.epoch for epoch in self.history]
        axes.plot(
            numbers, [epoch.loss for epoch in self.history], marker="o", label="rows trained on, during the epoch"
        )
        if not math.isnan(self.history[-1].val_loss):
            axes.plot(numbers, [epoch.val_loss for epoch in self.history], marker="s", label="rows held out, after it")
            axes.legend(frameon=False)
        axes.set(xlabel="epoch", ylabel="mean loss per row", title=f"{self.model.task}, stopped by {self.stop_reason}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows, for people to read."""
        headings = ["epoch", "loss", "step size", "rows/s"]
        held_out = not math.isnan(self.history[-1].val_loss)
        rows = []
        for epoch in self.history:
            speed = f"{epoch.rows / max(epoch.seconds, 1e-9):,.0f}"
            cells = [str(epoch.epoch), f"{epoch.loss:.6g}", f"{epoch.step_size:.3g}", speed]
            rows.append([*cells[:2], f"{epoch.val_loss:.6g}", *cells[2:]] if held_out else cells)
        return ([*headings[:2], "loss held out", *headings[2:]] if held_out else headings), rows

    def __repr__(self) -> str:
        return (
            f"TrainingRun({self.model.task!r}, epochs={len(self.history)}, loss={self.history[-1].loss:.6g}, "
            f"stop_reason={self.stop_reason!r})"
        )

    def __rich__(self) -> Table:
        from rich.table import Table

        headings, rows = self._cells()
        table = Table(title=repr(self), title_justify="left")
        for heading in headings:
            table.add_column(heading, justify="right")
        for row in rows:
            table.add_row(*row)
        return table

    def _repr_html_(self) -> str:
        from html import escape

        headings, rows = self._cells()
        head = "".join(f"<th>{heading}</th>" for heading in headings)
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        return f"<table><caption>{escape(repr(self))}</caption><tr>{head}</tr>{body}</table>"


def model_type() -> pa.DataType:
    """A linear model as an Arrow type."""
    from ironlake.udf.engine.sqltypes import single, to_arrow

    return to_arrow(single(LinearModel))


def known(value: Any) -> Any:
    """A number, or None for NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
