"""The library beside PyTorch and Keras, in float64: run with --oracle."""
