"""Tests mirror the package: a module's tests are where its name says, or here is why.

A new module needs ``tests/ROOM/test_NAME.py``, or a line below with its reason.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import deepspot_scale

PACKAGE = Path(deepspot_scale.__file__).parent
TESTS = Path(__file__).parent
TESTED_ELSEWHERE = {
    "blockwise.answers": "a declaration of types that stages exchange",
    "blockwise.ratings": "sums, rows and counts in stages/test_rating.py",
    "blockwise.shapes": "each shape is a toy stage in test_new_stage.py",
    "blockwise.spots": "the contract of detectors in stages/detection/test_detect.py",
    "cli.__main__": "one call; started as a process in test_cli.py",
    "cli.application": "exit codes in test_cli.py, --version in cli/test_commands.py",
    "cli.describe": "printed by info and run in test_cli.py, columns in test_readme.py",
    "cli.localisation": "run as commands in runs/test_movie_summary.py",
    "cli.models": "run as commands in cli/test_commands.py",
    "cli.plates": "run as commands in test_cli.py and cli/test_commands.py",
    "cli.results": "run as commands in cli/test_commands.py",
    "cli.runs": "run as commands in test_cli.py and cli/test_options.py",
    "cluster.external": "a running scheduler in cluster/test_client.py",
    "cluster.jobs": "logs in cluster/test_queue.py, refusals in cluster/test_slurm.py",
    "cluster.kubernetes": "manifests and operator in deploy/test_kubernetes.py",
    "cluster.options": "every invalid option in cluster/test_client.py",
    "cluster.srun": "tasks and GPUs in cluster/test_client.py and test_slurm.py",
    "cluster.worker": "GPUs in cluster/test_gpu.py, memory in test_worker_memory.py",
    "config": "files and unknown names in test_settings.py, training/test_recipe.py",
    "dashboard.events": "written and read back in dashboard/test_state.py",
    "dashboard.figures": "what they draw in dashboard/test_page.py",
    "dashboard.publisher": "needs a scheduler: dashboard/test_live.py",
    "dashboard.scheduler_plugin": "needs a scheduler: dashboard/test_live.py",
    "demo_movie": "localise --demo in cli/test_localise_demo.py",
    "errors": "classes; each is raised in the tests of the room that raises it",
    "evaluation.datasets": "data sets by name in evaluation/test_evaluate.py",
    "evaluation.detector_agreement": "counts in evaluation/test_compared_detectors.py",
    "evaluation.detector_crops": "on the page of evaluation/test_compared_detectors.py",
    "evaluation.detector_figures": "drawn in evaluation/test_compared_detectors.py",
    "evaluation.detector_page": "whole pages in evaluation/test_compared_detectors.py",
    "evaluation.detector_runs": "continued in evaluation/test_compared_detectors.py",
    "evaluation.figures": "drawn in evaluation/test_report.py",
    "evaluation.localisation_figures": (
        "drawn in evaluation/test_localisation_report.py"
    ),
    "evaluation.quality_figures": "drawn for a page in evaluation/test_quality.py",
    "evaluation.quality_kinds": "summaries in evaluation/test_object_scores.py",
    "evaluation.scores": "scored by hand in evaluation/test_evaluate.py",
    "evaluation.tables": "grouped in evaluation/test_evaluate.py and test_report.py",
    "evaluation.text": "sentences in evaluation/test_report.py",
    "execution.planes": "planes and batches in execution/test_field.py",
    "expert_study.requests": "asked over HTTP in expert_study/test_server.py",
    "exports.denoised_plate": "pixels, places, failed fields in cli/test_denoising.py",
    "exports.libraries": "a missing library in exports/test_formats.py",
    "exports.measures": "columns in exports/test_results.py and test_csv_folder.py",
    "exports.pixels": "axes and projections in exports/test_viewer.py",
    "fractal.task_list": "made into the manifest in fractal/test_find_spots.py",
    "io.conversion.field_files": "io/conversion/test_microscope_folders.py has stacks",
    "io.conversion.field_stack": "stacks and masks in io/conversion/test_convert.py",
    "io.conversion.mask_files": "names of masks in io/conversion/test_convert.py",
    "io.conversion.plan": "plans and refusals in io/conversion/test_convert.py",
    "io.conversion.schemes": "names in io/conversion/test_microscope_folders.py",
    "io.field": "planes, windows, channels and labels in io/test_plate.py",
    "io.image_files.annotated_table": "read in io/image_files/test_annotated_images.py",
    "io.image_files.beside": "sizes in io/conversion/test_microscope_folders.py",
    "io.image_files.nd2_frames": "real frames in io/image_files/test_bioio_files.py",
    "io.image_files.planes": "every kind of file in io/image_files/test_tiff_png.py",
    "io.image_files.tiff_pages": "damaged files in io/image_files/test_tiff_png.py",
    "io.image_files.tiff_tags": "names and sizes in io/conversion/test_convert.py",
    "io.image_files.xml": "entities and records in io/image_files/test_ome_sets.py",
    "io.movie_brightness": "the scale of segments in io/test_movies.py",
    "io.movie_frames": "axes, cuts and lost chunks in io/test_movies.py",
    "io.ome_zarr.creation": "addresses and overwriting in io/ome_zarr/test_writing.py",
    "io.ome_zarr.layout": "invalid layouts in io/ome_zarr/test_writing.py",
    "io.ome_zarr.metadata_blocks": "parsed back in io/ome_zarr/test_metadata.py",
    "io.ome_zarr.zarr_images": "levels and plain arrays in io/test_plate.py",
    "kernels.displacements": "planted shifts, clusters in kernels/test_chromatic.py",
    "napari_plugin.controls": "moved and pressed in napari_plugin/test_panel.py",
    "napari_plugin.reader": "in napari_plugin/test_tuning.py and test_panel.py",
    "napari_plugin.shown": "layers of a window in napari_plugin/test_panel.py",
    "napari_plugin.sources": "runs and plates in napari_plugin/test_tuning.py",
    "networks.adapters.spotiflow": (
        "models and refusals in stages/detection/adapters/test_spotiflow.py"
    ),
    "networks.devices": "GPUs that are there or not in networks/test_engines.py",
    "networks.engine_types": "declarations, used throughout networks/test_engines.py",
    "networks.keras_engine": "the contract of engines in networks/test_engines.py",
    "networks.keras_library": "a missing Keras in test_without_keras.py",
    "networks.model_list": "printed and verified in cli/test_commands.py",
    "networks.openvino.cache": "exports in networks/openvino/test_quantise.py",
    "networks.openvino.engine": "the contract of engines in networks/test_engines.py",
    "networks.openvino.library": "loaded in networks/openvino/test_translate.py",
    "networks.rater_models": "answers read in stages/test_rating.py",
    "networks.rating_cnn": "beside the other family in networks/test_rater.py",
    "plugins": "own and unknown detectors by name in test_cli.py",
    "report.browser_script": "its keys, in Chromium, in report/test_browser.py",
    "report.field_image": "pixels and marks in report/test_figures.py",
    "report.further_tables": "tables and layers of toy stages in test_new_stage.py",
    "report.gallery": "chosen fields in report/test_quality_flags.py",
    "report.html": "escaping in report/test_page.py",
    "report.localised_movies": "pictures and figures in runs/test_movie_summary.py",
    "report.page_folder": "what is written and removed in report/test_page.py",
    "report.planted_spots": "words on a whole page in cli/test_denoising.py",
    "report.roses": "angles and lengths in report/test_figures.py",
    "report.score_map": "drawn in report/test_ratings.py",
    "report.sections": "figures of a whole page in report/test_page.py",
    "report.shown_plane": "windows and planes in report/test_orthogonal_views.py",
    "report.summary": "sentences in report/test_page.py",
    "report.thumbnails": "size, bytes and looks in report/test_plate_browser.py",
    "runs.camera_file": "a file and unknown words in runs/test_movie_summary.py",
    "runs.compared_parts": "parts, their labels and depth in runs/test_colocalise.py",
    "runs.contents": "written and read back in test_new_stage.py",
    "runs.dispatch": "batches and lost workers in runs/test_execute.py",
    "runs.job": "what workers are sent in runs/test_process.py",
    "runs.kept_layers": "layers in exports/test_viewer.py, runs/test_odd_fields.py",
    "runs.movie_parts": "segments in order in runs/test_movie_summary.py",
    "runs.progress": "lines in cli/test_progress.py, sums in runs/test_execute.py",
    "runs.status": "bad fields in runs/test_bad_fields.py, the command in test_cli.py",
    "simulation.backgrounds": "under the spots of simulation/test_broad.py",
    "simulation.camera": "noise and files in simulation/test_broad.py",
    "simulation.wound_assay": "truth and image agree in test_demo.py",
    "stages.detection.wavelet": "with its stage in stages/detection/test_detect.py",
    "stages.polarity.cell_places": "with its stage in stages/polarity/test_measure.py",
    "stages.polarity.cell_sums": "with its stage in stages/polarity/test_measure.py",
    "stages.polarity.cell_voxels": "loops in stages/polarity/test_cell_volumes.py",
    "stages.segmentation.found": "labels in stages/segmentation/test_segment.py",
    "stages.segmentation.planes": "sizes in stages/segmentation/test_segment.py",
    "stages.segmentation.stars": "seams in stages/segmentation/test_segment.py",
    "stages.volume": "with its detector in stages/detection/test_volume.py",
    "statistics.groups": "called by every summary in statistics/test_summaries.py",
    "statistics.left_out": "rows of a run in runs/test_left_out.py",
    "statistics.roses": "angles and lengths in report/test_figures.py",
    "testing.detectors": "good and bad detectors in test_testing.py",
    "testing.engines": "every engine in networks/test_engines.py",
    "testing.steps": "good and bad steps in test_testing.py",
    "testing.tables": "called by each check in test_testing.py",
    "training.artifacts": "files of a training in training/test_trainer.py",
    "training.denoising_recipe": "a recipe table in training/test_denoising_scenes.py",
    "training.localisation_recipe": "ranges in training/test_localisation_scenes.py",
    "training.log": "rows of a training in training/test_trainer.py",
    "training.optimiser": "steps of a training in training/test_trainer.py",
    "training.rating_recipe": "read in training/test_rating_scenes.py",
    "training.search": "search files in training/test_tuning.py",
    "training.study": "studies in training/test_tuning.py",
    "training.volume_recipe": "ranges in training/test_volume_scenes.py",
    "verbs.cells": "each verb in the tests of its stage",
    "verbs.images": "each verb in the tests of its stage",
    "verbs.movies": "arrays, lazy and not, in stages/test_localisation.py",
    "verbs.rating": "equal to the tables of stages/test_rating.py",
    "vocabulary": "columns in test_readme.py, names of wells in test_cli.py",
}


def _modules() -> dict[str, Path]:
    """Return the test file of each module by the module's name."""
    paths = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return {
        ".".join(path.with_suffix("").parts): TESTS / path.parent / f"test_{path.name}"
        for path in paths
        if path.name != "__init__.py"
    }


def test_every_module_has_its_test_file_or_a_reason() -> None:
    lacking = {name for name, test in _modules().items() if not test.is_file()}
    assert sorted(lacking - TESTED_ELSEWHERE.keys()) == []


def test_a_reason_is_only_for_a_module_that_is_there_and_has_no_test_file() -> None:
    modules = _modules()
    assert sorted(TESTED_ELSEWHERE.keys() - modules.keys()) == []
    assert [name for name in TESTED_ELSEWHERE if modules[name].is_file()] == []


@pytest.mark.parametrize(("name", "reason"), TESTED_ELSEWHERE.items())
def test_a_reason_names_test_files_that_are_there(name: str, reason: str) -> None:
    assert len(reason.split()) > 2
    room = TESTS
    for word in reason.replace(",", "").replace(":", "").split():
        if word.endswith(".py"):
            path = TESTS / word
            # A bare second name lies beside the first.
            assert path.is_file() or (room / word).is_file(), (name, word)
            room = path.parent


def test_the_reasons_are_sorted() -> None:
    assert list(TESTED_ELSEWHERE) == sorted(TESTED_ELSEWHERE)
