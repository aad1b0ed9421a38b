"""The report of a run: its folder in, one self-contained HTML file out.

    summary in words · planted spots · plate maps · plate browser · polarity ·
    dose response · channels compared · dense sites · wells and cells · way to the
    edge · depth · fields to look at · flags · facts

The page loads nothing from elsewhere. Each figure is also written as SVG, and its
numbers as CSV, into report/ beside the page. Nothing here computes statistics or alters
a value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from deepspot_scale.io.plate import Plate
from deepspot_scale.report import html, sections
from deepspot_scale.report.browser_script import SCRIPT
from deepspot_scale.report.cell_spots import spread_section
from deepspot_scale.report.compared_channels import (
    compared_figures,
    compared_table,
    compared_words,
)
from deepspot_scale.report.dense_sites import (
    read_sites,
    site_figure,
    site_table,
    site_words,
)
from deepspot_scale.report.dose_curves import dose_section
from deepspot_scale.report.further_tables import list_layers, summarise_tables
from deepspot_scale.report.gallery import choose_fields, gallery
from deepspot_scale.report.localised_movies import (
    movie_figures,
    movie_pictures,
    movie_table,
    movie_words,
)
from deepspot_scale.report.page_folder import FOLDER, PageFiles
from deepspot_scale.report.planted_spots import (
    planted_columns,
    planted_table,
    planted_words,
)
from deepspot_scale.report.plate_browser import plate_browser
from deepspot_scale.report.quality_flags import FLAGS, count_raw_spots, flag_fields
from deepspot_scale.report.radial_curves import profile_section
from deepspot_scale.report.ratings import (
    lowest_images,
    lowest_ratings,
    lowest_words,
    rating_figures,
    rating_table,
    rating_words,
    read_ratings,
)
from deepspot_scale.report.score_map import small_maps
from deepspot_scale.report.summary import headline, readable, sentences
from deepspot_scale.runs.left_out import read_least
from deepspot_scale.runs.progress import Tell, counted
from deepspot_scale.runs.results import RunResults, open_run
from deepspot_scale.runs.summarise import MOST_COMPARED, with_statistics
from deepspot_scale.statistics.groups import FIELD
from deepspot_scale.statistics.sector_index import ROTATION_NOTES
from deepspot_scale.tables import empty_table
from deepspot_scale.vocabulary import QUALITY, FieldAddress
from deepspot_scale.words import plural


def write_report(
    run_folder: str | os.PathLike[str],
    *,
    plate: Plate | None = None,
    min_quality: float | None = None,
    progress: Tell | None = None,
) -> Path:
    """Write ``report.html`` and ``report/`` into the folder of a run.

    Parameters
    ----------
    run_folder
        Folder of a finished run. Statistics that it lacks because an earlier version
        made it are measured and written first.
    plate
        The run's input, for pictures; None: no pictures.
    min_quality
        Least score of images that count, of a run that rated them; the statistics are
        made again with it, and keep it. None: as they are.
    progress
        Called with what is counted (parts of cells, statistics, fields, pictures,
        sections), and the numbers of finished and all of it.

    Returns
    -------
    Path
        The page that was written.

    Raises
    ------
    RunError
        There is no run, or it is not finished, or no image was rated and `min_quality`
        is given.
    SettingsError
        `min_quality` is not in 0 to 1.
    """
    run = with_statistics(
        open_run(os.fspath(run_folder)), min_quality=min_quality, tell=progress
    )
    if run.settings.of_movies:
        plans, files = _movie_parts(run)
        return _write_page(run, "Molecules of movies", _make(plans, progress), files)
    measured = "quality" in run.contents.tables
    quality = run.read("quality") if measured else empty_table(QUALITY)
    raw = count_raw_spots(run, plate, progress)
    flags = flag_fields(run, quality, raw, progress)
    files, browser = PageFiles(), plate_browser(run, plate, flags, progress)
    shown = _gallery(run, plate, choose_fields(run, quality, flags), progress)
    parts = _make(
        {
            "summary": ("In short", partial(_summary, run, flags)),
            "planted": ("Planted spots", partial(_planted, run, files)),
            "plate": ("Plate", partial(_plate, run, files)),
            "browser": ("Plate browser", lambda: browser),
            "polarity": ("Polarity", partial(_polarity, run, files)),
            "dose": ("Dose response", partial(dose_section, run, files)),
            "compared": ("Channels compared", partial(_compared, run, files)),
            "sites": ("Dense sites", partial(_sites, run, files)),
            "wells": ("Every well", partial(_wells, run, files)),
            "radial": ("From nucleus to edge", partial(profile_section, run, files)),
            "depth": ("Depth", partial(_depth, run, files)),
            "fields": ("Fields to look at", lambda: shown),
            "quality": (
                "Quality of the fields",
                partial(_quality, run, quality, flags, files),
            ),
            "further": ("What else was measured", partial(_further, run, files)),
            "run": ("The run", partial(_facts, run)),
        },
        progress,
    )
    script = SCRIPT if browser else ""
    return _write_page(run, "Spots and polarity", parts, files, script=script)


Parts = Mapping[str, tuple[str, str]]
"""Title and HTML of each section, by its name."""
Plans = Mapping[str, tuple[str, Callable[[], str]]]
"""The same before it is made."""


def _make(plans: Plans, tell: Tell | None) -> Parts:
    each = counted(plans.items(), "sections", len(plans), tell)
    return {name: (heading, make()) for name, (heading, make) in each}


def _movie_parts(run: RunResults) -> tuple[Plans, PageFiles]:
    """Return the sections of a run that localises molecules."""
    files, tables = PageFiles(), run.movie_tables
    failed = run.failed[[*FIELD, "reason"]]
    parts: dict[str, tuple[str, Callable[[], str]]] = {}
    if tables:
        movies = tables["movies"]
        parts = {
            "summary": ("In short", partial(movie_words, run, movies)),
            "pictures": ("Pictures", partial(movie_pictures, run, movies)),
            "movies": ("Movies", partial(_movies, tables, files)),
        }
    if len(failed):
        table = partial(files.table, "failed", failed, failed)
        parts["failed"] = ("What failed", table)
    return {**parts, "run": ("The run", partial(_facts, run))}, files


def _movies(tables: dict[str, pd.DataFrame], files: PageFiles) -> str:
    movies = tables["movies"]
    figures = "".join(map(files.figure, movie_figures(tables)))
    return files.table("movies", movies, movie_table(movies)) + figures


def _write_page(
    run: RunResults, title: str, parts: Parts, files: PageFiles, *, script: str = ""
) -> Path:
    body = _header(run, title, parts) + "".join(
        f"<section id='{name}'><h2>{heading}</h2>{text}</section>"
        for name, (heading, text) in parts.items()
        if text
    )
    text = html.page(f"{title}: {_name(run)}", body, script)
    files.write(run.folder, "report.html", text)
    return run.folder.local_path / "report.html"


def _name(run: RunResults) -> str:
    return run.plate_name or run.folder.local_path.name


def _header(run: RunResults, title: str, parts: Parts) -> str:
    started = str(run.provenance.get("started", ""))[:10]
    what = "frame" if run.settings.of_movies else "image"
    planes = plural(int(run.done["n_planes"].sum()), what)
    name = run.folder.local_path.resolve().name
    words = [f"Run {name}", started, f"{planes} processed"]
    links = "".join(
        f"<a href='#{name}'>{heading}</a>"
        for name, (heading, text) in parts.items()
        if text
    )
    return (
        f"<h1>{title}</h1><p class='soft'>{escape(_name(run))} · "
        f"{escape(' · '.join(filter(None, words)))}</p><nav>{links}</nav>"
    )


def _summary(run: RunResults, flags: pd.DataFrame) -> str:
    items = "".join(f"<li>{line}</li>" for line in sentences(run, flags))
    return f"{html.big_numbers(headline(run))}<ul>{items}</ul>"


def _planted(run: RunResults, files: PageFiles) -> str:
    table = planted_table(run)
    if table is None:
        return ""
    numbers = files.table("planted_spots", table, planted_columns(table))
    return planted_words(table) + numbers


def _plate(run: RunResults, files: PageFiles) -> str:
    if not (run.wells["row"] != "").any():
        shown = run.fields[["field", "n_spots", "n_cells", "status"]]
        return files.table("images", run.fields, shown) if len(shown) else ""
    maps = "".join(map(files.figure, sections.plate_maps(run)))
    kept = [c for c in run.wells if not str(c).startswith(("polarity_", "p_"))]
    wells = files.table("wells", run.wells, html.without_lone(run.wells[kept]))
    return (
        f"<div class='side'>{maps}</div>"
        f"<details><summary>Numbers of the wells</summary>{wells}</details>"
    )


def _polarity(run: RunResults, files: PageFiles) -> str:
    polarity = run.summaries["polarity"]
    if polarity["value"].isna().all():
        return ""
    parts = [polarity_note(polarity)]
    parts += map(files.figure, sections.polarity_figures(run))
    numbers = html.table(readable(polarity), file=f"{FOLDER}/polarity.csv")
    parts += ["<h3>Numbers</h3>", numbers]
    parts.append(
        "<p class='soft'>over cells, over wells: 95 % bootstrap intervals of the "
        "index; cells of a well are alike, so trust the one over wells. null: mean "
        "index of the same cells with their spots placed uniformly in their own "
        "cytoplasm. corrected: index "
        "minus null. p value: against that null; q value: adjusted for the number of "
        "conditions (Benjamini-Hochberg). p rotation: against references that point "
        "anywhere, which keeps clusters of spots together.</p>"
    )
    return "".join(parts) + _comparisons(run, files)


def polarity_note(polarity: pd.DataFrame) -> str:
    """Return how the index was measured, and its bias where it has one, as HTML."""
    notes = []
    for rotation in polarity["rotation"].unique():
        kind = " class='note'" if rotation == "published" else ""
        notes.append(f"<p{kind}>{escape(ROTATION_NOTES[rotation])}</p>")
    sectors = int(polarity["sectors"].iloc[0])
    return (
        "<p>The polarity index is 1 when the reference sector of every cell is denser "
        "than the other sectors usually are, 0 without a direction, and -1 in the "
        f"opposite case ({sectors} sectors about the nucleus, cytoplasm only).</p>"
        + "".join(notes)
    )


def _comparisons(run: RunResults, files: PageFiles) -> str:
    n_conditions = run.plate_map["condition"].nunique()
    if n_conditions > MOST_COMPARED:
        return (
            f"<p class='soft'>{n_conditions} conditions are too many to compare in "
            "pairs; use compare_conditions with a control.</p>"
        )
    comparisons = run.summaries["comparisons"]
    if comparisons.empty:
        return ""
    shown = html.without_lone(comparisons.drop(columns=["sectors", "rotation"]))
    shown = shown.rename(columns={"p_adjusted": "q_value"})
    return (
        "<h3>Differences between conditions</h3><p class='soft'>Differences of the "
        "mean corrected indices of wells, with Welch's 95 % interval; p by permuting "
        "wells; least p: the smallest that so many wells can give.</p>"
        + files.table("comparisons", comparisons, shown)
    )


def _wells(run: RunResults, files: PageFiles) -> str:
    drawn = "".join(map(files.figure, sections.well_figures(run)))
    return drawn + spread_section(run, files)


def _depth(run: RunResults, files: PageFiles) -> str:
    plot = sections.depth_figure(run) if run.settings.in_volume else None
    return files.figure(plot) if plot else ""


def _compared(run: RunResults, files: PageFiles) -> str:
    words = compared_words(run)
    if not words:
        return ""
    parts = [words, *map(files.figure, compared_figures(run))]
    tables = {
        "colocalisation": compared_table(run),
        "chromatic_shifts": run.summaries["chromatic_shifts"],
    }
    for name, shown in tables.items():
        parts.append(files.table(name, run.summaries[name], shown))
    return "".join(parts)


def _sites(run: RunResults, files: PageFiles) -> str:
    sites = read_sites(run)
    words = site_words(run, sites)
    if sites.empty:
        return words
    table = site_table(run, sites)
    plot = site_figure(sites)
    return (
        words
        + files.table("sites", table, table)
        + (files.figure(plot) if plot else "")
    )


def _gallery(
    run: RunResults,
    plate: Plate | None,
    chosen: dict[FieldAddress, list[str]],
    tell: Tell | None,
) -> str:
    if plate is None:
        return "<p class='soft'>The plate was not found, so there are no images.</p>"
    if not chosen:
        return ""
    key = (
        "<p class='soft'>From left to right: the raw image; the enhanced one, where "
        "the run kept it; the raw one with spots (orange rings), cells (blue), nuclei "
        "(dashed blue) and the "
        "sectors about each nucleus (yellow; solid lines bound the reference sector). "
        "Grey values run from the 1st to the 99.8th percentile of what is shown."
    )
    if run.settings.in_volume:
        key += (
            " Stacks are shown as their maximum along z, the first also from two sides."
        )
    key += "</p>"
    return key + gallery(run, plate, chosen, tell)


def _quality(
    run: RunResults, quality: pd.DataFrame, flags: pd.DataFrame, files: PageFiles
) -> str:
    if run.fields.empty:
        return ""
    rated = _ratings(run, files)
    known = len(quality[FIELD].drop_duplicates())
    where = f"in {plural(known, 'field')}" if known else "in no field of this run"
    note = (
        f"<p class='soft'>Saturation and focus were measured {where}. "
        f"{'Other flags' if len(run.summaries['left_out']) else 'Flags'} exclude "
        "nothing: look at the image.</p>"
    )
    if rated:
        rated += "<h3>Flags</h3>"
    if flags.empty:
        return f"{rated}<p>No field has a flag.</p>{note}"
    counts = flags["flag"].value_counts()
    items = "".join(
        f"<li><b>{escape(flag)}</b>, {plural(int(counts[flag]), 'field')}: "
        f"{escape(meaning)}.</li>"
        for flag, meaning in FLAGS.items()
        if flag in counts
    )
    failed = len(run.failed)
    title = f"<h3>{plural(failed, 'field')} failed</h3>" if failed else ""
    reasons = run.failed[[*FIELD, "reason"]]
    failures = files.table("failed_fields", reasons, reasons) if failed else ""
    others = flags[flags["flag"] != "failed"]
    listed = files.table("flags", flags, others) if len(others) else ""
    return f"{rated}<ul>{items}</ul>{note}{listed}{title}{failures}"


def _ratings(run: RunResults, files: PageFiles) -> str:
    """Return how good the images are; empty: they were not rated."""
    ratings = read_ratings(run)
    if ratings.empty:
        return ""
    maps = "".join(map(files.figure, rating_figures(run, ratings)))
    groups = rating_table(run, ratings)
    low = lowest_ratings(run, ratings)
    lowest = lowest_images(run, low)
    listed = (
        f"<h3>Images that score least</h3>{lowest_words(low, ratings)}"
        f"{small_maps(run, low)}{files.table('lowest_scores', ratings, lowest)}"
    )
    return (
        f"<h3>How good the images are</h3>{rating_words(run, ratings)}"
        f"<div class='side'>{maps}</div>{files.table('ratings', groups, groups)}"
        f"{listed if len(low) else ''}"
    )


def _further(run: RunResults, files: PageFiles) -> str:
    """Return the tables and layers that no other section shows."""
    text = ""
    for name, (n_rows, lines) in summarise_tables(run).items():
        text += f"<h3>{escape(name)}</h3><p>{plural(n_rows, 'row')} in {name}/.</p>"
        text += files.table(f"table_{name}", lines, lines)
    layers = list_layers(run)
    if len(layers):
        text += "<h3>Layers</h3>" + files.table("layers", layers, layers)
    return text


def _facts(run: RunResults) -> str:
    settings = _flat(run.settings.to_dict(), "settings.")
    least = read_least(run)
    of_scores = [] if least is None else [("least score that counts", f"{least:g}")]
    facts = (*_time_facts(run), *of_scores, *_flat(run.provenance), *settings)
    return html.facts_table(list(facts))


def _time_facts(run: RunResults) -> Iterator[tuple[str, str]]:
    done = run.done
    seconds = done["seconds"]
    if done.empty or not float(seconds.sum()):
        return
    low, middle, high = seconds.quantile([0.05, 0.5, 0.95])
    span = f"{html.number(low)} to {html.number(high)}"
    text = f"{html.number(middle)} (median), {span} for 90 % of them"
    yield "seconds per field on its worker", text
    stages = done.filter(like="seconds_").sum()
    if stages.sum() > 0:
        shares = [
            f"{str(name).removeprefix('seconds_')} {share:.0%}"
            for name, share in (stages / stages.sum()).items()
        ]
        yield "of them by stage", ", ".join(shares)
    rate = float(done["n_planes"].sum() / seconds.sum())
    yield "images per second of one worker", html.number(rate)
    yield "workers", f"{done['worker'].nunique():,}"
    yield "time of all workers", f"{html.number(float(seconds.sum()) / 60)} minutes"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and texts of nested values, named `a.b` for b in a."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", str(value)
