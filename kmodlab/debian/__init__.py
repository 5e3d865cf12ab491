"""What comes from Debian: its archive, roots and userlands made of its packages, initramfs, kernels built of its sources.

Imports the plan. The doors are `archive.resolve` and `roots.build_root`, `roots.boot_image`.
"""
