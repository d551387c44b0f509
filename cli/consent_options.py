"""Options that the commands of `salus consent` share: whose, where, what, what for."""

import click

patient_by_wallet = click.option(
    "--patient", metavar="NAME", required=True, help="Whose, by wallet."
)
custodian = click.option(
    "--at-org", "org", metavar="ORG", help="The custodian; default: the only one."
)
scopes_asked = click.option(
    "--scope",
    "scopes",
    metavar="C,C",
    default="summary",
    show_default=True,
    help="FHIR resource types or coarse classes.",
)
purpose_of_use = click.option(
    "--purpose", metavar="P", default="TREAT", show_default=True, help="An HL7 purpose of use."
)
