"""Reading and checking people's files: one stack, for training and for prediction."""
