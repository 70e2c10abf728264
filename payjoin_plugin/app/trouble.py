"""What the transport says of a failure, in the user's language: client/ knows only one, and no Electrum.

A sentence is found by its form, since names and numbers stand in it.
"""

from __future__ import annotations

import re
from functools import cache

from electrum.i18n import _

from .settings import url_fault


def trouble_words(said: str) -> str:
    """Return a sentence of client/transport.py in the user's language; any other one as it is."""
    for form, words in _forms().items():
        if (found := _pattern(form).fullmatch(said)) is not None:
            return words.format(*found.groups())
    return url_fault(said)


def _forms() -> dict[str, str]:
    """Return each form and its translation, what is more special first."""
    return {
        "{} can only be reached through Tor, and no proxy is set": _(
            "{} can only be reached through Tor, and no proxy is set"
        ),
        "the proxy setting cannot be used: {}": _("the proxy setting cannot be used: {}"),
        "the proxy does not work: {}": _("the proxy does not work: {}"),
        "the keys of {} are fetched through a relay, and there is none": _(
            "the keys of {} are fetched through a relay, and there is none"
        ),
        "{} cannot be reached by the proxy: {}": _("{} cannot be reached by the proxy: {}"),
        "{} cannot be reached: the relay refused with status {}": _(
            "{} cannot be reached: the relay refused with status {}"
        ),
        "{} cannot be reached: {}": _("{} cannot be reached: {}"),
        "{} did not answer in time": _("{} did not answer in time"),
        "{}: the answer is no HTTP": _("{}: the answer is no HTTP"),
        "{} answered with no HTTP response: {}": _("{} answered with no HTTP response: {}"),
        "{} answered with {} instead of {}": _("{} answered with {} instead of {}"),
        "{} gave {} as its keys: {}": _("{} gave {} as its keys: {}"),
        "outer status {}": _("outer status {}"),
        "inner status {}": _("inner status {}"),
    }


@cache
def _pattern(form: str) -> re.Pattern[str]:
    return re.compile("(.*?)".join(re.escape(part) for part in form.split("{}")), re.DOTALL)
