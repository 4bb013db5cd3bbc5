"""The functions on machine-learning systems, a folder a family.

A family's folder holds a file (or a folder) for each section of its papers, which reads like that section: what is
computed, the formula, the code. Its SQL functions are declared in those files, Numba loops stand in files named
``*_kernels``, and its facts about machines are CSV files beside them. What its papers published is in
``docs/published/<family>.csv``, each row with the SQL that computes ours; ``ironlake reproduce`` prints both.
"""

from . import distributed_training

__all__ = ["distributed_training"]
