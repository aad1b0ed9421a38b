"""The commands of localisation microscopy: ``localise`` and ``render``.

Nothing here knows how molecules are found or drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from deepspot_scale.cli import options
from deepspot_scale.cli.application import app
from deepspot_scale.cli.notification import Served, notifies
from deepspot_scale.cli.runs import device_on, hold_and_run
from deepspot_scale.errors import SettingsError

PSFS = {"gaussian": "subpixel", "astigmatic": "deepstorm3d-1um"}
"""Model for the light of a molecule, where no model is named."""
Picture = Annotated[
    Literal["gaussian", "ash", "sum"],
    typer.Option(
        "--method",
        help="How molecules are drawn: as wide as they are uncertain; as an averaged "
        "shifted histogram; one pixel each.",
    ),
]
PictureSize = Annotated[
    float, typer.Option("--pixel", help="Edge of the picture's pixels in micrometres.")
]
Merge = Annotated[
    float,
    typer.Option(
        help="Nanometres that a molecule is off at most from frame to frame; 0: each "
        "counts in every frame."
    ),
]


@app.command()
@options.with_options()
@notifies("out")
def localise(
    out: Annotated[str, typer.Option(help="Run folder to write, or to continue.")],
    movie: Annotated[
        str | None,
        typer.Argument(help="TIFF, ND2 or OME-Zarr movie, a folder, or a plate."),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="A simulated movie, written beside OUT.")
    ] = False,
    pixel_size: Annotated[
        float | None,
        typer.Option(help="Edge of a pixel in micrometres; else of the metadata."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Shipped model or weights file; else the one for --psf.",
            autocompletion=options.complete_model,
        ),
    ] = None,
    psf: Annotated[
        str, typer.Option(help=f"Light of a molecule: {', '.join(PSFS)}.")
    ] = "gaussian",
    density: Annotated[
        float | None,
        typer.Option(help="Molecules per square micrometre and frame, to be checked."),
    ] = None,
    camera: Annotated[
        Path | None,
        typer.Option(help="TOML of offset, gain, em_gain, wavelength_nm, ..."),
    ] = None,
    psf_sigma: Annotated[
        float | None,
        typer.Option(help="Standard deviation of a molecule's light, nanometres."),
    ] = None,
    certainty: Annotated[
        float | None, typer.Option(help="Least certainty; else the model's own.")
    ] = None,
    channels: options.Channels = None,
    pixel: PictureSize = 0.01,
    method: Picture = "gaussian",
    merge: Merge = 0.0,
    drift: Annotated[bool, typer.Option(help="Take the sample's drift off.")] = True,
    engine: Annotated[str, typer.Option(help="What runs the network.")] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Number format of the network."),
    ] = "float32",
    block: options.Block = 2560,
    limit: Annotated[
        int | None, typer.Option(help="Only so many segments of movies.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option(help="Try segments again that failed before.")
    ] = False,
    redo_changed: Annotated[
        bool, typer.Option(help="Do segments again whose files have changed since.")
    ] = False,
    device: options.Device = "auto",
    cluster: options.Cluster = "local",
    workers: options.Workers = None,
    trust: options.TrustWords = None,
) -> None:
    """Find the molecules of blinking movies and draw them as one picture.

    Example: deepspot-scale localise MOVIE.tif --pixel-size 0.1 --out RUN

    The same command again continues where the first one stopped. Frames are done in
    segments of a few seconds of work.
    """
    from deepspot_scale.cluster.client import read_cluster, serve
    from deepspot_scale.demo_movie import DEMO, simulate_movie_file
    from deepspot_scale.io.plate import open_plate
    from deepspot_scale.networks.localisers import check_density
    from deepspot_scale.runs.camera_file import read_camera
    from deepspot_scale.runs.prepare import Selection, prepare_run
    from deepspot_scale.settings import make_settings

    where = read_cluster(cluster, workers=workers)
    if serve(where):
        raise Served
    if (movie is None) != demo:
        raise SettingsError("give a movie, or --demo for a simulated one")
    known: dict[str, Any] = {"localiser": model or _model_for(psf)}
    if demo:
        movie = str(simulate_movie_file(Path(out).with_name(f"{Path(out).name}.tif")))
        known |= DEMO
    if camera is not None:
        known |= read_camera(camera)
    given = {
        "pixel_nm": None if pixel_size is None else 1000 * pixel_size,
        "psf_sigma_nm": psf_sigma,
        "certainty": certainty,
    }
    known |= {name: value for name, value in given.items() if value is not None}
    check_density(known["localiser"], density)
    known |= {
        "use": True,
        "localiser_engine": engine,
        "localiser_precision": precision,
        "picture": method,
        "picture_nm": 1000 * pixel,
        "merge_nm": merge,
        "drift": drift,
    }
    off = ("enhance", "detect", "quality", "clusters")
    others = {name: {"use": False} for name in off}
    source = str(movie)
    hold_and_run(
        out,
        where,
        lambda: prepare_run(
            open_plate(source, trust=trust or ()),
            out,
            make_settings(
                channels=tuple(channels or ["0"]),
                block=block,
                localise=known,
                **others,
            ),
            selection=Selection(limit=limit, redo_changed=redo_changed),
            device=device_on(where, device),
            threads=where.network_threads,
            retry_failed=retry_failed,
        ),
    )


def _model_for(psf: str) -> str:
    if psf not in PSFS:
        raise SettingsError(
            f"there is no model for --psf {psf}; expected one of {', '.join(PSFS)}. "
            "Train one for your microscope, and give it as --model"
        )
    return PSFS[psf]


@app.command()
def render(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    pixel: PictureSize = 0.01,
    method: Picture = "gaussian",
    merge: Merge = 0.0,
    photons: Annotated[
        bool, typer.Option("--photons", help="Brighter molecules count more.")
    ] = False,
) -> None:
    """Draw the molecules of a run again, otherwise, and write its tables of movies.

    Example: deepspot-scale render RUN --pixel 0.02 --method ash
    """
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.report.page import write_report
    from deepspot_scale.runs.lease import hold_run
    from deepspot_scale.runs.movie_summary import summarise_movies
    from deepspot_scale.runs.results import open_run
    from deepspot_scale.statistics.localisation_summary import PictureOptions
    from deepspot_scale.statistics.merged_localisations import Merging

    chosen = PictureOptions(
        1000 * pixel, method, by_photons=photons, merging=Merging(merge)
    )
    with hold_run(Folder(folder)):
        for picture in summarise_movies(open_run(folder), chosen):
            typer.echo(f"{folder}/{picture}")
        if Folder(folder).is_local:
            write_report(folder)
