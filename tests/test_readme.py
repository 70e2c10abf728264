"""The README names every host that is contacted where nobody has changed a setting."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from payjoin_plugin import SETTINGS

README = Path(__file__).parents[1] / "README.md"
LISTS = ("directories", "ohttp_relays")


def hosts_named(setting: str) -> set[str]:
    """The hosts in the row of one of the settings in the table of those that are contacted."""
    _, _, after = README.read_text(encoding="utf-8").partition("### Every host that is contacted, and when")
    (row,) = (line for line in after.partition("\n#")[0].splitlines() if f"(`{setting}`)" in line)
    return {named for named in re.findall("`([^`]+)`", row.split("|")[1]) if named != setting}


@pytest.mark.parametrize("setting", LISTS)
def test_the_readme_names_the_hosts_that_are_contacted_and_no_others(setting: str) -> None:
    urls, _ = SETTINGS[setting]
    assert isinstance(urls, tuple)
    assert hosts_named(setting) == {urlsplit(url).hostname for url in urls}
