"""What the pipeline says of itself, as OpenTelemetry traces, metrics and logs. Stages carry none of it."""
