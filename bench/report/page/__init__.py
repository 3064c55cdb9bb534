"""The report of a run, and the history of many, as one HTML file each: what they say, how it is drawn, and the templates."""
