"""Which modules of a package does the rest stand on? PageRank over a table of imports, by an RDD program.

python examples/pagerank_of_imports.py            # without a JVM
python examples/pagerank_of_imports.py pyspark    # the same program on Spark
"""

import ast
import sys
import tempfile
from pathlib import Path

import duckdb
import rich

import ironlake
from ironlake.rdd.programs import pagerank

if sys.argv[1:] == ["pyspark"]:
    from pyspark import SparkContext
else:
    from ironlake.rdd import SparkContext


def imports(folder: Path) -> list[tuple[str, str]]:
    """Which module of a package imports which other one."""
    modules = {file.stem: file for file in folder.glob("*.py")}
    links = []
    for importer, file in modules.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                found = [node.module] if node.module else [alias.name for alias in node.names]
                links += [(importer, imported) for imported in found if imported in modules and imported != importer]
    return links


lake = ironlake.open(tempfile.mkdtemp())
rows = imports(Path(rich.__file__).parent)
lake.write("imports", duckdb.sql("SELECT unnest($1) AS link", params=[[list(row) for row in rows]]))

with SparkContext("local[2]", "imports") as sc:
    links = sc.parallelize(lake.sql("SELECT link[1], link[2] FROM imports").fetchall(), 2)
    ranks = pagerank(links, iterations=10)
    for module, rank in ranks.top(5, key=lambda pair: pair[1]):
        print(f"{rank:.4f}  {module}")
