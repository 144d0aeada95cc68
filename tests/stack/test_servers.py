import base64
import http.client
import json
import secrets
import stat
from contextlib import closing
from email.message import Message
from typing import NamedTuple
from urllib.parse import urlsplit

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from mypy_boto3_s3 import S3Client
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from deployments.local.addresses import StackAddresses
from deployments.local.credentials import load
from deployments.local.layout import load_ports
from deployments.local.services import ServiceName
from tests.servers import RunningStack
from tests.waiting import PATIENCE_SECONDS


def bucket_client(addresses: StackAddresses, secret: str | None = None) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=addresses.s3_endpoint,
        region_name=addresses.s3_region,
        aws_access_key_id=addresses.s3_access_key_id,
        aws_secret_access_key=secret or addresses.s3_secret_access_key.get_secret_value(),
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            retries={"total_max_attempts": 1},
        ),
    )


def basic(login: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def logged_in(addresses: StackAddresses) -> dict[str, str]:
    return basic(addresses.prefect_login.get_secret_value())


async def query(url: str, *statements: str) -> list[tuple[object, ...]]:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            for statement in statements:
                result = await connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        await engine.dispose()


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes


def ask(url: str, headers: dict[str, str] | None = None, *, method: str = "GET") -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS)
    with closing(connection):
        connection.request(method, parts.path or "/", headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def preflight(url: str, origin: str) -> Answer:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    return ask(f"{url}/uploads/audio/a.wav", headers, method="OPTIONS")


def family(pid: int) -> set[int]:
    return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}


def test_every_listener_is_on_loopback(servers: RunningStack) -> None:
    ours = set().union(*(family(pid) for pid in servers.pids().values()))
    listeners = [c for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN and c.pid in ours]
    assert {c.pid for c in listeners} == set(servers.pids().values())
    assert {c.laddr.ip for c in listeners if c.laddr} == {"127.0.0.1"}


def test_no_secret_is_on_a_command_line_or_in_a_log(servers: RunningStack) -> None:
    held = load(servers.credentials_path).secret_values()
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    logs = [path.read_text(errors="replace") for path in servers.logs_directory.rglob("*.log")]
    assert len(logs) == len(servers.pids())
    assert not [line for line in (*lines, *logs) for secret in held if secret in line]


def test_only_the_owner_reads_credentials_and_logs(servers: RunningStack) -> None:
    files = [servers.credentials_path, *servers.logs_directory.rglob("*.log")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_nobody_else_can_list_what_a_service_keeps(servers: RunningStack) -> None:
    root = servers.credentials_path.parent
    folders = [path for path in (root, *root.iterdir()) if path.is_dir()]
    assert len(folders) > 4
    assert not [path for path in folders if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]


def test_valkey_refuses_a_wrong_password(servers: RunningStack) -> None:
    parts = urlsplit(servers.addresses.redis_url.get_secret_value())
    once = Retry(NoBackoff(), retries=0)
    client = Redis(host=parts.hostname or "", port=parts.port or 0, password="wrong", retry=once)
    with client, pytest.raises(AuthenticationError):
        client.ping()


def test_valkey_keeps_its_keys_through_kill_9(servers: RunningStack) -> None:
    with Redis.from_url(servers.addresses.redis_url.get_secret_value()) as client:
        for number in range(200):
            client.set(f"kept:{number}", number)
        # While the disk is busy, what is written waits up to two seconds for it.
        assert client.execute_command("WAITAOF", 1, 0, 60_000) == [1, 0]
    servers.kill(ServiceName.VALKEY)
    servers.until_ready(ServiceName.VALKEY)
    with Redis.from_url(servers.addresses.redis_url.get_secret_value()) as client:
        assert client.get("kept:199") == b"199"


async def test_postgres_refuses_a_wrong_password(servers: RunningStack) -> None:
    addresses = servers.addresses
    right = urlsplit(addresses.postgres_url.get_secret_value())
    wrong = addresses.postgres_url.get_secret_value().replace(right.password or "", "wrong")
    with pytest.raises(Exception, match="password authentication failed"):
        await query(wrong, "select 1")


async def test_postgres_keeps_committed_rows_through_kill_9(servers: RunningStack) -> None:
    url = servers.addresses.postgres_url.get_secret_value()
    await query(url, "create table kept as select generate_series(1, 10000) as n")
    servers.kill(ServiceName.POSTGRES)
    servers.until_ready(ServiceName.POSTGRES)
    assert await query(url, "select count(*) from kept") == [(10000,)]


def test_the_bucket_refuses_a_wrong_key(servers: RunningStack) -> None:
    with pytest.raises(ClientError) as refused:
        bucket_client(servers.addresses, secret="wrong").list_objects_v2(Bucket=servers.addresses.s3_bucket)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_bucket_keeps_objects_and_their_media_type_through_kill_9(servers: RunningStack) -> None:
    addresses = servers.addresses
    client = bucket_client(addresses)
    bodies = {f"kept/{number}": secrets.token_bytes(1000) for number in range(20)}
    for key, body in bodies.items():
        client.put_object(Bucket=addresses.s3_bucket, Key=key, Body=body, ContentType="video/mp4")
    servers.kill(ServiceName.OBJECT_STORE)
    servers.until_ready(ServiceName.OBJECT_STORE)
    seen = {key: client.get_object(Bucket=addresses.s3_bucket, Key=key) for key in bodies}
    assert {answer["ContentType"] for answer in seen.values()} == {"video/mp4"}
    assert {key: answer["Body"].read() for key, answer in seen.items()} == bodies


def test_a_bucket_that_was_not_made_is_not_made_by_an_upload(servers: RunningStack) -> None:
    with pytest.raises(ClientError) as refused:
        bucket_client(servers.addresses).put_object(Bucket="another", Key="x", Body=b"x")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_only_our_own_pages_may_upload(servers: RunningStack) -> None:
    addresses = servers.addresses
    bucket = f"{addresses.s3_endpoint}/{addresses.s3_bucket}"
    assert preflight(bucket, addresses.page_url).headers["Access-Control-Allow-Origin"] == addresses.page_url
    assert preflight(bucket, "https://evil.example").status == 403
    assert preflight(f"{addresses.s3_endpoint}/lipswap-probe", "https://evil.example").status == 403


def test_the_filer_behind_the_bucket_hands_out_nothing(servers: RunningStack) -> None:
    addresses = servers.addresses
    bucket_client(addresses).put_object(Bucket=addresses.s3_bucket, Key="secret.txt", Body=b"secret")
    filer = load_ports(servers.credentials_path.with_name("ports.json")).weed_filer
    assert ask(f"http://127.0.0.1:{filer}/buckets/{addresses.s3_bucket}/secret.txt").status == 401


def test_prefect_serves_its_page_and_works_again_after_its_own_kill_9(servers: RunningStack) -> None:
    addresses = servers.addresses
    assert b"<html" in ask(addresses.prefect_ui_url).body
    servers.kill(ServiceName.PREFECT_SERVER)
    servers.until_ready(ServiceName.PREFECT_SERVER)
    told = ask(f"{addresses.prefect_api_url}/admin/settings", logged_in(addresses))
    assert json.loads(told.body)["server"]["analytics_enabled"] is False
    assert addresses.prefect_login.get_secret_value().encode() not in told.body


@pytest.mark.parametrize("login", [None, "operator:another", ""])
def test_another_account_of_the_machine_neither_reads_prefects_blocks_nor_makes_a_deployment(
    servers: RunningStack, login: str | None
) -> None:
    url, headers = servers.addresses.prefect_api_url, {} if login is None else basic(login)
    for path in ("admin/settings", "block_types/slug/secret", "deployments/filter", "csrf-token"):
        assert ask(f"{url}/{path}", headers).status == 401


def test_prefect_tells_no_foreign_page_what_it_knows(servers: RunningStack) -> None:
    url = f"{servers.addresses.prefect_api_url}/admin/version"
    told = ask(url, logged_in(servers.addresses) | {"Origin": "https://evil.example"})
    assert told.status == 200
    assert "Access-Control-Allow-Origin" not in told.headers


def test_a_restarted_server_listens_where_it_did(servers: RunningStack) -> None:
    before = servers.pids()[ServiceName.VALKEY]
    servers.restart(ServiceName.VALKEY)
    assert servers.pids()[ServiceName.VALKEY] != before
    with Redis.from_url(servers.addresses.redis_url.get_secret_value()) as client:
        assert client.ping()
