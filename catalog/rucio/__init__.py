"""Rucio as the external catalog: our mover moves, a Rucio server records."""
