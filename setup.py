"""Map the top-level source folders into one package; everything else about the build stands in pyproject.toml.

``lakehouse/`` installs as ``ironlake.lakehouse``, ``udf/engine/`` as ``ironlake.udf.engine``, and so on. The folders
are looked up here, so that a new subfolder needs no edit anywhere.
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup

FLOORS = [floor for floor in ("lakehouse", "udf", "rdd", "kernels", "sql") if Path(floor).is_dir()]


def subfolders(folder: str) -> list[str]:
    """Every folder below, also those that hold only data."""
    return [package for package in find_namespace_packages(folder) if "__pycache__" not in package]


setup(
    packages=[
        "ironlake",
        *(f"ironlake.{package}" for package in subfolders("ironlake")),
        *(f"ironlake.{floor}" for floor in FLOORS),
        *(f"ironlake.{floor}.{package}" for floor in FLOORS for package in subfolders(floor)),
        "ironlake.docs.published",
    ],
    package_dir={f"ironlake.{floor}": floor for floor in FLOORS} | {"ironlake.docs.published": "docs/published"},
)
