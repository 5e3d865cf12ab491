"""kmodlab: prove that Linux kernel modules build, sign, load, work and unload on every kernel."""

__version__ = "0.1.0"
