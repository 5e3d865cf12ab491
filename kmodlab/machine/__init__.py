"""Machines, virtual ones and boards: firmware, Secure Boot, accelerator, power, snapshots, the keyboard.

Imports what comes from Debian, the keys and the guest. The doors are `vm.Vm` and `board.BoardTarget`.
"""
