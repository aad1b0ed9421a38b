"""Executes the notebooks, and keeps of their outputs what is needed to read them.

``python docs/notebooks/execute.py`` writes them again; a test executes them and
compares. A notebook works in a new folder, so that it shows no path of a machine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).parent
NAMES = ("first_plate", "polarity")
SECONDS = 300
"""Longest time of a cell."""


def execute(path: Path, folder: Path) -> NotebookNode:
    """Execute a notebook in a folder; return it with its outputs, made small.

    Raises nbclient.exceptions.CellExecutionError if a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.create_kernel_manager()
    with tempfile.TemporaryDirectory() as private:
        # Sockets that nobody else can enter: other users could send it code by TCP.
        client.km.transport, client.km.ip = "ipc", f"{private}/kernel"
        client.execute()
    for cell in notebook.cells:
        cell.pop("execution_count", None)
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [_small(each, folder) for each in cell.outputs]
    notebook.metadata.pop("language_info", None)  # of the machine's own Python
    return notebook


def _small(output: NotebookNode, folder: Path) -> NotebookNode:
    """Return an output without paths, and without what is shown better."""
    data = output.get("data", {})
    if "text/html" in data:
        data.pop("text/plain", None)
        data["text/html"] = data["text/html"].replace(f"{folder}/", "")
    if "execution_count" in output:
        output.execution_count = None
    return output


def main() -> None:
    """Execute every notebook and write it back."""
    for name in NAMES:
        path = HERE / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, Path(folder).resolve())
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
