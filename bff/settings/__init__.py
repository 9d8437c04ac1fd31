"""Settings: the model, its sources, and its checks."""
