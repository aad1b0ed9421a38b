#!/usr/bin/env bash
# Libraries: locan 0.22.0: load_SMLM_file on an SMLM file (.smlm, manifest version 0.2, the format of ShareLoc).
# Behaviour: the manifest's `units` and `offset` are not read. Positions in micrometres come out as they are stored, and
#   locan's own metadata say that they are nanometres; a column's offset, which the format has so that unsigned numbers
#   can stand for negative ones, is not added. Neither warning nor error nor log line.
# The guess: a reader that is written for the specification converts units, or refuses what is not nm: the specification
#   asks for one of both ("verify whether the unit is set to nm, otherwise it should raise error message"), and offsets
#   are a required field of each file.
# Why it matters: distances, densities and cluster sizes are wrong by a thousand, or channels are shifted against each
#   other by their offsets, in an object that says `nm` of itself.
# Seen 2026-11-29 (Python 3.11, numpy 2.4.6, pandas 3.1.1), x stored as 0.5 and 1.5:
#   units nm, no offset:     position_x [0.5, 1.5] nm
#   units um, no offset:     position_x [0.5, 1.5] nm
#   units nm, offset x 14:   position_x [0.5, 1.5] nm
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check locan==0.22.0 numpy==2.4.6 pandas==3.1.1
cd "$tmp"
HOME="$tmp" "$tmp/venv/bin/python" - <<'PY'
import json
import logging
import warnings
import zipfile

import locan
import numpy as np

HEADERS, DTYPES = ["frame", "x", "y"], ["uint32", "float64", "float64"]
rows = np.array([(1, 0.5, 2.0), (2, 1.5, 3.0)], list(zip(HEADERS, DTYPES)))
told = []


class Listen(logging.Handler):
    def emit(self, record):
        told.append(record.getMessage())


logging.getLogger("locan").addHandler(Listen(logging.WARNING))


def read(unit, offset):
    table = {
        "name": "smlm-table(binary)", "type": "table", "mode": "binary", "extension": ".bin", "columns": 3,
        "headers": HEADERS, "dtype": DTYPES, "shape": [1, 1, 1], "units": ["frame", unit, unit],
    }
    stored = {
        "name": "table-0.bin", "type": "table", "format": table["name"], "channel": "default", "rows": len(rows),
        "offset": offset,
    }
    manifest = {"format_version": "0.2", "formats": {table["name"]: table}, "files": [stored]}
    with zipfile.ZipFile("t.smlm", "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr(stored["name"], rows.tobytes())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = locan.load_SMLM_file("t.smlm")
    told.extend(text for text in (str(each.message) for each in caught) if "inplace" not in text)
    units = {each.name: each.unit for each in found.meta.localization_properties}
    return found.data["position_x"].tolist(), units["position_x"]


seen = []
for unit, offset, text in (("nm", {}, "no offset:"), ("um", {}, "no offset:"), ("nm", {"x": 14}, "offset x 14:")):
    seen.append(read(unit, offset))
    print("units %s, %-13s position_x %s %s" % (unit, text, *seen[-1]))
if seen != [([0.5, 1.5], "nm")] * 3 or told:
    raise SystemExit("the behaviour has changed: %s" % told)
PY
