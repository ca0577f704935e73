"""One file per kind of device, behind the port `Device`: facts and readings, without a runtime.

They come from small system files, by pure functions; `cuda` asks NVML. Imports the ports only.
A new kind of device or board is a file here and a line under `nnprof.devices` in `setup.cfg`.
"""
