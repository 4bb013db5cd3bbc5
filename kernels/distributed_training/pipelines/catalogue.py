"""The schedules by name, and what their papers say of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .chimera import backward_halving, chimera, forward_doubling
from .costs import Costs
from .dual_pipe import dual_pipe, dual_pipe_v
from .hanayo import hanayo
from .one_f_one_b import gems, gpipe, interleaved, looped_bfs, one_f_one_b
from .schedule import Schedule
from .zero_bubble import v_half, v_min, zb_h1, zb_h2, zb_v

#: Operations of a schedule.
_MOST = 1 << 31


@dataclass(frozen=True)
class Request:
    """A schedule that is asked for.

    Attributes
    ----------
    stages : int
        Workers of a pipeline.
    micro_batches : int
        Of a step.
    chunks : int
        Stages of the model on each worker, where a schedule leaves that open.
    pipelines : int
        Replicas of the model, where a schedule leaves that open.
    max_activations : float or None
        The most micro-batches whose activations a worker holds, where a schedule leaves that open.
    """

    stages: int
    micro_batches: int
    chunks: int = 1
    pipelines: int = 2
    max_activations: float | None = None


@dataclass(frozen=True)
class Entry:
    """A schedule that is known.

    Attributes
    ----------
    build : callable
        Makes it.
    bubble : callable or None
        Its bubble ratio by its paper's formula, from F, B and W times that are the same on all stages.
    chunks : int or None
        Chunks of each worker; None if the request says.
    weight_copies : callable
        The most copies of a stage's weights that a worker holds.
    """

    build: Callable[[Request, Costs], Schedule]
    bubble: Callable[[Request, float, float, float], float] | None
    chunks: int | None = 1
    weight_copies: Callable[[Request], int] = lambda _: 1

    def chunks_of(self, request: Request) -> int:
        """Stages of a pipeline on each worker."""
        return request.chunks if self.chunks is None else self.chunks


def _flush(request: Request, forward: float, backward: float, weight: float) -> float:
    return (request.stages - 1) / (request.micro_batches + request.stages - 1)


def _interleaved(request: Request, forward: float, backward: float, weight: float) -> float:
    fill = (request.stages - 1) / request.chunks
    return fill / (request.micro_batches + fill)


def _chimera(request: Request, forward: float, backward: float, weight: float) -> float:
    depth, pipes, count = request.stages, request.pipelines, request.micro_batches
    return (depth - pipes) / (pipes * count + depth - pipes)


def _idle(idle: Callable[[int, float, float, float], float]) -> Callable[[Request, float, float, float], float]:
    """The ratio of an idle time, from the stages and the times of F, I and W, to that and the work."""

    def bubble(request: Request, forward: float, backward: float, weight: float) -> float:
        time = max(idle(request.stages, forward, backward - weight, weight), 0.0)
        return time / (time + request.micro_batches * (forward + backward))

    return bubble


def _none(request: Request, forward: float, backward: float, weight: float) -> float:
    return 0.0


SCHEDULES: dict[str, Entry] = {
    "gpipe": Entry(lambda r, _: gpipe(r.stages, r.micro_batches), _flush),
    "1f1b": Entry(lambda r, _: one_f_one_b(r.stages, r.micro_batches), _flush),
    "interleaved_1f1b": Entry(lambda r, _: interleaved(r.stages, r.micro_batches, r.chunks), _interleaved, None),
    "looped_bfs": Entry(lambda r, _: looped_bfs(r.stages, r.micro_batches, r.chunks), _interleaved, None),
    "chimera": Entry(
        lambda r, _: chimera(r.stages, r.micro_batches, r.pipelines), _chimera, weight_copies=lambda r: r.pipelines
    ),
    "chimera_forward_doubling": Entry(
        lambda r, costs: forward_doubling(r.stages, r.micro_batches, r.pipelines, costs),
        None,
        weight_copies=lambda r: r.pipelines,
    ),
    "chimera_backward_halving": Entry(
        lambda r, costs: backward_halving(r.stages, r.micro_batches, r.pipelines, costs),
        None,
        weight_copies=lambda r: r.pipelines,
    ),
    "gems": Entry(
        lambda r, _: gems(r.stages, r.micro_batches),
        lambda r, forward, backward, weight: (r.stages - 1) / (r.stages + 0.5),
        weight_copies=lambda _: 2,
    ),
    "pipedream": Entry(
        lambda r, _: one_f_one_b(r.stages, r.micro_batches, "pipedream", is_synchronous=False),
        _none,
        weight_copies=lambda r: r.stages,
    ),
    "pipedream_2bw": Entry(
        lambda r, _: one_f_one_b(r.stages, r.micro_batches, "pipedream_2bw", is_synchronous=False),
        _none,
        weight_copies=lambda _: 2,
    ),
    "zb_h1": Entry(
        lambda r, costs: zb_h1(r.stages, r.micro_batches, costs, r.max_activations),
        _idle(lambda p, f, i, w: (p - 1) * (f + i - w)),
    ),
    "zb_h2": Entry(
        lambda r, costs: zb_h2(r.stages, r.micro_batches, costs, r.max_activations),
        _idle(lambda p, f, i, w: (p - 1) * (f + i - 2 * w)),
    ),
    "zb_v": Entry(lambda r, costs: zb_v(r.stages, r.micro_batches, costs, r.max_activations), _none, 2),
    "v_half": Entry(lambda r, costs: v_half(r.stages, r.micro_batches, costs, r.max_activations), None, 2),
    "v_min": Entry(lambda r, costs: v_min(r.stages, r.micro_batches, costs, r.max_activations), None, 2),
    "dualpipe": Entry(
        lambda r, _: dual_pipe(r.stages, r.micro_batches),
        _idle(lambda p, f, i, w: (p / 2 - 1) * (2 * f + 2 * (i + w) - 3 * w - f)),
        weight_copies=lambda _: 2,
    ),
    "dualpipe_v": Entry(lambda r, _: dual_pipe_v(r.stages, r.micro_batches), None, 2),
    "hanayo": Entry(lambda r, costs: hanayo(r.stages, r.micro_batches, r.chunks, costs, r.max_activations), None, None),
}


def build(name: str, request: Request, costs: Costs) -> Schedule:
    """The schedule of a name.

    Raises
    ------
    ValueError
        There is none of this name, or not for such stages, micro-batches, chunks or pipelines.
    """
    entry = SCHEDULES[name]
    counts = {"stages": request.stages, "micro_batches": request.micro_batches, "chunks": request.chunks}
    for argument, value in counts.items():
        if value < 1:
            raise ValueError(f"argument {argument} must be at least 1, got {value}")
    if request.stages * entry.chunks_of(request) * request.micro_batches * 3 > _MOST:
        raise ValueError(
            f"arguments stages {request.stages} and micro_batches {request.micro_batches} make more than {_MOST} "
            "operations"
        )
    if request.max_activations is not None and not request.max_activations > 0:
        raise ValueError(f"argument max_activations must be greater than 0, got {request.max_activations}")
    return entry.build(request, costs)
