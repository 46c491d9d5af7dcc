"""`trocar config`: check a configuration, and seal one that was approved."""

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Check a configuration; seal one that was approved.")
    group.command("check")(check)
    group.command("seal")(seal)
    app.add_typer(group, name="config", rich_help_panel="Run the daemon")


def check(
    file: Annotated[str, typer.Argument(help="A TOML file, or the name of a shipped configuration.", metavar="FILE")],
) -> None:
    """Check a configuration as `trocar up` does, its seal too, and start nothing."""
    from controller.config import load_config

    config = load_config(file)
    kind = "an emulated arm" if config.rig is not None else f"the arm at {config.driver.port}"
    typer.echo(f"{file}: {config.arm.name}, {kind}, {config.arm.description}: every key is in order.")
    if config.seal is None:
        typer.echo("It is not sealed, as an emulated arm's need not be.")
    else:
        typer.echo(f"Unchanged since it was sealed on {config.seal.date} by {config.seal.by}.")


def seal(
    file: Annotated[Path, typer.Argument(help="A TOML file; it is changed.", metavar="FILE")],
    by: Annotated[
        str | None, typer.Option("--by", help="Who approved it; left out: your user.", metavar="NAME")
    ] = None,
) -> None:
    """Write into a configuration what every key of it is now: `trocar up` refuses it once one was changed."""
    import tomllib

    from controller.config import load_config, named_files, read_config
    from controller.errors import ConfigError
    from controller.seal import sealed_text

    if not file.is_file():
        raise ConfigError(f"{file} is no file: give the path of a TOML file. A shipped one is copied first.")
    load_config(file, unsealed=True)  # a wrong one is not sealed
    text, source = read_config(file)
    sealed = sealed_text(source, text, named_files(source, tomllib.loads(text)), by=by or getpass.getuser())
    fresh = file.with_name(f".{file.name}.new")
    try:
        fresh.write_text(sealed, encoding="utf-8")
        fresh.chmod(file.stat().st_mode & 0o777)
        os.replace(fresh, file)  # noqa: PTH105 - the old one or the new one, never a part
    except OSError as error:
        raise ConfigError(f"{file} cannot be written ({error.strerror}): it is as it was.") from error
    finally:
        fresh.unlink(missing_ok=True)
    config = load_config(file)
    assert config.seal is not None
    typer.echo(f"{file}: sealed {len(config.seal.keys)} keys and {len(config.seal.files)} files, by {config.seal.by}.")
