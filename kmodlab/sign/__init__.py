"""Keys, also in tokens, and signatures: made by the kernel's own sign-file or here, and read back.

Imports the ground. The doors are `keys.chosen_key`, `keys.machines_key` and `signing.sign_modules`.
"""
