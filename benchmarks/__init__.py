"""Every claim that is made, measured: one module a claim, its result in `benchmarks/results`."""
