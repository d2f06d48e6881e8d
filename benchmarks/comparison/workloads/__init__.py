"""What the tools are compared on: one file a workload. Each yields rows of the table."""
