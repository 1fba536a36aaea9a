"""An S3 client with our own limits, and the bucket it needs. Imports no Prefect.

Nothing but `LARDER_S3_*` says how the store is reached: no `AWS_*` variable, no file in `~/.aws`, no proxy.
"""

import os
from functools import lru_cache
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.configprovider import ConstantProvider
from botocore.exceptions import ClientError

from larder.settings import Settings

DEFAULT_REGION = "us-east-1"
ANSWER_SECONDS = 60.0


class StoreNotConfiguredError(ValueError):
    """The settings name no keys for the store."""


def client(settings: Settings, answer_seconds: float = ANSWER_SECONDS) -> Any:
    """The boto3 client that `LARDER_S3_*` describe, one per process for equal settings.

    Raises:
        StoreNotConfiguredError: the keys are not there.
    """
    if settings.s3_access_key_id is None or settings.s3_secret_access_key is None:
        raise StoreNotConfiguredError(
            "LARDER_S3_ACCESS_KEY_ID and LARDER_S3_SECRET_ACCESS_KEY are not set: start the stack with "
            "./setup.sh, or set both and LARDER_S3_ENDPOINT_URL for a store of your own."
        )
    secret = settings.s3_secret_access_key.get_secret_value()
    return s3_client(
        settings.s3_endpoint_url, settings.s3_access_key_id, secret, settings.s3_region, answer_seconds
    )


@lru_cache(maxsize=16)
def s3_client(
    endpoint_url: str | None,
    access_key_id: str,
    secret_access_key: str,
    region: str | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> Any:
    """A boto3 S3 client that tries once (our callers retry), and waits so long for each answer.

    Payloads are not signed, which would hash each a second time: every write carries its own sha256.
    """
    session = boto3.Session(
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        botocore_session=_own(botocore.session.Session()),
    )
    config = Config(
        connect_timeout=5,
        read_timeout=answer_seconds,
        retries={"total_max_attempts": 1},
        max_pool_connections=32,
        user_agent="larder",
        s3={"addressing_style": "path", "payload_signing_enabled": False},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        proxies={},
        ignore_configured_endpoint_urls=True,
    )
    return session.client(
        "s3", region_name=region or DEFAULT_REGION, endpoint_url=endpoint_url, config=config
    )


def _own(session: Any) -> Any:
    """The session with every setting at its default, whatever the environment and `~/.aws` say."""
    settings = session.get_component("config_store")
    for name, (_, _, default, _) in session.SESSION_VARIABLES.items():
        value = os.devnull if name in {"config_file", "credentials_file"} else default
        settings.set_config_provider(name, ConstantProvider(value))
    for name in ("s3", "proxies_config"):
        settings.set_config_provider(name, ConstantProvider({}))
    return session


def fsspec_options(
    endpoint_url: str | None, key: str | None, secret: str, region: str | None
) -> dict[str, Any]:
    """How s3fs reaches the same store."""
    where = {"endpoint_url": endpoint_url, "region_name": region}
    return {"key": key, "secret": secret, "client_kwargs": where}


def own_fsspec_session() -> Any:
    """What s3fs takes as `session` so that only the options that it is given count."""
    import aiobotocore.session

    return _own(aiobotocore.session.AioSession())


def ensure_bucket(client: Any, bucket: str) -> bool:
    """Creates the bucket where it is not there; whether it did."""
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
    else:
        return False
    try:
        client.create_bucket(Bucket=bucket, **_location(client))
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
            raise
        client.head_bucket(Bucket=bucket)
        return False
    return True


def _location(client: Any) -> dict[str, Any]:
    region = client.meta.region_name
    return {} if region == DEFAULT_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
