# SPDX-License-Identifier: GPL-3.0-or-later
"""Contract 3: what Blender and the backend say to each other, one JSON object a line, UTF-8.

Blender starts ``python -m idto3d worker`` and writes requests to its stdin; events come on its stdout; stderr is a log.
Closed stdin means that Blender is gone: the worker checkpoints and ends. Jobs run one after the other, in the order in
which they were asked for; a job's name (any string, chosen by Blender) stands in each of its events.

Events, each with ``type``:

========= ==============================================================================================================
hello     first of all: protocol, version (of this package), python, torch, device ("cpu" | "cuda"), device_name,
          memory_gb (free), cores
heartbeat every second, from a thread of its own, also while a step takes long
queued    job, position: it waits behind so many others
progress  job, stage, step, steps, eta_seconds (of the stage, or null)
preview   job, kind "mesh": path of a .npz with vertices (V,3) float32 in the bundle's frame (metres, Z up, facing -Y),
          faces (F,3) int32 and, from the texture stage on, colours (V,3) uint8 sRGB. topology: an integer; while it stays,
          so do faces and the order of the vertices. kind "picture": path of a PNG. Files are written whole and never
          changed; the worker deletes all but the last three of a kind
warning   job, code, message
error     job (or null: the line was no good request), code, message, fix. Ends the job
cancelled job, resumable: asking for the same job again goes on from its checkpoint
done      job, bundle: folder
========= ==============================================================================================================

Requests:

========= ==============================================================================================================
generate  job, photos [path], out (folder of the bundle), pack (folder, or null: starter), quality "draft" | "standard" |
          "fine", expressions "all" or names with commas, prompt, seed, previews (a folder for preview files, or null)
cancel    job: acts at the next step, keeps the checkpoint; a waiting job is dropped
shutdown  cancel everything and end
========= ==============================================================================================================
"""

from __future__ import annotations

PROTOCOL_VERSION = 1
HEARTBEAT_SECONDS = 1.0
