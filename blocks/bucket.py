"""The bucket on a MinIO of our own: its lifecycle rules, and the user that workers have in place of root."""

import json
import os
import sys
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

from blocks import s3
from blocks.settings import Settings, SettingsError, settings

POLICY = "larder-{bucket}"
DAYS_KEPT = {"damaged/": 90, "doctor/": 1}
"""What is deleted by the store itself, by prefix."""
START_SECONDS = 60


def prepare(now: Settings, root_user: str, root_password: str) -> None:
    """Creates the bucket, its lifecycle rules and its user, or updates them; any number of times.

    The user is the one that `LARDER_S3_*` name. It reads, writes, lists and deletes in this bucket alone.
    """
    root = s3.s3_client(now.s3_endpoint_url, root_user, root_password)
    s3.ensure_bucket(root, now.bucket_name)
    root.put_bucket_lifecycle_configuration(
        Bucket=now.bucket_name,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": prefix.rstrip("/"),
                    "Status": "Enabled",
                    "Filter": {"Prefix": prefix},
                    "Expiration": {"Days": days},
                }
                for prefix, days in DAYS_KEPT.items()
            ]
        },
    )
    _ensure_user(now, root_user, root_password)


def policy(bucket: str) -> dict[str, Any]:
    """What the bucket's user may do."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
                "Resource": [f"arn:aws:s3:::{bucket}"],
            },
            {
                "Effect": "Allow",
                "Action": [
                    "s3:GetObject",
                    "s3:PutObject",
                    "s3:DeleteObject",
                    "s3:AbortMultipartUpload",
                    "s3:ListMultipartUploadParts",
                ],
                "Resource": [f"arn:aws:s3:::{bucket}/*"],
            },
        ],
    }


def _ensure_user(now: Settings, root_user: str, root_password: str) -> None:
    if now.s3_access_key_id is None or now.s3_secret_access_key is None or now.s3_endpoint_url is None:
        raise SettingsError("LARDER_S3_ACCESS_KEY_ID", "the bucket's user needs endpoint, key and secret")
    scheme, _, host = now.s3_endpoint_url.partition("://")
    admin = MinioAdmin(
        endpoint=host, credentials=StaticProvider(root_user, root_password), secure=scheme == "https"
    )
    name = POLICY.format(bucket=now.bucket_name)
    admin.policy_add(name, policy=policy(now.bucket_name))
    admin.user_add(now.s3_access_key_id, now.s3_secret_access_key.get_secret_value())
    admin.policy_set(name, user=now.s3_access_key_id)


def main() -> int:
    """Prepares the bucket as root, whose name and password stand in `MINIO_ROOT_*`; the exit code."""
    now, until = settings(), time.monotonic() + START_SECONDS
    while True:
        try:
            prepare(now, os.environ["MINIO_ROOT_USER"], os.environ["MINIO_ROOT_PASSWORD"])
        except (BotoCoreError, ClientError, MinioAdminException, OSError) as error:
            if time.monotonic() > until:
                print(f"The store {now.s3_endpoint_url} refused: {error}", file=sys.stderr)
                return 1
            time.sleep(1)
        else:
            print(json.dumps({"bucket": now.bucket_name, "user": now.s3_access_key_id}))
            return 0


if __name__ == "__main__":
    sys.exit(main())
