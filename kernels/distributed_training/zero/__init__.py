"""ZeRO-Infinity: states of training that are sharded over all devices, and kept in CPU memory or on NVMe drives."""

from . import bandwidth, memory, model_size, step

__all__ = ["bandwidth", "memory", "model_size", "step"]
