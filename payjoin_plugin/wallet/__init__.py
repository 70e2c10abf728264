"""Electrum implements the session's ports: the disk, the keys, the coins and the view of the chain."""
