"""Clusters by name: built-in ones, and those of a user's table."""

import duckdb
import pytest

from ironlake.kernels.distributed_training.clusters import find_cluster


def test_built_in_clusters():
    names = [name for (name,) in duckdb.sql("SELECT name FROM training_clusters()").fetchall()]
    assert names == ["selene_a100", "dgx2_v100", "piz_daint_p100", "dgx_h100", "zion_8oam", "vtrain_a100"]
    assert find_cluster("selene_a100", None).need("hbm_gib") == 80


def test_unknown_names_and_facts():
    with pytest.raises(ValueError, match="argument cluster: there is no cluster 'selene'; expected one of dgx2_v100, "):
        find_cluster("selene", None)
    with pytest.raises(
        ValueError, match="argument cluster: the cluster 'piz_daint_p100' has no nvme_gib; fill it in a table"
    ):
        find_cluster("piz_daint_p100", None).need("nvme_gib")
