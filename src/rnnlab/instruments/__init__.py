"""What lets a person look at a network: figures, summaries, progress."""
