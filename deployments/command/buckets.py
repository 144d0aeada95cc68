"""`lipswap bucket`: what a bucket is told once, and the keys that work on it."""

from pathlib import Path
from typing import Annotated

import typer

from deployments.bucket.keys import CloudflareSettings, KeyMaker, write_keys
from deployments.bucket.preparing import Bucket
from deployments.command.exits import Exit, settings_of, told_errors, told_in
from deployments.command.options import File
from deployments.fleet.declaration import DEFAULT_FILE, read_declaration
from deployments.wording.messages import Message
from gpu_tasks.settings import R2Settings

bucket = typer.Typer(
    add_completion=False, no_args_is_help=True, help="The bucket: its settings, and one key for each role."
)


@bucket.command()
def check(context: typer.Context, file: File = DEFAULT_FILE) -> None:
    """Write and read an object, and tell what is not as the file says; exits with 0 when all is."""
    told = told_in(context)
    with told_errors(told):
        place = Bucket(settings_of(R2Settings))
        place.check_objects()
        outdated = place.outdated(read_declaration(file).bucket)
        if outdated:
            told.say(Message.BUCKET_OUTDATED, parts=", ".join(outdated), style="yellow")
            raise typer.Exit(Exit.FAILED)
        told.say(Message.BUCKET_RIGHT, style="green")


@bucket.command()
def prepare(
    context: typer.Context,
    file: File = DEFAULT_FILE,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys", help="Make a key for each role by CLOUDFLARE_API_TOKEN, and write them into this folder."
        ),
    ] = None,
) -> None:
    """Check the bucket and set CORS and lifecycle; the key needs Admin Read & Write."""
    told = told_in(context)
    with told_errors(told):
        settings = settings_of(R2Settings)
        place = Bucket(settings)
        place.check_objects()
        changed = place.prepare(read_declaration(file).bucket)
        told.say(Message.BUCKET_PREPARED, parts=", ".join(changed) or "-", style="green")
        if keys is not None:
            made = KeyMaker(settings_of(CloudflareSettings), settings).make()
            for path in write_keys(made, keys):
                told.say(Message.WROTE, path=path)
