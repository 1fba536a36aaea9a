"""The credentials and the S3Bucket block that every result goes through."""

from prefect_aws import MinIOCredentials, S3Bucket
from prefect_aws.client_parameters import AwsClientParameters

from larder import s3
from larder.settings import BLOCK_REFERENCE, Settings

BLOCK_TYPE, _, BUCKET_BLOCK = BLOCK_REFERENCE.partition("/")
CREDENTIALS_BLOCK = "larder-store"


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
