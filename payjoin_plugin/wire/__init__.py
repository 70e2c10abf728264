"""What crosses the network, one file for each standard: bytes in, values out.

Nothing here knows a clock, a socket or a wallet. Of Electrum only `electrum.crypto` is used, for ChaCha20-Poly1305,
and `electrum_ecc` for the curve. Decoders return a value or raise `DecodeError`; what does not open raises `OpenError`;
what a relay or directory got wrong raises `Garbled` or `DirectoryStatus`. A `ValueError` out of here is a fault of the
caller. Read `mailbox.py` first: the rest is what it stands on.
"""
