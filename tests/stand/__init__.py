"""The stand: real parts (Electrum, a node, a server, the Rust peers), brought, started and stopped.

`python3 -m tests.stand` says what is there; `parts/` brings it; the other files start it:

    processes.py        one process, its log, its deadline, its end
    node.py server.py   a private chain and an Electrum server on it
    electrum_daemon.py  a real Electrum with a plugin's zip
    mailroom.py payjoin_cli.py   the reference peers, which we didn't write
    stand.py            all of it together

Nothing here imports the plugin: what is tested comes in as a zip.
"""
