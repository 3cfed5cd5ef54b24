"""Small matrices are quicker on one thread, and a test that times out on a busy machine tells nothing."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
