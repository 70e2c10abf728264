"""`make demo`: one whole payjoin on a private network, told step by step.

    story.py      what happens, and what is said about it: the eight steps
    stage.py      who and what takes part, and how it is started
    page.py       how it looks: short lines, in columns
    window.py     Bob's Electrum as a window, where there is a display
    puppet.py     in its process: a hand at mouse and keyboard
    __main__.py   the command, and what it does when something goes wrong

Everything in it is real but the money. What the story claims is checked on the way.
"""
