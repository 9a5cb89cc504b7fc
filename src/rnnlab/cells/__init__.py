"""Recurrences, one a file, each with its paper and its equations at the top."""
