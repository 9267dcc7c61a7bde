"""Training kernels for CPUs, written in LLVM's own language and compiled for the machine at hand when first used."""
