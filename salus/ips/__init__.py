"""The joined view: what several custodians hold of one patient, as one IPS document (HL7 FHIR
International Patient Summary, 2.0). Assembled from documents that were read through gates, at the
reader's; never by searching the chain."""
