"""How fast the way to a memory must be so that training from it is efficient: section 4 of the ZeRO-Infinity paper.

A step computes ``8 batch seq params`` operations (forward, recomputation, and backward at twice the cost). What is
moved meanwhile gives the arithmetic intensity (AIT, operations per byte) of three kinds of data:

- parameters and gradients, 2 bytes each: loaded forward, for the recomputation and backward, gradients stored; 8 bytes
  per parameter, so ``seq batch``,
- states of the optimizer, 16 bytes per parameter, read and written: ``seq batch / 4``,
- checkpoints of activations, ``2 batch seq hidden`` bytes for ``interval`` blocks, written and read: ``24 hidden
  interval``.

Without any overlap of moving and computing, the share of the time that computes is
``ait bandwidth / (ait bandwidth + peak)``.
"""

from __future__ import annotations

import numpy as np

from ironlake.udf.engine import scalar

from ..checks import above_zero, at_least, fraction


@scalar(form="numpy")
def zero_efficiency(ait: float, bandwidth: float, peak_flops: float = 70e12) -> float:
    """The share of a step in which devices compute, if what they need is moved first.

    Parameters
    ----------
    ait : arithmetic intensity of what is moved [FLOP/byte], as `ait_params`, `ait_optimizer`, `ait_activations` give.
    bandwidth : [bytes/s] at which a device gets it.
    peak_flops : [FLOP/s] that a device reaches; by default a V100 on large matrix products.

    Returns
    -------
    DOUBLE
        Between 0 and 1; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If an argument is not above 0.

    References
    ----------
    Rajbhandari and others: ZeRO-Infinity, SC (2021), section 4, equation 6.

    Examples
    --------
    SELECT batch, zero_efficiency(ait_params(1024, batch), 70e9) AS efficiency FROM (VALUES (1), (2), (4)) t(batch);
    """
    above_zero(ait=ait, bandwidth=bandwidth, peak_flops=peak_flops)
    return ait * bandwidth / (ait * bandwidth + peak_flops)


@scalar(form="numpy")
def bandwidth_for_efficiency(ait: float, eff: float, peak: float = 70e12) -> float:
    """How fast data has to be moved so that a device computes for a given share of a step.

    Parameters
    ----------
    ait : arithmetic intensity of the data [FLOP/byte].
    eff : the share, above 0 and at most 1.
    peak : [FLOP/s] that a device reaches.

    Returns
    -------
    DOUBLE
        [bytes/s] per device, infinite for a share of 1; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If an argument is not above 0, or the share above 1.

    References
    ----------
    Rajbhandari and others: ZeRO-Infinity, SC (2021), section 4, equation 6 solved for the bandwidth.

    Examples
    --------
    SELECT bandwidth_for_efficiency(ait_optimizer(1024, 2), 0.9) / 1e12 AS terabytes_per_second;
    """
    above_zero(ait=ait, peak=peak)
    fraction(eff=eff)
    with np.errstate(divide="ignore"):
        return eff / np.subtract(1, eff) * peak / ait  # type: ignore[no-any-return]


@scalar(form="numpy")
def ait_params(seq: int, batch: float) -> float:
    """The arithmetic intensity of parameters and gradients that are kept elsewhere.

    Parameters
    ----------
    seq : tokens of a sequence.
    batch : sequences per device and step.

    Returns
    -------
    DOUBLE
        [FLOP/byte]; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If an argument is not above 0.

    References
    ----------
    Rajbhandari and others: ZeRO-Infinity, SC (2021), section 4.1, equation 9.

    Examples
    --------
    SELECT ait_params(1024, 2) AS flop_per_byte;
    """
    above_zero(seq=seq, batch=batch)
    return seq * batch


@scalar(form="numpy")
def ait_optimizer(seq: int, batch: float) -> float:
    """The arithmetic intensity of optimizer states that are kept elsewhere.

    Parameters
    ----------
    seq : tokens of a sequence.
    batch : sequences per device and step.

    Returns
    -------
    DOUBLE
        [FLOP/byte]; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If an argument is not above 0.

    References
    ----------
    Rajbhandari and others: ZeRO-Infinity, SC (2021), section 4.1, equation 10.

    Examples
    --------
    SELECT ait_optimizer(1024, 2) AS flop_per_byte;
    """
    above_zero(seq=seq, batch=batch)
    return seq * batch / 4


@scalar(form="numpy")
def ait_activations(hidden: int, ci: int = 1) -> float:
    """The arithmetic intensity of checkpoints of activations that are kept elsewhere.

    Parameters
    ----------
    hidden : width of the model.
    ci : blocks from one checkpoint to the next.

    Returns
    -------
    DOUBLE
        [FLOP/byte]; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If an argument is below 1.

    References
    ----------
    Rajbhandari and others: ZeRO-Infinity, SC (2021), section 4.1, equation 11.

    Examples
    --------
    SELECT zero_efficiency(ait_activations(2048), 2e9) AS efficiency;
    """
    at_least(1, hidden=hidden, ci=ci)
    return 24.0 * hidden * ci
