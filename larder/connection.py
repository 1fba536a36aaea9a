"""The bucket that the settings name, with our verbs."""

from larder import s3
from larder.settings import Settings
from larder.store import Store

START_SECONDS = 10
"""How long a store is waited for before a run begins."""


def open_store(now: Settings) -> Store:
    """The bucket of these settings.

    Raises:
        StoreNotConfiguredError: the settings hold no keys.
    """
    client = s3.client(now)
    secret = now.s3_secret_access_key.get_secret_value() if now.s3_secret_access_key else ""
    reached = s3.fsspec_options(now.s3_endpoint_url, now.s3_access_key_id, secret, client.meta.region_name)
    return Store(client, now.bucket_name, fsspec=reached).patient(now.store_seconds)


def require_answer(now: Settings) -> None:
    """Return if the store answers and lets us list the bucket.

    Raises:
        Unreachable: it does not, within `START_SECONDS`.
    """
    quick = Store(s3.client(now, START_SECONDS), now.bucket_name)
    quick.patient(START_SECONDS).check()
