"""Encrypting the secret parts of the configs that are stored already."""

from __future__ import annotations

from piko.config_keys import EXPECTED
from piko.errors import RefusedError
from piko.model.changes import Actor
from piko.store.engine import Database
from piko.store.sealed_configs import SealedConfigs, StoredSecrets


async def encrypt(database: Database, *, actor: Actor, dry_run: bool = False) -> SealedConfigs:
    """Encrypt what is plain, or was encrypted with another than the first key of `database`; what it was.

    - `dry_run`: change nothing.

    Raises `RefusedError` if there is no key.
    """
    if not database.config_keys.ids:
        raise RefusedError(f"there is no key to encrypt with: set PIKO_CONFIG_KEY, {EXPECTED}")
    return await StoredSecrets(database=database).seal(actor, dry_run=dry_run)
