"""Functions of elements, run on whole columns where that gives exactly what Python gives."""
