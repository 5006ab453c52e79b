"""Labelled data sets: fields, labels, metrics. A task knows no model."""
