"""One file per kind of device, behind the port `Device`: pure functions over small system files.

Imports the ports only; opens no runtime.
A new kind of device or board is a file here and a line under `nnprof.devices` in `setup.cfg`.
"""
