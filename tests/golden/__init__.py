"""Ten steps of each reference pair as numbers: what a change of the mathematics cannot hide from."""
