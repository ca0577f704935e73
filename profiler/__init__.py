"""From an artifact to numbers: workers, samples, statistics, results."""
