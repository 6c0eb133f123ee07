"""Run launchers: runs in containers with limits and cleanup, and local runs whose dead processes are detected.

`docker` and `reaper` need the extra `docker`. Only a deployment with Docker uses them.
"""
