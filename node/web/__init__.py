"""Pages for people: a patient's own, the directory, cases in plain words, the regulator's view."""
