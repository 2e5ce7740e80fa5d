"""Imports every module of `carry`: catches what one Python has and another lacks."""

import importlib
import pkgutil

import carry

names = [
    module.name
    for module in pkgutil.walk_packages(carry.__path__, "carry.")
    if not module.name.endswith("__main__")  # importing it runs the command line
]
for name in names:
    importlib.import_module(name)
print(f"hashed install and {len(names)} modules imported")
