"""A directory and a relay of our own, for tests and for the demo: payjoin without Rust, on loopback.

    store.py      the mailboxes: who may read what, who waits for whom          no sockets, `now` is an argument
    gateway.py    the server's side of OHTTP (RFC 9458)                         bytes in, bytes out
    directory.py  what a directory answers (BIP 77), inside OHTTP and outside   values in, values out
    relay.py      where a relay may forward to                                  values in, values out
    journal.py    what was asked, for tests to count and to wait for
    faults.py     what can go wrong, on order
    tunnel.py     CONNECT, by which clients fetch a directory's keys
    http.py       the sockets (aiohttp): a server, which is both a directory and a relay
    mailroom.py   several of them: `async with Mailroom() as mailroom`
    __main__.py   `python -m tests.mailroom`, until it is interrupted

    client.py     a small client made of payjoin_plugin.wire, for the tests of all this
    play.py       requests to play to a mailroom, ours or the real one; they stand in cases*.py
    places.py, certificates.py     what these tests need around them

One server is both, as the payjoin project's own program is; of a `Mailroom`'s servers one is used as directory and the
others as relays.

Our gateway proves only that we agree with ourselves: the same hpke.py seals and opens. That we agree with others is
claimed by the vectors in tests/vectors (made by rust-payjoin) and by tests/interop, where test_mailroom_agrees.py plays
one list of requests to this mailroom and to the real payjoin-mailroom and compares answer by answer.
"""
