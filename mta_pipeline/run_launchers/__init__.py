"""One container per run: what it may take, how it is launched, and what becomes of it.

Only a deployment with Docker uses this; it needs the extra `docker`, apart from `limits`, which assets use. What a
run does does not belong here.
"""
