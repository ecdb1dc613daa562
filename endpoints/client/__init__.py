"""What sends a request and reads the reply: chat models, transport, keys, failures, metrics."""
