"""Text and states in, findings out: the kernel's log, what its lines mean, and what taints a kernel.

Pure: imports nothing but the ground, asks no machine. The door is `classifier.classify`.
"""
