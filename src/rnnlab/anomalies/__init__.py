"""How far each step is from what a forecaster or an autoencoder expected, and whether that is out of the ordinary."""
