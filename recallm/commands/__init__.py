"""The commands of ``python -m recallm``, a module each; `recallm.__main__` loads the one that was asked for.

A module of a command has ``add(subparsers)``, which declares its arguments, and ``run(options)``, which prints its
result and returns an exit code: 0; 1 if there is nothing to show, or not all that was asked for; 2 after an error.
`output` prints tables, JSON and progress, `opening` opens what the arguments name, `embedding` chooses a model,
`finding` looks entries up, `exchange` is the format of files with entries, `payloads` shows a payload as data.

To add a command, write its module and name it in `recallm.__main__.COMMANDS`. It imports what is heavy, and what it
measures or asks with, inside its functions, so that help is there at once.
"""
