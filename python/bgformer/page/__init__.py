"""The report: results as one HTML file that is read in a browser."""
