"""The S3Bucket block that every result goes through, loaded once per run."""

from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect_aws import AwsCredentials, MinIOCredentials, S3Bucket
from pydantic import SecretStr

from larder.connection import open_store
from larder.settings import BLOCK_REFERENCE, Settings

__all__ = ["BlockMissing", "load", "open_store"]
BLOCK_TYPE, _, BUCKET_BLOCK = BLOCK_REFERENCE.partition("/")


class BlockMissing(Exception):  # noqa: N818
    """The Prefect server has no block of ours."""

    def __init__(self) -> None:
        super().__init__(
            f"The Prefect server has no block {BLOCK_REFERENCE}: ./setup.sh creates it, "
            "and so does blocks.storage.register_blocks."
        )


def load(now: Settings, client: SyncPrefectClient) -> tuple[Settings, S3Bucket]:
    """The saved block, and the settings with what it holds where they say nothing; they win over it.

    Raises:
        BlockMissing: it is not on the server.
    """
    try:
        document = client.read_block_document_by_name(BUCKET_BLOCK, BLOCK_TYPE)
    except ObjectNotFound as error:
        raise BlockMissing from error
    # S3Bucket.load would make an API client of its own, which costs more than the call.
    saved = S3Bucket._from_block_document(document)  # noqa: SLF001
    credentials = saved.credentials
    user, password = _key_fields(credentials)
    secret: SecretStr = getattr(credentials, password)
    now = now.model_copy(
        update={
            "s3_endpoint_url": now.s3_endpoint_url or credentials.aws_client_parameters.endpoint_url,
            "s3_access_key_id": now.s3_access_key_id or getattr(credentials, user),
            "s3_secret_access_key": now.s3_secret_access_key or secret,
            "bucket": now.bucket or saved.bucket_name,
            "s3_region": now.s3_region or credentials.region_name,
        }
    )
    parameters = credentials.aws_client_parameters.model_copy(update={"endpoint_url": now.s3_endpoint_url})
    changed: dict[str, Any] = {
        "aws_client_parameters": parameters,
        user: now.s3_access_key_id,
        password: now.s3_secret_access_key,
    }
    update = {"credentials": credentials.model_copy(update=changed), "bucket_name": now.bucket}
    return now, saved.model_copy(update=update)


def _key_fields(credentials: MinIOCredentials | AwsCredentials) -> tuple[str, str]:
    if isinstance(credentials, AwsCredentials):
        return "aws_access_key_id", "aws_secret_access_key"
    return "minio_root_user", "minio_root_password"
