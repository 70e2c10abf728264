"""One plugin, its open wallets and their sessions, and what people ask of them; it brings the layers below together.

No widgets: what a screen or a command shows comes from here as a value.
"""
