"""The bucket's settings and keys, with a real store; Cloudflare's own API is a server of the test."""

import hashlib
import stat
from pathlib import Path

import boto3
import pytest
from pydantic import SecretStr

from deployments.bucket.errors import BucketError
from deployments.bucket.keys import CloudflareSettings, KeyMaker, Role, write_keys
from deployments.bucket.policy import BucketPolicy
from deployments.bucket.preparing import Bucket, Part
from deployments.local.addresses import StackAddresses
from gpu_tasks.settings import R2Settings
from tests.deploy.cloudflare import ACCOUNT, GROUPS, TOKEN, running_cloudflare
from tests.servers import RunningStack

POLICY = BucketPolicy(origins=("https://page.example.com",), uploads_days=7)


def settings(store: StackAddresses, **changes: str) -> R2Settings:
    return R2Settings.model_validate(store.r2.model_dump() | changes)


def test_a_bucket_is_prepared_once(stack: RunningStack) -> None:
    bucket = Bucket(settings(stack.addresses))
    bucket.check_objects()
    # Whatever another test has told it before.
    bucket.prepare(BucketPolicy())

    assert bucket.outdated(POLICY) == (Part.CORS, Part.LIFECYCLE)
    assert bucket.prepare(POLICY) == (Part.CORS, Part.LIFECYCLE)
    assert bucket.outdated(POLICY) == ()
    assert bucket.prepare(POLICY) == ()

    other = POLICY.model_copy(update={"work_days": 3})
    assert bucket.prepare(other) == (Part.LIFECYCLE,)


def test_what_is_wrong_with_a_bucket_is_named(stack: RunningStack) -> None:
    with pytest.raises(BucketError, match=r"no bucket elsewhere .* jurisdiction"):
        Bucket(settings(stack.addresses, bucket="elsewhere")).check_objects()
    with pytest.raises(BucketError, match="R2_SECRET_ACCESS_KEY"):
        Bucket(settings(stack.addresses, secret_access_key="another")).check_objects()
    with pytest.raises(BucketError, match="R2_ENDPOINT"):
        Bucket(settings(stack.addresses, endpoint="http://127.0.0.1:9")).check_objects()


def test_the_probe_leaves_nothing_behind(stack: RunningStack) -> None:
    Bucket(settings(stack.addresses)).check_objects()

    client = boto3.client(
        "s3",
        endpoint_url=stack.addresses.s3_endpoint,
        region_name=stack.addresses.s3_region,
        aws_access_key_id=stack.addresses.s3_access_key_id,
        aws_secret_access_key=stack.addresses.s3_secret_access_key.get_secret_value(),
    )
    assert "Contents" not in client.list_objects_v2(Bucket=stack.addresses.s3_bucket, Prefix="work/probe/")


def test_each_role_has_a_key_of_its_own_for_this_bucket_alone(tmp_path: Path) -> None:
    r2 = R2Settings(
        endpoint=f"https://{ACCOUNT}.eu.r2.cloudflarestorage.com",
        bucket="media",
        access_key_id="admin",
        secret_access_key=SecretStr("admin"),
    )
    with running_cloudflare() as cloudflare:
        access = CloudflareSettings(api_token=SecretStr(TOKEN), api_base=cloudflare.url)
        keys = KeyMaker(access, r2).make()
        made = cloudflare.tokens

    resources = {resource for token in made for policy in token["policies"] for resource in policy["resources"]}
    assert resources == {f"com.cloudflare.edge.r2.bucket.{ACCOUNT}_eu_media"}
    granted = [{GROUPS[group["id"]] for group in token["policies"][0]["permission_groups"]} for token in made]
    read, write = "Workers R2 Storage Bucket Item Read", "Workers R2 Storage Bucket Item Write"
    assert dict(zip(Role, granted, strict=True)) == {
        Role.API: {read, write},
        Role.WORKER: {read, write},
        Role.AUDITOR: {read},
    }
    assert [key.secret_access_key.get_secret_value() for key in keys] == [
        hashlib.sha256(token["value"].encode()).hexdigest() for token in made
    ]

    paths = write_keys(keys, tmp_path / "keys")
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    with pytest.raises(BucketError, match="exists"):
        write_keys(keys, tmp_path / "keys")


def test_a_token_that_may_not_make_keys_is_named() -> None:
    r2 = R2Settings(
        endpoint=f"https://{ACCOUNT}.r2.cloudflarestorage.com",
        bucket="media",
        access_key_id="admin",
        secret_access_key=SecretStr("admin"),
    )
    with running_cloudflare() as cloudflare, pytest.raises(BucketError, match="CLOUDFLARE_API_TOKEN"):
        KeyMaker(CloudflareSettings(api_token=SecretStr("another"), api_base=cloudflare.url), r2).make()
