"""`voice models`: list, download, verify and remove the models of the catalogue."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from services.shared.models.errors import ModelError, UnknownModel
from services.shared.models.store import ModelStatus, ModelStore

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Fetch, check and remove speech models."
)

_STYLE = {
    ModelStatus.PRESENT: "green",
    ModelStatus.MISSING: "dim",
    ModelStatus.CORRUPT: "bold red",
}

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", show_default=False)]


@app.command("list")
def list_models() -> None:
    """Show every model: kind, size, licence, and whether it is here."""
    store = ModelStore()
    table = Table(box=box.SIMPLE, caption=f"* default set. Folder: {store.root}")
    table.add_column("id", no_wrap=True)
    table.add_column("kind")
    table.add_column("size", justify="right")
    table.add_column("licence")
    table.add_column("state")
    for entry in store.catalogue.models:
        status = store.status(entry.id)
        table.add_row(
            entry.id + (" *" if entry.default else ""),
            entry.kind,
            megabytes(entry.size),
            entry.licence.name,
            f"[{_STYLE[status]}]{status}[/]",
        )
    Console().print(table)


@app.command()
def download(
    ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="Every model, 5 GB and more.")] = False,
) -> None:
    """Fetch models that are missing or damaged; without IDs the default set."""
    store = ModelStore()
    with _errors_told():
        download_with_progress(store, _chosen(store, ids, everything))


@app.command()
def verify(ids: Ids = None) -> None:
    """Hash every byte of models against the catalogue; without IDs those that are here."""
    store, console = ModelStore(), Console()
    present = [id for id in store.catalogue.ids if store.status(id) is not ModelStatus.MISSING]
    failed = False
    with _errors_told():
        chosen = _chosen(store, ids or present, everything=False)
    for model_id in chosen:
        try:
            store.verify(model_id)
        except ModelError as error:
            failed = True
            tell_error(console, error)
        else:
            console.print(f"[green]ok[/]  {model_id}", highlight=False)
    if not chosen:
        console.print(f"no models in {store.root}", highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def remove(ids: Annotated[list[str], typer.Argument(metavar="ID...")]) -> None:
    """Delete models from this machine."""
    store, console = ModelStore(), Console()
    with _errors_told():
        for model_id in _chosen(store, ids, everything=False):
            word = "removed" if store.remove(model_id) else "was not here:"
            console.print(f"{word} {model_id}", highlight=False)


def download_with_progress(store: ModelStore, model_ids: list[str]) -> None:
    """Download into `store` with a progress bar for each file that is fetched.

    Raises:
        ModelError: one sentence that says what failed.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TransferSpeedColumn,
    )

    from services.shared.models.download import Downloader

    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, TransferSpeedColumn(), console=console) as progress:

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)

        Downloader(store, on_progress=show).download(model_ids)
    for model_id in model_ids:
        console.print(
            f"[green]ready[/]  {model_id}  {store.path(model_id)}", highlight=False, soft_wrap=True
        )


def tell_error(console: Console, error: Exception) -> None:
    """Print an error's sentence as it is, on one line however long."""
    console.print(str(error), style="bold red", markup=False, highlight=False, soft_wrap=True)


def megabytes(size: int) -> str:
    """A size in bytes, for people."""
    return f"{size / 1e6:,.1f} MB"


def _chosen(store: ModelStore, ids: list[str] | None, everything: bool) -> list[str]:
    """What the arguments name, each once and checked. Raises UnknownModel."""
    if everything:
        return list(store.catalogue.ids)
    named = store.catalogue.default_ids if ids is None else ids
    return [store.catalogue.get(model_id).id for model_id in dict.fromkeys(named)]


@contextmanager
def _errors_told() -> Iterator[None]:
    """End with a sentence instead of a traceback: 2 for a wrong argument, 1 for a failure."""
    try:
        yield
    except ModelError as error:
        tell_error(Console(stderr=True), error)
        raise typer.Exit(2 if isinstance(error, UnknownModel) else 1) from None
