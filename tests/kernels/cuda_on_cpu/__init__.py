"""CUDA source executed on the CPU: `CpuRawModule` has the interface of `cupy.RawModule`, over NumPy arrays."""

from cuda_on_cpu.raw_module import SANITIZER, CpuRawModule, Mode

__all__ = ["SANITIZER", "CpuRawModule", "Mode"]
