"""Run Electrum as it is, but for one thing: where the key that authorizes plugins lies.

Electrum believes in a plugin that was signed with a password; the matching public key lies in
/etc/electrum/plugins_key, put there by root, and a process that could write the file itself doesn't
believe it. Tests run as root (who can write any file) or as a user (who can't write in /etc). So
this launcher changes these two, and nothing else: the key file is the one of the variable
STAND_PLUGINS_KEY, and whoever can write it may have it believed. Key, signature, zip and settings
are real, made by Electrum's own functions.

    python -P electrum_launcher.py LAUNCHER electrum's words …
    python -P electrum_launcher.py --install-plugin ZIP PASSWORD electrum-folder
"""

import os
import runpy
import sys
from pathlib import Path

from electrum import constants
from electrum.plugin import Plugins
from electrum.simple_config import SimpleConfig

KEY_VARIABLE = "STAND_PLUGINS_KEY"


def main() -> None:
    """Change the two things, then do what the words say."""
    if key := os.environ.get(KEY_VARIABLE):
        Plugins.keyfile_posix = key
        Plugins._has_root_permissions = lambda _self, _path: True
    if sys.argv[1] == "--install-plugin":
        install(*sys.argv[2:])
    else:
        sys.argv = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name="__main__")


def install(zip_path: str, password: str, folder: str) -> None:
    """Install and authorize a plugin as Electrum's dialog does when the person says yes.

    An earlier zip of the same plugin is replaced, as by the dialog's «Upgrade».
    """
    constants.BitcoinRegtest.set_as_network()
    config = SimpleConfig({"electrum_path": folder, "regtest": True})
    plugins = Plugins(config, cmd_only=True)
    key_file = Path(Plugins.keyfile_posix)
    if not key_file.exists():
        key_file.write_text(plugins.create_new_key(password))
    _, salt = plugins.get_pubkey_bytes()
    manifest = plugins.read_manifest(zip_path)
    for present in Path(plugins.get_external_plugin_dir()).glob("*.zip"):
        if plugins.read_manifest(str(present)).name == manifest.name:
            present.unlink()
    plugins.remove_external_plugin_metadata(manifest.name)
    plugins.add_external_plugin_metadata(manifest)
    plugins.authorize_plugin(manifest.name, plugins.derive_privkey(password, salt))


if __name__ == "__main__":
    main()
