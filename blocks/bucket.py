"""The bucket on a MinIO of our own: its lifecycle rules, the user that workers have in place of root, and
one that reads the store's metrics."""

import json
import os
import sys
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

from larder import s3
from larder.settings import Settings, SettingsError, settings

POLICY = "larder-{bucket}"
MONITOR = "monitor"
"""The store's user that reads its metrics, and the name of its policy."""
MONITOR_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["admin:Prometheus"]}],
}
DAYS_KEPT = {"damaged/": 90, "doctor/": 1}
"""What is deleted by the store itself, by prefix."""
START_SECONDS = 60


def prepare(now: Settings, root_user: str, root_password: str, monitor_password: str | None = None) -> None:
    """Creates the bucket, its lifecycle rules and its users, or updates them; any number of times.

    The user that `LARDER_S3_*` name reads, writes, lists and deletes in this bucket alone. The user
    `monitor`, who is made where there is a password for it, may read the store's metrics and nothing else.
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
    admin = _admin(now, root_user, root_password)
    _ensure_user(now, admin)
    if monitor_password:
        admin.policy_add(MONITOR, policy=MONITOR_POLICY)
        admin.user_add(MONITOR, monitor_password)
        admin.policy_set(MONITOR, user=MONITOR)


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


def _admin(now: Settings, root_user: str, root_password: str) -> MinioAdmin:
    if now.s3_endpoint_url is None:
        raise SettingsError("LARDER_S3_ENDPOINT_URL", "it must say where the store is")
    scheme, _, host = now.s3_endpoint_url.partition("://")
    return MinioAdmin(
        endpoint=host, credentials=StaticProvider(root_user, root_password), secure=scheme == "https"
    )


def _ensure_user(now: Settings, admin: MinioAdmin) -> None:
    if now.s3_access_key_id is None or now.s3_secret_access_key is None:
        raise SettingsError("LARDER_S3_ACCESS_KEY_ID", "the bucket's user needs a key and a secret")
    name = POLICY.format(bucket=now.bucket_name)
    admin.policy_add(name, policy=policy(now.bucket_name))
    admin.user_add(now.s3_access_key_id, now.s3_secret_access_key.get_secret_value())
    admin.policy_set(name, user=now.s3_access_key_id)


def main() -> int:
    """Prepares the bucket as root, whose name and password stand in `MINIO_ROOT_*`; the exit code."""
    now, until = settings(), time.monotonic() + START_SECONDS
    while True:
        try:
            prepare(
                now,
                os.environ["MINIO_ROOT_USER"],
                os.environ["MINIO_ROOT_PASSWORD"],
                os.environ.get("LARDER_MONITOR_PASSWORD"),
            )
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
