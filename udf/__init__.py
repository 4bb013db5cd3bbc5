"""Functions: how they reach SQL (`ironlake.udf.engine`) and the machine-learning tasks themselves (`ironlake.udf.tasks`)."""
