"""Serial motor controllers, one module per protocol."""
