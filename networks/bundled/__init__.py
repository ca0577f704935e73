"""One small trained network with a few tiles, so that the first command works without torch."""
