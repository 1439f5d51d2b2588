"""Ten steps of each reference pair as numbers, from which no change of the mathematics hides."""
