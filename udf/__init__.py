"""Functions: how they reach SQL (`ironlake.udf.engine`), and the machine-learning tasks (`ironlake.udf.tasks`)."""
