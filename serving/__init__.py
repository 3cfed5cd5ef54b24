"""Model folders and a Triton address: publish, stage, verify, switch, roll back. Knows nothing of training or registries."""
