"""What people build on outcomes, usable without the engine."""
