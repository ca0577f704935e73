"""nnprof: how fast a network classifies tiles, where the time goes, what the next one will cost.

The commands call these functions; docs/api.md has an example of each. The public names load on
first use, so that importing nnprof costs nothing. A new public name stands in three places: the
imports, which only type checkers read; `_HOMES`, from which it loads; and `__all__`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nnprof._version import __version__

if TYPE_CHECKING:
    from typing import Any

    from nnprof.errors import NnprofError
    from nnprof.exporters.export import export
    from nnprof.exporters.models import load_model
    from nnprof.networks.families import parse_network
    from nnprof.networks.settings import TrainingSettings
    from nnprof.networks.spec import NetworkSpec
    from nnprof.networks.studies.study import Study, on_dataset, save_study, with_settings
    from nnprof.networks.studies.study import find as find_study
    from nnprof.networks.studies.trainings import seconds_of, start_study, train_jobs
    from nnprof.networks.train import train
    from nnprof.profiler.compare import CellComparison, Comparison, compare
    from nnprof.profiler.costmodel.across import Offer
    from nnprof.profiler.costmodel.ask import (
        Planned,
        fit_model,
        fit_models,
        plan,
        predict,
        predict_all,
        search,
    )
    from nnprof.profiler.costmodel.calibrate import Calibrating, Request, calibrate
    from nnprof.profiler.costmodel.calibrate import begun as calibrated_by
    from nnprof.profiler.costmodel.calibrate import fitted as calibrated
    from nnprof.profiler.costmodel.calibrate import start as start_calibration
    from nnprof.profiler.costmodel.kept import Kept
    from nnprof.profiler.costmodel.kept import found as kept_models
    from nnprof.profiler.costmodel.model import CostModel, Peaks
    from nnprof.profiler.costmodel.model import load as load_cost_model
    from nnprof.profiler.costmodel.model import save as save_cost_model
    from nnprof.profiler.costmodel.parted import OfTarget
    from nnprof.profiler.costmodel.prediction import Prediction
    from nnprof.profiler.costmodel.search import Candidate, Found
    from nnprof.profiler.deadlines import Claim, Verdict, verdicts
    from nnprof.profiler.decisions import decided
    from nnprof.profiler.diff.differ import diff
    from nnprof.profiler.diff.values import CellDiff, Diff, DiffNode, DiffRow, DiffSide
    from nnprof.profiler.doctor.examine import doctor
    from nnprof.profiler.doctor.findings import Diagnosis, Finding
    from nnprof.profiler.exports.made import ExportedRun, export_run
    from nnprof.profiler.figures import figure_grid
    from nnprof.profiler.fleet.kinds import Kind as BoardKind
    from nnprof.profiler.fleet.kinds import found as board_kinds
    from nnprof.profiler.fleet.kinds import names as board_names
    from nnprof.profiler.fleet.orders import News as BoardNews
    from nnprof.profiler.fleet.status import BoardStatus
    from nnprof.profiler.fleet.status import status as board_status
    from nnprof.profiler.fleet.sweep import resume as resume_fleet
    from nnprof.profiler.fleet.sweep import start as start_fleet
    from nnprof.profiler.fleet.sweep import sweep as sweep_fleet
    from nnprof.profiler.framed_cells import framed_cells
    from nnprof.profiler.grids import Grid
    from nnprof.profiler.grids import across as grid_across
    from nnprof.profiler.grids import of_run as grid_of_run
    from nnprof.profiler.importers.importer import Told
    from nnprof.profiler.importers.runs import import_run
    from nnprof.profiler.listed import studies_here
    from nnprof.profiler.page.write import write_report
    from nnprof.profiler.report.curves import plot_trainings
    from nnprof.profiler.report.drawn_grid import plot_grid
    from nnprof.profiler.report.drawn_varied import plot_varied
    from nnprof.profiler.report.maps import plot_maps
    from nnprof.profiler.report.predictions import plot_predictions
    from nnprof.profiler.report.rows import rows
    from nnprof.profiler.results import load, load_sides, save, save_new
    from nnprof.profiler.run.accuracy import parse as parse_precisions
    from nnprof.profiler.run.begin import probe, resume
    from nnprof.profiler.run.exported import Exported, export_file
    from nnprof.profiler.run.rounds import Step
    from nnprof.profiler.run.session import alone, is_complete, powered, start, start_pairs
    from nnprof.profiler.run.sweep import sweep
    from nnprof.profiler.stats import interval_s, latency_s
    from nnprof.profiler.steady import Sustained
    from nnprof.profiler.steady import found as sustained
    from nnprof.profiler.studies import (
        Sides,
        bundled_cells,
        named_cells,
        study_cells,
        study_name,
    )
    from nnprof.profiler.trend import CellTrend, Trend, trend
    from nnprof.profiler.work.hosts import named_target
    from nnprof.types import (
        Cell,
        Failure,
        Measurement,
        Model,
        Plan,
        Run,
        Target,
        TrainingRecord,
        Workload,
    )

# Where each public name lives: module, or module:name where its name there is another.
_HOMES = {
    "BoardKind": "nnprof.profiler.fleet.kinds:Kind",
    "BoardNews": "nnprof.profiler.fleet.orders:News",
    "BoardStatus": "nnprof.profiler.fleet.status",
    "Calibrating": "nnprof.profiler.costmodel.calibrate",
    "Candidate": "nnprof.profiler.costmodel.search",
    "Cell": "nnprof.types",
    "CellComparison": "nnprof.profiler.compare",
    "CellDiff": "nnprof.profiler.diff.values",
    "CellTrend": "nnprof.profiler.trend",
    "Claim": "nnprof.profiler.deadlines",
    "Comparison": "nnprof.profiler.compare",
    "CostModel": "nnprof.profiler.costmodel.model",
    "Diff": "nnprof.profiler.diff.values",
    "DiffNode": "nnprof.profiler.diff.values",
    "DiffRow": "nnprof.profiler.diff.values",
    "DiffSide": "nnprof.profiler.diff.values",
    "Diagnosis": "nnprof.profiler.doctor.findings",
    "Exported": "nnprof.profiler.run.exported",
    "ExportedRun": "nnprof.profiler.exports.made",
    "Failure": "nnprof.types",
    "Finding": "nnprof.profiler.doctor.findings",
    "Found": "nnprof.profiler.costmodel.search",
    "Grid": "nnprof.profiler.grids",
    "Kept": "nnprof.profiler.costmodel.kept",
    "Measurement": "nnprof.types",
    "Model": "nnprof.types",
    "NetworkSpec": "nnprof.networks.spec",
    "NnprofError": "nnprof.errors",
    "Offer": "nnprof.profiler.costmodel.across",
    "OfTarget": "nnprof.profiler.costmodel.parted",
    "Peaks": "nnprof.profiler.costmodel.model",
    "Plan": "nnprof.types",
    "Planned": "nnprof.profiler.costmodel.ask",
    "Prediction": "nnprof.profiler.costmodel.prediction",
    "Request": "nnprof.profiler.costmodel.calibrate",
    "Run": "nnprof.types",
    "Sides": "nnprof.profiler.studies",
    "Step": "nnprof.profiler.run.rounds",
    "Study": "nnprof.networks.studies.study",
    "Sustained": "nnprof.profiler.steady",
    "Target": "nnprof.types",
    "Told": "nnprof.profiler.importers.importer",
    "TrainingRecord": "nnprof.types",
    "TrainingSettings": "nnprof.networks.settings",
    "Trend": "nnprof.profiler.trend",
    "Verdict": "nnprof.profiler.deadlines",
    "Workload": "nnprof.types",
    "alone": "nnprof.profiler.run.session",
    "board_kinds": "nnprof.profiler.fleet.kinds:found",
    "board_names": "nnprof.profiler.fleet.kinds:names",
    "board_status": "nnprof.profiler.fleet.status:status",
    "bundled_cells": "nnprof.profiler.studies",
    "calibrate": "nnprof.profiler.costmodel.calibrate",
    "calibrated": "nnprof.profiler.costmodel.calibrate:fitted",
    "calibrated_by": "nnprof.profiler.costmodel.calibrate:begun",
    "compare": "nnprof.profiler.compare",
    "decided": "nnprof.profiler.decisions",
    "diff": "nnprof.profiler.diff.differ",
    "doctor": "nnprof.profiler.doctor.examine",
    "export": "nnprof.exporters.export",
    "export_file": "nnprof.profiler.run.exported",
    "export_run": "nnprof.profiler.exports.made",
    "figure_grid": "nnprof.profiler.figures",
    "find_study": "nnprof.networks.studies.study:find",
    "fit_model": "nnprof.profiler.costmodel.ask",
    "fit_models": "nnprof.profiler.costmodel.ask",
    "framed_cells": "nnprof.profiler.framed_cells",
    "grid_across": "nnprof.profiler.grids:across",
    "grid_of_run": "nnprof.profiler.grids:of_run",
    "import_run": "nnprof.profiler.importers.runs",
    "interval_s": "nnprof.profiler.stats",
    "is_complete": "nnprof.profiler.run.session",
    "kept_models": "nnprof.profiler.costmodel.kept:found",
    "latency_s": "nnprof.profiler.stats",
    "load": "nnprof.profiler.results",
    "load_cost_model": "nnprof.profiler.costmodel.model:load",
    "load_model": "nnprof.exporters.models",
    "load_sides": "nnprof.profiler.results",
    "named_cells": "nnprof.profiler.studies",
    "named_target": "nnprof.profiler.work.hosts",
    "on_dataset": "nnprof.networks.studies.study",
    "parse_network": "nnprof.networks.families",
    "parse_precisions": "nnprof.profiler.run.accuracy:parse",
    "plan": "nnprof.profiler.costmodel.ask",
    "plot_grid": "nnprof.profiler.report.drawn_grid",
    "plot_maps": "nnprof.profiler.report.maps",
    "plot_predictions": "nnprof.profiler.report.predictions",
    "plot_trainings": "nnprof.profiler.report.curves",
    "plot_varied": "nnprof.profiler.report.drawn_varied",
    "powered": "nnprof.profiler.run.session",
    "predict": "nnprof.profiler.costmodel.ask",
    "predict_all": "nnprof.profiler.costmodel.ask",
    "probe": "nnprof.profiler.run.begin",
    "resume": "nnprof.profiler.run.begin",
    "resume_fleet": "nnprof.profiler.fleet.sweep:resume",
    "rows": "nnprof.profiler.report.rows",
    "save": "nnprof.profiler.results",
    "save_cost_model": "nnprof.profiler.costmodel.model:save",
    "save_new": "nnprof.profiler.results",
    "save_study": "nnprof.networks.studies.study",
    "search": "nnprof.profiler.costmodel.ask",
    "seconds_of": "nnprof.networks.studies.trainings",
    "start": "nnprof.profiler.run.session",
    "start_calibration": "nnprof.profiler.costmodel.calibrate:start",
    "start_fleet": "nnprof.profiler.fleet.sweep:start",
    "start_pairs": "nnprof.profiler.run.session",
    "start_study": "nnprof.networks.studies.trainings",
    "studies_here": "nnprof.profiler.listed",
    "study_cells": "nnprof.profiler.studies",
    "study_name": "nnprof.profiler.studies",
    "sustained": "nnprof.profiler.steady:found",
    "sweep": "nnprof.profiler.run.sweep",
    "sweep_fleet": "nnprof.profiler.fleet.sweep:sweep",
    "train": "nnprof.networks.train",
    "train_jobs": "nnprof.networks.studies.trainings",
    "trend": "nnprof.profiler.trend",
    "verdicts": "nnprof.profiler.deadlines",
    "with_settings": "nnprof.networks.studies.study",
    "write_report": "nnprof.profiler.page.write",
}

__all__ = [
    "BoardKind",
    "BoardNews",
    "BoardStatus",
    "Calibrating",
    "Candidate",
    "Cell",
    "CellComparison",
    "CellDiff",
    "CellTrend",
    "Claim",
    "Comparison",
    "CostModel",
    "Diagnosis",
    "Diff",
    "DiffNode",
    "DiffRow",
    "DiffSide",
    "Exported",
    "ExportedRun",
    "Failure",
    "Finding",
    "Found",
    "Grid",
    "Kept",
    "Measurement",
    "Model",
    "NetworkSpec",
    "NnprofError",
    "OfTarget",
    "Offer",
    "Peaks",
    "Plan",
    "Planned",
    "Prediction",
    "Request",
    "Run",
    "Sides",
    "Step",
    "Study",
    "Sustained",
    "Target",
    "Told",
    "TrainingRecord",
    "TrainingSettings",
    "Trend",
    "Verdict",
    "Workload",
    "__version__",
    "alone",
    "board_kinds",
    "board_names",
    "board_status",
    "bundled_cells",
    "calibrate",
    "calibrated",
    "calibrated_by",
    "compare",
    "decided",
    "diff",
    "doctor",
    "export",
    "export_file",
    "export_run",
    "figure_grid",
    "find_study",
    "fit_model",
    "fit_models",
    "framed_cells",
    "grid_across",
    "grid_of_run",
    "import_run",
    "interval_s",
    "is_complete",
    "kept_models",
    "latency_s",
    "load",
    "load_cost_model",
    "load_model",
    "load_sides",
    "named_cells",
    "named_target",
    "on_dataset",
    "parse_network",
    "parse_precisions",
    "plan",
    "plot_grid",
    "plot_maps",
    "plot_predictions",
    "plot_trainings",
    "plot_varied",
    "powered",
    "predict",
    "predict_all",
    "probe",
    "resume",
    "resume_fleet",
    "rows",
    "save",
    "save_cost_model",
    "save_new",
    "save_study",
    "search",
    "seconds_of",
    "start",
    "start_calibration",
    "start_fleet",
    "start_pairs",
    "start_study",
    "studies_here",
    "study_cells",
    "study_name",
    "sustained",
    "sweep",
    "sweep_fleet",
    "train",
    "train_jobs",
    "trend",
    "verdicts",
    "with_settings",
    "write_report",
]


if not TYPE_CHECKING:  # a checker that saw it would take any name for Any

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'nnprof' has no attribute '{name}'")
        module, _, attribute = _HOMES[name].partition(":")
        return getattr(import_module(module), attribute or name)
