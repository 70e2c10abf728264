"""How each real part comes onto this machine: fetched or built once, verified, kept in the cache.

One file a part; each has a `find()` that is quick and answers `None` when the part is not there,
and an `ensure()` that brings it. Standard library only: this runs with the system's Python, before
anything of ours is installed.
"""
