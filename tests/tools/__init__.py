"""The long-running tools: the benchmark and the soak scenarios."""
