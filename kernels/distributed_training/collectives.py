"""What a collective operation between devices costs: the alpha-beta model.

A message of x bytes takes ``latency + x / bandwidth`` seconds (alpha and 1 / beta). An algorithm sends so many
messages one after another (its steps), and so many of the bytes cross a device's link. The formulas hold for numbers
and, element by element, for NumPy arrays; other compiled code can call them, as they are jitable.

``size`` is the bytes of the whole buffer on a device: what an all-reduce sums, what an all-gather ends with, what a
reduce-scatter and an all-to-all begin with, what a broadcast or a message carries. ``bandwidth`` is [bytes/s] of a
device in one direction, ``latency`` [s] of a message, ``devices`` how many take part; one device alone costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from ironlake.udf.engine import scalar

from .checks import above_zero, at_least

# --- on a ring: each device sends to its neighbour, a share of the buffer at a time ---


@register_jitable
def ring_all_gather(size: Any, devices: Any, bandwidth: Any, latency: Any) -> Any:
    """[s] in which each device receives the shares of all others; as long as a reduce-scatter, its mirror image."""
    return (devices - 1) * (size / devices / bandwidth + latency)


@register_jitable
def ring_all_reduce(size: Any, devices: Any, bandwidth: Any, latency: Any) -> Any:
    """[s] of a reduce-scatter and an all-gather."""
    return 2 * ring_all_gather(size, devices, bandwidth, latency)


@register_jitable
def ring_all_to_all(size: Any, devices: Any, bandwidth: Any, latency: Any) -> Any:
    """[s] on a ring whose links carry both directions: shares go the shorter way round, a quarter of it on average.

    All distances from a device add up to ``devices^2 // 4``; with a share of ``size / devices`` for each, every link
    carries ``size * devices / 8`` in each direction.
    """
    hops = np.floor(devices * devices / 4)
    return size * hops / (2 * devices) / bandwidth + np.floor(devices / 2) * latency


@register_jitable
def ring_broadcast(size: Any, devices: Any, bandwidth: Any, latency: Any) -> Any:
    """[s] of a buffer that is passed on in small pieces."""
    return _several(devices) * size / bandwidth + (devices - 1) * latency


# --- along a tree: in step i devices that are 2^i apart exchange ---


@register_jitable
def tree_all_gather(size: Any, devices: Any, bandwidth: Any, latency: Any) -> Any:
    """[s] by recursive doubling; as long as a reduce-scatter by recursive halving."""
    return (devices - 1) * size / devices / bandwidth + np.ceil(np.log2(devices)) * latency


@register_jitable
def tree_all_reduce(size: Any, devices: Any, bandwidth: Any, latency: Any) -> Any:
    """[s] of recursive halving and doubling: ``2 log2(r) alpha + 2 (r - 1) / r beta L`` of the Chimera paper."""
    return 2 * tree_all_gather(size, devices, bandwidth, latency)


@register_jitable
def tree_all_to_all(size: Any, devices: Any, bandwidth: Any, latency: Any) -> Any:
    """[s] of Bruck's algorithm: half of the buffer is sent in each step."""
    return np.ceil(np.log2(devices)) * (size / 2 / bandwidth + latency)


@register_jitable
def tree_broadcast(size: Any, devices: Any, bandwidth: Any, latency: Any) -> Any:
    """[s] along a binomial tree."""
    return np.ceil(np.log2(devices)) * (size / bandwidth + latency)


# --- directly: all devices are connected, as by a switch; bandwidth is that of all links of a device together ---


@register_jitable
def direct_all_gather(size: Any, devices: Any, bandwidth: Any, latency: Any) -> Any:
    """[s] in which all shares are sent at the same time; as long as a reduce-scatter or an all-to-all."""
    return (devices - 1) * size / devices / bandwidth + _several(devices) * latency


@register_jitable
def direct_all_reduce(size: Any, devices: Any, bandwidth: Any, latency: Any) -> Any:
    """[s] of two steps: a reduce-scatter and an all-gather; as long as a broadcast of shares that are then gathered."""
    return 2 * direct_all_gather(size, devices, bandwidth, latency)


# --- in a hierarchy: devices are fast inside a node, and each has a slower way to those of its rank in other nodes ---


@register_jitable
def hierarchical_all_gather(
    size: Any, devices: Any, bandwidth: Any, latency: Any, devices_per_node: Any, inter_bandwidth: Any
) -> Any:
    """[s] of a ring between the nodes for each rank, then a ring inside each; as long as a reduce-scatter."""
    local = np.minimum(devices, devices_per_node)
    nodes = devices / local
    between = ring_all_gather(size / local, nodes, inter_bandwidth, latency)
    return between + ring_all_gather(size, local, bandwidth, latency)


@register_jitable
def hierarchical_all_reduce(
    size: Any, devices: Any, bandwidth: Any, latency: Any, devices_per_node: Any, inter_bandwidth: Any
) -> Any:
    """[s]: reduce-scatter inside the nodes, all-reduce of the shares between them, all-gather inside."""
    return 2 * hierarchical_all_gather(size, devices, bandwidth, latency, devices_per_node, inter_bandwidth)


@register_jitable
def hierarchical_all_to_all(
    size: Any, devices: Any, bandwidth: Any, latency: Any, devices_per_node: Any, inter_bandwidth: Any
) -> Any:
    """[s]: inside a node what is for a rank elsewhere goes to that rank, which sends it to the other nodes at once."""
    local = np.minimum(devices, devices_per_node)
    inside = direct_all_gather(size, local, bandwidth, latency)
    return inside + direct_all_gather(size, devices / local, inter_bandwidth, latency)


@register_jitable
def hierarchical_broadcast(
    size: Any, devices: Any, bandwidth: Any, latency: Any, devices_per_node: Any, inter_bandwidth: Any
) -> Any:
    """[s] of a ring of nodes, then a ring inside each."""
    local = np.minimum(devices, devices_per_node)
    between = ring_broadcast(size, devices / local, inter_bandwidth, latency)
    return between + ring_broadcast(size, local, bandwidth, latency)


@register_jitable
def hierarchical_message(
    size: Any, devices: Any, bandwidth: Any, latency: Any, devices_per_node: Any, inter_bandwidth: Any
) -> Any:
    """[s] of a message between the first and the last device."""
    elsewhere = np.minimum(np.maximum(devices - devices_per_node, 0), 1)
    return elsewhere * message(size, 2, inter_bandwidth, latency) + (1 - elsewhere) * message(
        size, devices, bandwidth, latency
    )


@register_jitable
def message(size: Any, devices: Any, bandwidth: Any, latency: Any) -> Any:
    """[s] of a message between two devices."""
    return _several(devices) * (size / bandwidth + latency)


@register_jitable
def _several(devices: Any) -> Any:
    """1 if a device has others to talk to, 0 if it is alone."""
    return np.minimum(devices - 1, 1)


_OPS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "p2p", "broadcast")
_FLAT: dict[str, dict[str, Callable[..., Any]]] = {
    algorithm: dict(zip(_OPS, formulas, strict=True))
    for algorithm, formulas in {
        "ring": (ring_all_reduce, ring_all_gather, ring_all_gather, ring_all_to_all, message, ring_broadcast),
        "tree": (tree_all_reduce, tree_all_gather, tree_all_gather, tree_all_to_all, message, tree_broadcast),
        "direct": (
            direct_all_reduce, direct_all_gather, direct_all_gather, direct_all_gather, message, direct_all_reduce,
        ),
    }.items()
}  # fmt: skip
_HIERARCHICAL: dict[str, Callable[..., Any]] = dict(
    zip(
        _OPS,
        (
            hierarchical_all_reduce, hierarchical_all_gather, hierarchical_all_gather, hierarchical_all_to_all,
            hierarchical_message, hierarchical_broadcast,
        ),
        strict=True,
    )
)  # fmt: skip
_ALGORITHMS = (*_FLAT, "hierarchical")


@scalar(form="numpy")
def collective_time(
    op: str,
    bytes: float,  # noqa: A002 - the word of the field
    devices: int,
    bandwidth: float,
    latency: float = 5e-6,
    algorithm: str = "ring",
    devices_per_node: int = 8,
    inter_bandwidth: float | None = None,
) -> float:
    """How long a collective operation between devices takes, by the alpha-beta model.

    Parameters
    ----------
    op : ``all_reduce``, ``all_gather``, ``reduce_scatter``, ``all_to_all``, ``broadcast`` or ``p2p`` (a message).
    bytes : of the whole buffer on a device: what is reduced, scattered, exchanged or sent, or what a gather ends with.
    devices : how many take part; one alone takes 0 s.
    bandwidth : [bytes/s] of a device in one direction; of all its links together for ``direct``.
    latency : [s] of a message.
    algorithm : ``ring`` (neighbours only, with links of two directions), ``tree`` (halving and doubling), ``direct``
        (all are connected, as by a switch), or ``hierarchical`` (rings inside nodes and between them; an all-to-all is
        direct in both).
    devices_per_node, inter_bandwidth : for ``hierarchical``: the devices of a node, and [bytes/s] of a device to those
        of other nodes.

    Returns
    -------
    DOUBLE
        Seconds; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If an operation or algorithm is unknown, a size or latency negative, a bandwidth not above 0, devices below 1,
        or not full nodes.

    References
    ----------
    Thakur, Rabenseifner, Gropp: Optimization of Collective Communication Operations in MPICH (2005); Li, Hoefler:
    Chimera, SC (2021), equation 1; Naumov and others: Deep Learning Training in Facebook Data Centers,
    arXiv 2003.09518 (2020), whose argument is that a ring suits an all-reduce and not an all-to-all.

    Examples
    --------
    SELECT collective_time('all_reduce', 350e9, 64, 25e9) AS seconds;
    SELECT algorithm, collective_time('all_to_all', 1e9, 8, 100e9, 5e-6, algorithm) AS seconds
    FROM (VALUES ('ring'), ('direct')) t(algorithm);
    SELECT collective_time('all_reduce', 1e9, 64, 300e9, 5e-6, 'hierarchical', 8, 25e9) AS seconds;
    """
    rows = len(devices)  # type: ignore[arg-type]
    names = {"op": _column(op, rows), "algorithm": _column(algorithm, rows)}
    for name, known in (("op", _OPS), ("algorithm", _ALGORITHMS)):
        for value in set(names[name]) - set(known):
            raise ValueError(f"argument {name} is {value!r}; expected one of {', '.join(known)}")
    at_least(0, bytes=bytes, latency=latency)
    at_least(1, devices=devices, devices_per_node=devices_per_node)
    above_zero(bandwidth=bandwidth)
    numbers = [_column(each, rows) for each in (bytes, devices, bandwidth, latency)]
    seconds = np.empty(rows)
    for op_, algorithm_ in set(zip(names["op"], names["algorithm"], strict=True)):
        chosen = (names["op"] == op_) & (names["algorithm"] == algorithm_)
        arguments = [each[chosen] for each in numbers]
        if algorithm_ != "hierarchical":
            seconds[chosen] = _FLAT[algorithm_][op_](*arguments)
            continue
        local = _column(devices_per_node, rows)[chosen]
        between = _between_nodes(arguments[1], local, inter_bandwidth, chosen)
        seconds[chosen] = _HIERARCHICAL[op_](*arguments, local, between)
    return seconds  # type: ignore[return-value]


def _between_nodes(devices: Any, devices_per_node: Any, inter_bandwidth: Any, chosen: Any) -> Any:
    """The bandwidth between nodes of the chosen rows; inside one node it does not matter."""
    outside = devices > devices_per_node
    if not outside.any():
        return np.inf
    if inter_bandwidth is None:
        raise ValueError("argument inter_bandwidth is missing; hierarchical needs it when there are several nodes")
    above_zero(inter_bandwidth=inter_bandwidth)
    rest = outside & (devices % devices_per_node != 0)
    if rest.any():
        raise ValueError(
            f"argument devices is {devices[rest][0]}, which is no multiple of devices_per_node, "
            f"{devices_per_node[rest][0]}; expected full nodes"
        )
    return inter_bandwidth[chosen]


def _column(value: Any, rows: int) -> Any:
    """An argument as a column; one that was left out has its default in all rows."""
    return np.broadcast_to(np.asarray(value), rows)
