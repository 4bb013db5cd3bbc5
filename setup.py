"""Map the top-level source folders into one package; everything else about the build stands in pyproject.toml.

``lakehouse/`` installs as ``ironlake.lakehouse``, ``udf/engine/`` as ``ironlake.udf.engine``, and so on. The folders
are looked up here, so that a new subfolder needs no edit anywhere.
"""

from pathlib import Path

from setuptools import find_packages, setup

FLOORS = [name for name in ("lakehouse", "udf", "rdd", "kernels", "sql") if Path(name, "__init__.py").is_file()]

setup(
    packages=[
        *find_packages(include=["ironlake", "ironlake.*"]),
        *(f"ironlake.{floor}" for floor in FLOORS),
        *(f"ironlake.{floor}.{package}" for floor in FLOORS for package in find_packages(floor)),
    ],
    package_dir={f"ironlake.{floor}": floor for floor in FLOORS},
)
