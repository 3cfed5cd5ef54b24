"""The table of all `.cu` files: a file that is not in it fails a test.

A new file `kernels/NAME.cu` is added by a module `proofs/NAME.py` that declares its `PROOF`, and by its name here. Every check
loops over this table: NVRTC's gate, the runs on the CPU, the sanitizers, the planted bugs, and the tests that need a GPU.
"""

from proofs import category_counts, distances, mmd, profile, sorted_gaps
from proofs.proof import Proof

PROOFS: dict[str, Proof] = {
    proof.file: proof for proof in (profile.PROOF, category_counts.PROOF, sorted_gaps.PROOF, distances.PROOF, mmd.PROOF)
}

__all__ = ["PROOFS"]
