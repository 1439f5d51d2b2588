"""What a practitioner runs: the training loop, data, checkpoints, pictures, metrics, commands."""
