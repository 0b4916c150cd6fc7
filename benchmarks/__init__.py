"""How long torchlogit and its peers take to reach the same optimum: `python -m benchmarks` from the repository root."""
