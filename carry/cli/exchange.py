"""`carry exchange`: its options are its own (see `carry exchange --help`)."""

import click


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def exchange(words: tuple[str, ...]) -> int:
    """The embedded exchange, as a server of its own."""
    from carry.exchange.server import main

    return int(main(list(words)) or 0)
