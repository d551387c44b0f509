"""The few relations between codes that a decision knows: narrower purposes, higher confidentiality,
two names of one system (HL7 v3-ActReason, v3-Confidentiality)."""

from salus.consent.terms import Code

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
CONDITION_URL = (
    "urn:salus:consent-condition:"  # ‖ roles | sites: what R4's provision has no field for
)

# What writers say instead of the system's name.
_SAME_SYSTEM = {
    "http://hl7.org/fhir/v3/ActReason": ACT_REASON,
    "http://terminology.hl7.org/ValueSet/v3-PurposeOfUse": ACT_REASON,
    "http://hl7.org/fhir/v3/Confidentiality": CONFIDENTIALITY,
    "http://terminology.hl7.org/ValueSet/v3-Confidentiality": CONFIDENTIALITY,
    "http://hl7.org/fhir/v3/ActCode": ACT_CODE,
    "http://terminology.hl7.org/ValueSet/v3-InformationSensitivityPolicy": ACT_CODE,
    "http://hl7.org/fhir/ValueSet/resource-types": RESOURCE_TYPES,
}

# Broader purpose: the kinds of it.
_KINDS = """
TREAT: CLINTRL COC ETREAT POPHLTH
ETREAT: BTG ERTREAT
HOPERAT: CAREMGT DONAT GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL HOUTCOMS HPRGRP HQUALIMP
HOPERAT: HSYSADMIN MEMADMIN MILCDM PATADMIN PATSFTY PERFMSR RECORDMGT SYSDEV TRAIN
HSYSADMIN: LABELING METAMGT
SYSDEV: HTEST
HPAYMT: CLMATTCH COVAUTH COVERAGE REMITADV
COVERAGE: ELIGDTRM ELIGVER ENROLLM MILDCRG
HRESCH: BIORCH CLINTRCH DSRCH POARCH TRANSRCH
CLINTRCH: CLINTRCHNPC CLINTRCHPC PRECLINTRCH
PATRQT: FAMRQT PWATRNY SUPNWK
PUBHLTH: DISASTER THREAT
"""
_BROADER = {
    kind: broad
    for broad, _, kinds in (line.partition(": ") for line in _KINDS.split("\n"))
    for kind in kinds.split()
}
_ALL_PURPOSES = "PurposeOfUse"

_LEVELS = ("U", "L", "M", "N", "R", "V")  # ascending


def same_system(system: str) -> str:
    """The one name of a code system."""
    return _SAME_SYSTEM.get(system, system)


def with_broader(purpose: str) -> tuple[str, ...]:
    """The purpose and all that it is a kind of."""
    found = [purpose]
    while found[-1] in _BROADER:
        found.append(_BROADER[found[-1]])
    return (*found, _ALL_PURPOSES)


def level(code: Code) -> int | None:
    """How confidential a label is; None for labels of another kind."""
    if same_system(code.system) != CONFIDENTIALITY or code.code not in _LEVELS:
        return None
    return _LEVELS.index(code.code)
