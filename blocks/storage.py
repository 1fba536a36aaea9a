"""The credentials and the S3Bucket block that every result goes through."""

from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect_aws import AwsCredentials, MinIOCredentials, S3Bucket
from prefect_aws.client_parameters import AwsClientParameters

from larder import s3
from larder.settings import BLOCK_REFERENCE, Settings
from larder.store import Store

BLOCK_TYPE, _, BUCKET_BLOCK = BLOCK_REFERENCE.partition("/")
CREDENTIALS_BLOCK = "larder-store"


class BlockMissing(Exception):  # noqa: N818
    """The Prefect server has no block of ours."""

    def __init__(self) -> None:
        super().__init__(
            f"The Prefect server has no block {BLOCK_REFERENCE}: ./setup.sh creates it, "
            "and so does blocks.storage.register_blocks."
        )


def register_blocks(settings: Settings) -> None:
    """Saves both blocks as the settings say, over what was there; any number of times.

    Raises:
        StoreNotConfiguredError: the settings hold no keys.
    """
    client = s3.client(settings)
    credentials = MinIOCredentials(
        minio_root_user=settings.s3_access_key_id,
        minio_root_password=settings.s3_secret_access_key,
        region_name=client.meta.region_name,
        aws_client_parameters=AwsClientParameters(endpoint_url=settings.s3_endpoint_url),
    )
    credentials.save(CREDENTIALS_BLOCK, overwrite=True)
    block = S3Bucket(bucket_name=settings.bucket_name, bucket_folder="", credentials=credentials)
    block.save(BUCKET_BLOCK, overwrite=True)


def load_bucket(settings: Settings, client: SyncPrefectClient) -> S3Bucket:
    """The saved block; what the settings give of endpoint, keys and bucket wins over what it holds.

    Raises:
        BlockMissing: it is not on the server.
    """
    try:
        document = client.read_block_document_by_name(BUCKET_BLOCK, BLOCK_TYPE)
    except ObjectNotFound as error:
        raise BlockMissing from error
    # S3Bucket.load would make an API client of its own, which costs more than the call.
    block = S3Bucket._from_block_document(document)  # noqa: SLF001
    credentials = block.credentials
    parameters = credentials.aws_client_parameters
    if settings.s3_endpoint_url is not None:
        parameters = parameters.model_copy(update={"endpoint_url": settings.s3_endpoint_url})
    changed: dict[str, Any] = {"aws_client_parameters": parameters}
    user, password = _key_fields(credentials)
    if settings.s3_access_key_id is not None:
        changed[user] = settings.s3_access_key_id
    if settings.s3_secret_access_key is not None:
        changed[password] = settings.s3_secret_access_key
    update: dict[str, Any] = {"credentials": credentials.model_copy(update=changed)}
    if settings.bucket is not None:
        update["bucket_name"] = settings.bucket
    return block.model_copy(update=update)


def connection(block: S3Bucket, answer_seconds: float = s3.ANSWER_SECONDS) -> Any:
    """A boto3 S3 client with the block's endpoint and keys and our own limits."""
    credentials = block.credentials
    user, password = (getattr(credentials, name) for name in _key_fields(credentials))
    return s3.s3_client(
        credentials.aws_client_parameters.endpoint_url,
        user,
        password.get_secret_value(),
        credentials.region_name,
        answer_seconds,
    )


def open_store(block: S3Bucket, answer_seconds: float = s3.ANSWER_SECONDS) -> Store:
    """The block's bucket with our verbs."""
    credentials = block.credentials
    user, password = (getattr(credentials, name) for name in _key_fields(credentials))
    reached = s3.fsspec_options(
        credentials.aws_client_parameters.endpoint_url,
        user,
        password.get_secret_value(),
        credentials.region_name,
    )
    return Store(connection(block, answer_seconds), block.bucket_name, fsspec=reached)


def _key_fields(credentials: MinIOCredentials | AwsCredentials) -> tuple[str, str]:
    if isinstance(credentials, AwsCredentials):
        return "aws_access_key_id", "aws_secret_access_key"
    return "minio_root_user", "minio_root_password"
