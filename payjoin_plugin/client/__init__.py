"""The live part of a session, and the only asyncio: HTTP, relays, keys, and the task that drives a session.

transport.py  one request: through the proxy, through a relay, to a directory
directory.py  which relay next, and the directories' keys
keeper.py     keeps the keys of the directory in use at hand
mail.py       one session's way to its mailboxes
checking.py   whether the original is a payment, and how old that word is
waiting.py    what waits for the wallet or the user, and the user's word
turns.py      which sessions hold a poll open, where there are many
pace.py       how fast it asks
deadline.py   time limits that a sleep of the machine does not stretch
runner.py     the whole protocol on one screen
"""
