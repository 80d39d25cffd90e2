"""What a dataset and a training will take on a cluster, forecast from a sample that was rendered here."""
