"""Ironlake inside Spark."""
