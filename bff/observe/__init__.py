"""What the running proxy tells: logs, audit events, metrics."""
