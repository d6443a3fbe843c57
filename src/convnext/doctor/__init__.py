"""What would go wrong with a training, how long it takes and how much memory it needs, before it starts."""
