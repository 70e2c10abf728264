"""Payjoin in Electrum's window. PyQt6 is used here and in qt.py, and nowhere else."""
