"""What a search may set, and who proposes the next settings: at random, or by Optuna from what it was told."""
