"""A payer for tests and for the demo: the sender's half of our own core, with a wallet of the stand's node.

    payer.py     the money: coins of any type, the signed original, signing, broadcasting, double spending
    payment.py   the letters: one payment to a `pj` URI, whole or step by step, by BIP 77 or BIP 78

    payer = Payer.create(stand, "alice", Funds("p2tr", 200_000))
    payment = prepare(payer, uri, relay=mailroom.relay_url)     the original is signed, and nothing has left
    payment.post()                                              it lies in the receiver's mailbox
    payment.poll()                                              one question; the proposal, checked, or None
    payment.broadcast_payjoin()                                 or broadcast_original(), spend_otherwise(), nothing

    pay(payer, uri, relay=…)                                    all of it

It blocks, as tests like it; two payers at once are two threads. It speaks plain http, on loopback.

That our sender and our receiver agree proves little. tests/interop/test_sender.py lets it pay payjoin-cli too.
"""
